"""One activity, a durable sleep, a second activity."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from perdure import activity, workflow
from tests.simulation.ledger import Current
from tests.simulation.workloads.base import Workload


@activity.defn
async def compose(name: str) -> str:
    Current.ledger.note_attempt()
    await asyncio.sleep(0.01)
    return f"Hello {name}"


@workflow.defn
class Greeting:
    @workflow.run
    async def run(self, name: str) -> str:
        first = await workflow.execute_activity(
            compose, name, start_to_close_timeout=timedelta(seconds=20)
        )
        await workflow.sleep(5)
        second = await workflow.execute_activity(
            compose, name, start_to_close_timeout=timedelta(seconds=20)
        )
        return f"{first}, {second}"


class Greetings(Workload):
    workflows = (Greeting,)
    activities = (compose,)

    async def play(self) -> None:
        await asyncio.gather(*(self._one(f"greeting-{number}") for number in range(4)))

    async def _one(self, workflow_id: str) -> None:
        await asyncio.sleep(self.random.random() * 3)
        await self.start(Greeting.run, workflow_id, workflow_id)
        expected = f"Hello {workflow_id}, Hello {workflow_id}"
        self.expect(workflow_id, await self.result(workflow_id), expected)
