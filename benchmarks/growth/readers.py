"""Starts beside counts and lists: `python -m benchmarks.growth.readers FILE SECONDS`; prints a line of JSON.

The file comes from `crowd.py`. Somebody starts a workflow and asks for its description, again and again, first alone
and then while others count and list. The two phases of one process are compared with each other.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.growth.storm import Sleeper
from perdure.client import Client
from perdure.storage.sqlite_reader import log_bytes

COUNTS = (
    "",
    "ExecutionStatus = 'Running'",
    "ExecutionStatus = 'Failed'",
    "WorkflowType = 'Type3'",
    "WorkflowType = 'Type3' AND ExecutionStatus = 'Completed'",
    "GROUP BY ExecutionStatus",
)
LISTS = ("", "WorkflowType = 'Type3' AND ExecutionStatus = 'Failed'")
PAGE = 10
PAUSE_S = 0.005
ASK_AGAIN_S = 0.1
"""Calls have a cost of their own on the loop, which is not what is measured."""


class Readers:
    """Each of them asks one question, again and again."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.answers = 0

    async def count(self, query: str) -> None:
        while True:
            await self._client.count_workflows(query)
            self.answers += 1
            await asyncio.sleep(ASK_AGAIN_S)

    async def list(self, query: str) -> None:
        while True:
            async for _ in self._client.list_workflows(query, page_size=PAGE, limit=PAGE):
                pass
            self.answers += 1
            await asyncio.sleep(ASK_AGAIN_S)


async def alone_ms(client: Client, query: str) -> float:
    """How long a count takes when nobody else asks, the middle of three."""
    taken: list[float] = []
    for _ in range(3):
        began_s = time.perf_counter()
        await client.count_workflows(query)
        taken.append(1_000 * (time.perf_counter() - began_s))
    return statistics.median(taken)


async def starts(client: Client, for_s: float) -> dict[str, float]:
    """How long a start and a description take, one after another."""
    taken: list[float] = []
    end_s = time.perf_counter() + for_s
    while not taken or time.perf_counter() < end_s:
        began_s = time.perf_counter()
        handle: Any = await client.start_workflow(
            Sleeper.run, id=f"neighbour-{time.time_ns()}", task_queue="elsewhere"
        )
        await handle.describe()
        taken.append(1_000 * (time.perf_counter() - began_s))
        await asyncio.sleep(PAUSE_S)
    taken.sort()
    return {
        "calls": len(taken),
        "p50_ms": statistics.median(taken),
        "p99_ms": taken[int(0.99 * (len(taken) - 1))],
        "max_ms": taken[-1],
    }


async def main(path: str, for_s: float) -> None:
    async with await Client.connect(f"sqlite:{path}") as client:
        await starts(client, 1.0)  # warm-up
        counts_ms = {query: await alone_ms(client, query) for query in COUNTS}
        calm = await starts(client, for_s)
        readers = Readers(client)
        tasks = [
            *(asyncio.create_task(readers.count(query)) for query in COUNTS),
            *(asyncio.create_task(readers.list(query)) for query in LISTS),
        ]
        began_s, cpu_s = time.perf_counter(), time.process_time()
        busy = await starts(client, for_s)
        took_s = time.perf_counter() - began_s
        answers = readers.answers
        log_size_bytes = log_bytes(Path(path))
        cpu_s = time.process_time() - cpu_s
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    print(
        json.dumps(
            {
                "counts_ms": counts_ms,
                "calm": calm,
                "busy": busy,
                "log_bytes": log_size_bytes,
                "answers_per_s": answers / took_s,
                "cpu_share": cpu_s / took_s,
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
