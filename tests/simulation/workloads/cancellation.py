"""Cancellations that race with timers, activities and completion; and terminations."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from perdure import activity, workflow
from perdure.client import WorkflowFailureError
from perdure.exceptions import ActivityError, CancelledError, TerminatedError
from perdure.service import RPCError, RPCStatusCode
from tests.simulation.ledger import Current
from tests.simulation.violations import Kind, require
from tests.simulation.workloads.base import Workload


@activity.defn
async def slow() -> str:
    Current.ledger.note_attempt()
    for _ in range(20):
        activity.heartbeat()
        await asyncio.sleep(0.2)
    return "slow"


@activity.defn
async def undo() -> str:
    Current.ledger.note_attempt()
    return "undone"


@workflow.defn
class Cancellable:
    @workflow.run
    async def run(self, name: str) -> str:
        activity_handle = workflow.start_activity(
            slow,
            start_to_close_timeout=timedelta(seconds=30),
            heartbeat_timeout=timedelta(seconds=10),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        timer = asyncio.create_task(workflow.sleep(3))
        try:
            await asyncio.gather(timer, activity_handle)
        except (asyncio.CancelledError, ActivityError):
            if workflow.cancellation_reason() is None:
                raise
            # `gather` returns at the first cancellation: wait for the other step too, so that both are closed.
            timer.cancel()
            await asyncio.gather(timer, activity_handle, return_exceptions=True)
            return await workflow.execute_activity(
                undo, start_to_close_timeout=timedelta(seconds=30)
            )
        return "finished"


class CancellationRaces(Workload):
    workflows = (Cancellable,)
    activities = (slow, undo)

    async def play(self) -> None:
        await asyncio.gather(
            self._one("cancel-0", "cancel"),
            self._one("cancel-1", "cancel"),
            self._one("cancel-2", "terminate"),
        )

    async def _one(self, workflow_id: str, verb: str) -> None:
        await self.start(Cancellable.run, workflow_id, workflow_id)
        await asyncio.sleep(self.random.random() * 7)
        handle = self.client.get_workflow_handle(workflow_id)
        try:
            await self.insist(handle.cancel if verb == "cancel" else handle.terminate)
        except RPCError as error:
            # The workflow has already finished.
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        try:
            value = await self.result(workflow_id)
        except WorkflowFailureError as error:
            self.ledger.results[workflow_id] = type(error.cause).__name__
            expected = CancelledError if verb == "cancel" else TerminatedError
            require(
                isinstance(error.cause, expected), Kind.RESULT, f"{workflow_id}: {error.cause!r}"
            )
        else:
            require(value in {"finished", "undone"}, Kind.RESULT, f"{workflow_id}: {value!r}")
