"""The order: reserve, charge, ship. If a step fails for good, what was done before is undone in reverse."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from perdure import workflow
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError

from .activities import Order, charge, refund, release, reserve, ship

TIMEOUT = timedelta(seconds=10)
PATIENT = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=5)


@workflow.defn
class OrderWorkflow:
    def __init__(self) -> None:
        self.status = "new"

    @workflow.run
    async def run(self, order: Order) -> str:
        undo: list[Callable[[Order], None]] = []
        try:
            # Undoing is noted before doing: a step that failed half-way is undone too.
            undo.append(release)
            await self._step("reserving", reserve, order)
            undo.append(refund)
            await self._step("charging", charge, order)
            parcel = await self._step("shipping", ship, order)
        except ActivityError as error:
            self.status = "undoing"
            for step in reversed(undo):
                await workflow.execute_activity(
                    step, order, start_to_close_timeout=TIMEOUT, retry_policy=PATIENT
                )
            self.status = "refused"
            raise ApplicationError(
                f"order {order.order_id} was not fulfilled: {error.cause}"
            ) from error
        self.status = "done"
        return parcel

    async def _step(self, status: str, step: Callable[[Order], str], order: Order) -> str:
        self.status = status
        return await workflow.execute_activity(
            step, order, start_to_close_timeout=TIMEOUT, retry_policy=PATIENT
        )

    @workflow.query
    def progress(self) -> str:
        return self.status
