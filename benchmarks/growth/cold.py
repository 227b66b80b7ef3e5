"""The first look at a run that is not in memory: `python -m benchmarks.growth.cold FILE WORKFLOW_ID`; a line of JSON.

There is no worker: what is measured is reading the run's history from the file and folding it into a state. The longest
block is the most CPU time that the loop's thread spent between two turns of another task.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time

from benchmarks.growth.memory import resident_bytes
from perdure.client import Client
from perdure.service import RPCError

PAUSE_S = 0.001


class Heart:
    """Beats every millisecond, if it can; `longest_s` is the most CPU time of the thread between two beats."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def beat(self) -> None:
        last_s = time.thread_time()
        while True:
            await asyncio.sleep(PAUSE_S)
            now_s = time.thread_time()
            self.longest_s = max(self.longest_s, now_s - last_s)
            last_s = now_s


async def main(path: str, workflow_id: str) -> None:
    async with await Client.connect(f"sqlite:{path}") as client:
        with contextlib.suppress(RPCError):  # warm-up
            await client.get_workflow_handle("nobody").describe()
        heart = Heart()
        beating = asyncio.create_task(heart.beat())
        await asyncio.sleep(10 * PAUSE_S)
        before_bytes = resident_bytes()
        began_s, cpu_s = time.perf_counter(), time.process_time()
        description = await client.get_workflow_handle(workflow_id).describe()
        answer = {
            "events": description.history_length,
            "wall_s": time.perf_counter() - began_s,
            "cpu_s": time.process_time() - cpu_s,
        }
        await asyncio.sleep(10 * PAUSE_S)
        beating.cancel()
        more_bytes = resident_bytes() - before_bytes
        print(json.dumps(answer | {"longest_block_s": heart.longest_s, "more_bytes": more_bytes}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
