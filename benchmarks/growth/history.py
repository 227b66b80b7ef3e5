"""One run grows, and now and then a few more events are measured: `python -m benchmarks.growth.history TARGET`.

`{"events": n, "ticks": k, "run": id}` grows the history to n events, then measures k signals, each of which is answered
by a workflow task (four events); the answer has the CPU seconds of this process and how many events it was.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from perdure import workflow
from perdure.client import Client
from perdure.common import WorkflowIDConflictPolicy
from perdure.worker import Worker

TIMERS_PER_WAVE = 100


@workflow.defn
class Growing:
    """Grows on demand, and counts ticks."""

    def __init__(self) -> None:
        self._wanted = 0
        self._ticks = 0

    @workflow.run
    async def run(self) -> None:
        while True:
            await workflow.wait_condition(lambda: self.length() < self._wanted)
            missing = self._wanted - self.length()
            timers = min(TIMERS_PER_WAVE, missing // 2 + 1)
            await asyncio.gather(*(asyncio.sleep(0.001) for _ in range(timers)))

    @workflow.signal
    def grow(self, events: int) -> None:
        self._wanted = events

    @workflow.signal
    def tick(self) -> None:
        self._ticks += 1

    @workflow.query
    def ticks(self) -> int:
        return self._ticks

    @workflow.query
    def length(self) -> int:
        return workflow.info().get_current_history_length()


async def measure(handle: Any, events: int, ticks: int) -> dict[str, Any]:
    await handle.signal(Growing.grow, events)
    while await handle.query(Growing.length) < events:  # noqa: ASYNC110 -- the run is asked, there is no event
        await asyncio.sleep(0.05)
    first, length = await handle.query(Growing.ticks), await handle.query(Growing.length)
    cpu_s = time.process_time()
    for number in range(ticks):
        await handle.signal(Growing.tick)
        # A query is answered after every signal that came before it.
        if await handle.query(Growing.ticks) <= first + number:
            raise AssertionError("a query overtook a signal")
    cpu_s = time.process_time() - cpu_s
    return {"cpu_s": cpu_s, "events": await handle.query(Growing.length) - length}


async def main(target: str) -> None:
    async with (
        await Client.connect(target) as client,
        Worker(client, task_queue="bench", workflows=[Growing]),
    ):
        print(json.dumps({"ready": True}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            asked = json.loads(line)
            handle: Any = await client.start_workflow(
                Growing.run,
                id=asked.pop("run", "growing"),
                task_queue="bench",
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            )
            print(json.dumps(await measure(handle, **asked)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
