"""Memory of cached idle runs: `python -m benchmarks.replay.idle ADDRESS`.

A line `{"runs": n}` starts n more, which then sleep; the answer is the resident memory.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from pathlib import Path

from benchmarks.workloads.definitions import Sleeper
from benchmarks.workloads.program import each
from perdure.client import Client
from perdure.worker import Worker

YEAR_S = 365 * 86_400.0
SETTLE_S = 3.0


def resident_bytes() -> int:
    """Of this process, after a collection."""
    gc.collect()
    line = next(
        one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmRSS")
    )
    return int(line.split()[1]) * 1024


async def main(address: str) -> None:
    client = await Client.connect(address)
    async with Worker(client, task_queue="idle", workflows=[Sleeper], max_cached_workflows=100_000):
        print(json.dumps({"ready": True}), flush=True)
        numbers = iter(range(10**9))

        async def start() -> None:
            await client.start_workflow(
                Sleeper.run, YEAR_S, id=f"idle-{next(numbers)}", task_queue="idle"
            )

        while line := await asyncio.to_thread(sys.stdin.readline):
            await each(int(json.loads(line)["runs"]), 50, start)
            await asyncio.sleep(SETTLE_S)  # their first tasks are still being worked on
            print(json.dumps({"resident_bytes": resident_bytes()}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
