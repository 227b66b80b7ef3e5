"""Children that fail, continue as new, are canceled or outlive their parent, and signals to them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from perdure import activity, workflow
from perdure.exceptions import ApplicationError, ChildWorkflowError
from perdure.wire.api import enums
from tests.simulation.ledger import Current
from tests.simulation.workloads.base import Workload

if TYPE_CHECKING:
    from tests.simulation.archive import Histories

COMPLETED = enums.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
TERMINATED = enums.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED
SOON = timedelta(seconds=20)
PARENTS = 3
CHILDREN = 4


@activity.defn
async def chore(value: int) -> int:
    Current.ledger.note_attempt()
    return value * 2


@workflow.defn
class Chore:
    """Doubles a number in an activity. With `again` it continues as new first; the last of four fails."""

    @workflow.run
    async def run(self, value: int, again: bool) -> int:
        if again:
            workflow.continue_as_new(args=[value, False])
        doubled = await workflow.execute_activity(chore, value, start_to_close_timeout=SOON)
        if value % CHILDREN == CHILDREN - 1:
            raise ApplicationError("this one always fails", non_retryable=True)
        return doubled


@workflow.defn
class Listener:
    """Collects signals until it is canceled."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    @workflow.signal
    def hear(self, word: str) -> None:
        self.heard.append(word)

    @workflow.run
    async def run(self) -> list[str]:
        try:
            await workflow.wait_condition(lambda: False)
        except asyncio.CancelledError:
            return self.heard
        return []


@workflow.defn
class Household:
    async def chore(self, name: str, number: int) -> str:
        try:
            doubled = await workflow.execute_child_workflow(
                Chore.run, args=[number, number % 2 == 1], id=f"{name}-chore-{number}"
            )
        except ChildWorkflowError as error:
            return type(error).__name__
        return str(doubled)

    @workflow.run
    async def run(self, name: str) -> list[str]:
        listener = await workflow.start_child_workflow(Listener.run, id=f"{name}-listener")
        await listener.signal(Listener.hear, "as a child")
        external = workflow.get_external_workflow_handle(f"{name}-listener")
        await external.signal(Listener.hear, "from outside")
        ends = await asyncio.gather(*(self.chore(name, number) for number in range(CHILDREN)))
        listener.cancel()
        heard = await listener
        await workflow.start_child_workflow(
            Chore.run,
            args=[0, True],
            id=f"{name}-abandoned",
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
        )
        await workflow.start_child_workflow(Listener.run, id=f"{name}-terminated")
        return [*ends, *heard]


class Households(Workload):
    workflows = (Household, Chore, Listener)
    activities = (chore,)

    async def play(self) -> None:
        names = [f"household-{number}" for number in range(PARENTS)]
        await asyncio.gather(*(self.one(name) for name in names))

    async def one(self, name: str) -> None:
        await asyncio.sleep(self.random.random() * 8)
        await self.start(Household.run, name, name)
        seen = await self.result(name)
        failed = ChildWorkflowError.__name__
        expected = [str(n * 2) if n % CHILDREN != CHILDREN - 1 else failed for n in range(CHILDREN)]
        self.expect(name, seen, [*expected, "as a child", "from outside"])
        # One outlives its parent, the other does not.
        await self.closed(f"{name}-abandoned")
        await self.closed(f"{name}-terminated")

    def check(self, histories: Histories) -> None:
        super().check(histories)
        ends = {key.name: events[-1].event_type for key, events in histories.items()}
        for number in range(PARENTS):
            name = f"household-{number}"
            self.expect(f"{name}-abandoned", ends.get(f"{name}-abandoned"), COMPLETED)
            self.expect(f"{name}-terminated", ends.get(f"{name}-terminated"), TERMINATED)
