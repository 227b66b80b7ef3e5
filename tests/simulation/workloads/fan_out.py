"""Several activities at the same time, and the sum of their results."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from perdure import activity, workflow
from tests.simulation.ledger import Current
from tests.simulation.workloads.base import Workload

WIDTH = 7


@activity.defn
async def square(number: int) -> int:
    Current.ledger.note_attempt()
    await asyncio.sleep(0.05 * (number % 3))
    return number * number


@workflow.defn
class FanOut:
    @workflow.run
    async def run(self, width: int) -> int:
        parts = await asyncio.gather(
            *(
                workflow.execute_activity(
                    square, number, start_to_close_timeout=timedelta(seconds=20)
                )
                for number in range(width)
            )
        )
        return sum(parts)


class FanOuts(Workload):
    workflows = (FanOut,)
    activities = (square,)

    async def play(self) -> None:
        await asyncio.gather(*(self._one(f"fan-{number}") for number in range(2)))

    async def _one(self, workflow_id: str) -> None:
        await self.start(FanOut.run, WIDTH, workflow_id)
        expected = sum(n * n for n in range(WIDTH))
        self.expect(workflow_id, await self.result(workflow_id), expected)
