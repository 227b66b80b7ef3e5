"""A run with activities that nobody takes, and a few more events: `python -m benchmarks.growth.pending TARGET`.

`{"pending": n, "ticks": k}` starts a run that waits for n activities, then measures k signals, each answered by a
workflow task (four events), and k updates that execute one more activity each (some eight events); the answer has the
CPU seconds of this process and the events of both.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.client import Client
from perdure.worker import Worker

HOUR = timedelta(hours=1)


@activity.defn
async def compose(name: str) -> str:
    return f"Hello, {name}!"


@workflow.defn
class Pending:
    """Waits for activities whose queue has no worker."""

    def __init__(self) -> None:
        self._ticks = 0
        self._is_waiting = False

    @workflow.run
    async def run(self, activities: int) -> None:
        waiting = [
            workflow.start_activity(
                compose, "nobody", task_queue="nobody", schedule_to_close_timeout=HOUR
            )
            for _ in range(activities)
        ]
        self._is_waiting = True
        await asyncio.gather(*waiting)

    @workflow.signal
    def tick(self) -> None:
        self._ticks += 1

    @workflow.query
    def ticks(self) -> int:
        return self._ticks

    @workflow.query
    def is_waiting(self) -> bool:
        return self._is_waiting

    @workflow.update
    async def step(self) -> str:
        return await workflow.execute_activity(compose, "bench", start_to_close_timeout=HOUR)


async def measured(
    handle: Any, times: int, work: Callable[[int], Awaitable[None]]
) -> dict[str, float]:
    """CPU seconds and events of this work."""
    length = (await handle.describe()).history_length
    cpu_s = time.process_time()
    for number in range(times):
        await work(number)
    cpu_s = time.process_time() - cpu_s
    return {"cpu_s": cpu_s, "events": (await handle.describe()).history_length - length}


async def measure(client: Client, number: int, pending: int, ticks: int) -> dict[str, Any]:
    handle: Any = await client.start_workflow(
        Pending.run, pending, id=f"pending-{number}", task_queue="bench"
    )
    if not await handle.query(Pending.is_waiting):
        raise AssertionError("a query overtook the first workflow task")

    async def tick(number: int) -> None:
        await handle.signal(Pending.tick)
        # A query is answered after every signal that came before it.
        if await handle.query(Pending.ticks) <= number:
            raise AssertionError("a query overtook a signal")

    async def step(_number: int) -> None:
        if await handle.execute_update(Pending.step) != "Hello, bench!":
            raise AssertionError("another result")

    answer = {
        "signals": await measured(handle, ticks, tick),
        "activities": await measured(handle, ticks, step),
    }
    await handle.terminate()
    return answer


async def main(target: str) -> None:
    async with (
        await Client.connect(target) as client,
        Worker(client, task_queue="bench", workflows=[Pending], activities=[compose]),
    ):
        print(json.dumps({"ready": True}), flush=True)
        number = 0
        while line := await asyncio.to_thread(sys.stdin.readline):
            number += 1
            print(json.dumps(await measure(client, number, **json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
