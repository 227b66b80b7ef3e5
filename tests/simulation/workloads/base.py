"""The base class of workloads: classes for the worker, and a driver that acts as the user."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from perdure.client import WorkflowFailureError
from perdure.exceptions import CancelledError, TerminatedError, WorkflowAlreadyStartedError
from perdure.service import RPCError, RPCStatusCode
from perdure.wire.api import enums
from tests.simulation.violations import Kind, Violation, require

if TYPE_CHECKING:
    from random import Random

    from perdure.client import Client
    from tests.simulation.archive import Histories
    from tests.simulation.ledger import Ledger
    from tests.simulation.world import World

EventType = enums.EventType

T = TypeVar("T")

TASK_QUEUE = "simulation"
TRIES_MAX = 400
CLOSED_WITHIN_S = 600

# After these a user repeats the call, because its outcome is unknown.
UNKNOWN_OUTCOME = {
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.INTERNAL,
    RPCStatusCode.ABORTED,
    RPCStatusCode.UNKNOWN,
    RPCStatusCode.DATA_LOSS,
}


class Workload(ABC):
    """One kind of use. `play` returns when all its workflows have finished."""

    workflows: Sequence[type]
    activities: Sequence[Callable[..., Any]]

    def __init__(self, world: World) -> None:
        self.world = world
        self.client: Client = world.client("user")
        self.ledger: Ledger = world.ledger
        self.random: Random = world.random

    @abstractmethod
    async def play(self) -> None: ...

    def check(self, histories: Histories) -> None:
        """Check all runs, deleted ones included, when all workflows have ended.

        Raises:
            Violation: A promise was not kept.
        """
        runs = {key.run_id for key in histories}
        lost = sorted(name for name, run_id in self.ledger.started.items() if run_id not in runs)
        require(not lost, Kind.LOST, f"acknowledged starts: {lost}")

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call whose outcome is unknown, as a careful user does."""
        for _ in range(TRIES_MAX):
            try:
                return await call()
            except RPCError as error:
                if error.status not in UNKNOWN_OUTCOME:
                    raise
            await asyncio.sleep(0.2 + self.random.random())
        raise Violation(Kind.STUCK, "a call was never answered")

    async def start(self, run: Any, argument: Any, workflow_id: str, **options: Any) -> None:
        """Start a workflow and record the acknowledgement."""

        async def once() -> str | None:
            try:
                handle = await self.client.start_workflow(
                    run, argument, id=workflow_id, task_queue=TASK_QUEUE, **options
                )
            except WorkflowAlreadyStartedError as error:
                return error.run_id  # an earlier attempt has arrived
            return handle.result_run_id

        run_id = await self.insist(once)
        require(run_id, Kind.LOST, f"the acknowledged start of {workflow_id} names no run")
        assert run_id
        self.ledger.started[workflow_id] = run_id

    def expect(self, what: str, value: object, expected: object) -> None:
        """Compare what a workflow computed with what is expected.

        Raises:
            Violation: They differ.
        """
        require(value == expected, Kind.RESULT, f"{what}: {value!r} instead of {expected!r}")

    async def closed(self, workflow_id: str) -> None:
        """Wait until the current run of the workflow id is closed or already deleted."""
        handle = self.client.get_workflow_handle(workflow_id)
        for _ in range(CLOSED_WITHIN_S):
            try:
                description = await self.insist(handle.describe)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                deleted = {key.name for key in self.world.archive.deleted()}
                require(workflow_id in deleted, Kind.LOST, f"{workflow_id} is not found")
                return
            if description.close_time is not None:
                return
            await asyncio.sleep(1)
        raise Violation(Kind.STUCK, f"{workflow_id} was never closed")

    async def result(self, workflow_id: str) -> Any:
        """Wait for the result of a workflow, and record it in the ledger."""
        run_id = self.ledger.started[workflow_id]
        handle = self.client.get_workflow_handle(workflow_id, run_id=run_id)
        try:
            value = await self.insist(handle.result)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            value = await self._kept_result(workflow_id, run_id)
        self.ledger.results[workflow_id] = value
        return value

    async def _kept_result(self, workflow_id: str, run_id: str) -> Any:
        """The result of a run that was deleted before its caller asked."""
        events = self.world.archive.history_of(workflow_id, run_id)
        was_deleted = run_id in {key.run_id for key in self.world.archive.deleted()}
        require(was_deleted, Kind.LOST, f"{workflow_id}: its run {run_id} is not found")
        last = events[-1]
        match last.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
                said = last.workflow_execution_completed_event_attributes
                return (await self.world.converter.decode(said.result.payloads))[0]
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
                raise WorkflowFailureError(cause=CancelledError("Workflow cancelled"))
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
                raise WorkflowFailureError(cause=TerminatedError("Workflow terminated"))
            case other:
                raise Violation(Kind.RESULT, f"{workflow_id} ended with {EventType.Name(other)}")
