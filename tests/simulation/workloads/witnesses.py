"""Reads after writes: whatever was acknowledged before a query, describe, list or history read is in its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from perdure import workflow
from perdure.client import WorkflowQueryFailedError
from perdure.service import RPCError, RPCStatusCode
from perdure.wire.api import enums
from tests.simulation.violations import Kind, require
from tests.simulation.workloads.base import UNKNOWN_OUTCOME, Workload

if TYPE_CHECKING:
    from perdure.client import WorkflowHandle

Answer = TypeVar("Answer")

ROUNDS = 5
READERS = 2
SIGNALED = enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
TASK_STARTED = enums.PENDING_WORKFLOW_TASK_STATE_STARTED


@workflow.defn
class Testimony:
    """Collects words until it is told to end."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.is_over = False

    @workflow.signal
    def tell(self, word: str) -> None:
        self.told.append(word)

    @workflow.signal
    def end(self) -> None:
        self.is_over = True

    @workflow.query
    def words(self) -> list[str]:
        return self.told

    @workflow.run
    async def run(self, name: str) -> int:
        await workflow.wait_condition(lambda: self.is_over)
        return len(self.told)


class Witnesses(Workload):
    workflows = (Testimony,)
    activities = ()

    async def play(self) -> None:
        workflow_id = "testimony"
        await self.start(Testimony.run, workflow_id, workflow_id)
        await self._listed(workflow_id, "Running")
        handle = self.client.get_workflow_handle(
            workflow_id, run_id=self.ledger.started[workflow_id]
        )
        acknowledged: list[str] = []
        await asyncio.gather(
            *(self._talk(handle, acknowledged, number) for number in range(READERS))
        )
        try:
            await self.insist(lambda: handle.signal(Testimony.end))
        except RPCError as error:
            # The signal arrived and its answer was lost: the repeated call finds a closed workflow.
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        await self.result(workflow_id)
        await self._listed(workflow_id, "Completed")

    async def _talk(
        self, handle: WorkflowHandle[Testimony, int], acknowledged: list[str], number: int
    ) -> None:
        for turn in range(ROUNDS):
            await asyncio.sleep(self.random.random() * 4)
            tries = 0

            async def tell(turn: int = turn) -> str:
                nonlocal tries
                tries += 1
                word = f"{number} {turn} {tries}"
                await handle.signal(Testimony.tell, word)
                return word

            acknowledged.append(await self.insist(tell))
            known = list(acknowledged)
            read = self.random.choice([self._queried, self._written])
            found = await read(handle)
            if found is None:
                continue
            missing = sorted(set(known) - set(found))
            require(not missing, Kind.STALE_READ, f"{read.__name__}: {missing} were acknowledged")

    async def _queried(self, handle: WorkflowHandle[Testimony, int]) -> list[str] | None:
        return await self._answer(lambda: handle.query(Testimony.words))

    async def _written(self, handle: WorkflowHandle[Testimony, int]) -> list[str] | None:
        """The words in the history; None while a workflow task runs, because signals are buffered then."""
        description = await self._answer(handle.describe)
        history = await self._answer(handle.fetch_history)
        if description is None or history is None:
            return None
        length = description.history_length
        require(
            len(history.events) >= length,
            Kind.STALE_READ,
            f"a history of {length} events was described, {len(history.events)} were read",
        )
        if description.raw_description.pending_workflow_task.state == TASK_STARTED:
            return None
        words: list[str] = []
        for event in history.events:
            signal = event.workflow_execution_signaled_event_attributes
            if event.event_type == SIGNALED and signal.signal_name == "tell":
                words += await self.world.converter.decode(signal.input.payloads)
        return words

    async def _answer(self, call: Callable[[], Awaitable[Answer]]) -> Answer | None:
        """The answer; None when a fault prevented one."""
        try:
            return await call()
        except RPCError as error:
            if error.status in UNKNOWN_OUTCOME or (
                error.status is RPCStatusCode.FAILED_PRECONDITION
            ):
                return None
            raise
        except WorkflowQueryFailedError as error:
            # The worker refuses a query that was dispatched before a workflow task that it has completed since.
            if error.message != "Query expired":
                raise
            return None

    async def _listed(self, workflow_id: str, status: str) -> None:
        """Check that a list shows the status that was acknowledged."""
        run_id = self.ledger.started[workflow_id]
        query = f'WorkflowId = "{workflow_id}" AND ExecutionStatus = "{status}"'

        async def once() -> list[str]:
            return [each.run_id async for each in self.client.list_workflows(query)]

        found = await self._answer(once)
        is_deleted = run_id in {key.run_id for key in self.world.archive.deleted()}
        require(
            found is None or run_id in found or is_deleted,
            Kind.STALE_READ,
            f"{workflow_id} is {status}, but the list shows {found}",
        )
