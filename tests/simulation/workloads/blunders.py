"""Workers that blunder: a completion whose third command is refused, so that none of the first two may leave a trace.

The first try of each workflow task asks for two activities with the same id (rule 7); the worker then comes to its
senses.
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
            # Not deterministic, on purpose: the task that does this is never recorded.
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
