"""Completions whose third command is refused: the first two commands must have no effect.

The first attempt asks for two activities with the same id (S-7); later attempts use different ids.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from perdure import activity, workflow
from tests.simulation.ledger import Current
from tests.simulation.workloads.base import Workload

TIMEOUT = timedelta(seconds=20)


@activity.defn
async def part(number: int) -> int:
    Current.ledger.note_attempt()
    return number


@workflow.defn
class Blunder:
    @workflow.run
    async def run(self, name: str) -> int:
        ids = ["a", "b", "c"]
        blundered = Current.ledger.blundered
        if name not in blundered:
            # Deliberately not deterministic; the task that does this is never recorded.
            blundered.add(name)
            ids = ["a", "b", "a"]
        results = await asyncio.gather(
            *(
                workflow.execute_activity(
                    part, number, activity_id=key, start_to_close_timeout=TIMEOUT
                )
                for number, key in enumerate(ids)
            )
        )
        return sum(results)


class Blunders(Workload):
    workflows = (Blunder,)
    activities = (part,)

    async def play(self) -> None:
        for workflow_id in ("blunder-0", "blunder-1"):
            await self.start(Blunder.run, workflow_id, workflow_id)
            self.expect(workflow_id, await self.result(workflow_id), 3)
