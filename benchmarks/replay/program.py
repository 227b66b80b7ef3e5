"""Replay a history again and again: `python -m benchmarks.replay.program HISTORY.json`; lines of JSON in and out."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from benchmarks.workloads.definitions import Sequence
from perdure.client import WorkflowHistory
from perdure.worker import Replayer


async def main(text: str) -> None:
    history = WorkflowHistory.from_json("bench", text)
    replayer = Replayer(workflows=[Sequence])
    print(json.dumps({"ready": True}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        times = int(json.loads(line)["times"])
        cpu_s = time.process_time()
        for _ in range(times):
            await replayer.replay_workflow(history)
        print(json.dumps({"cpu_s": time.process_time() - cpu_s}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).read_text()))
