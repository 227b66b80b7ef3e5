"""Updates, repeated under the same id when the answer was lost: each counts once, and a refused one never."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from perdure import activity, workflow
from perdure.client import WorkflowUpdateFailedError
from perdure.service import RPCError, RPCStatusCode
from tests.simulation.ledger import Current
from tests.simulation.violations import Kind, Violation, require
from tests.simulation.workloads.base import Workload

COUNT = 10


@activity.defn
async def enter(amount: int) -> int:
    Current.ledger.note_attempt()
    return amount


@workflow.defn
class Account:
    def __init__(self) -> None:
        self.booked: list[int] = []
        self.closed = False

    @workflow.update
    async def book(self, amount: int) -> int:
        if amount % 3 == 0:
            await workflow.execute_activity(
                enter, amount, start_to_close_timeout=timedelta(seconds=20)
            )
        self.booked.append(amount)
        return amount

    @book.validator
    def check_book(self, amount: int) -> None:
        if amount < 0:
            raise ValueError("no overdraft")

    @workflow.signal
    def close(self) -> None:
        self.closed = True

    @workflow.run
    async def run(self, name: str) -> list[int]:
        await workflow.wait_condition(lambda: self.closed and workflow.all_handlers_finished())
        return self.booked


class Accounts(Workload):
    workflows = (Account,)
    activities = (enter,)

    async def play(self) -> None:
        workflow_id = "account"
        await self.start(Account.run, workflow_id, workflow_id)
        answered = await asyncio.gather(*(self.book(workflow_id, n) for n in range(COUNT)))
        handle = self.client.get_workflow_handle(workflow_id)
        try:
            await self.insist(lambda: handle.signal(Account.close))
        except RPCError as error:
            # The signal arrived and its answer was lost: the repeated call finds a closed workflow.
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        booked = await self.result(workflow_id)
        lost = sorted(set(answered) - set(booked))
        require(not lost, Kind.LOST, f"updates were answered and not booked: {lost}")
        require(len(set(booked)) == len(booked), Kind.TWICE, f"updates were booked twice: {booked}")

    async def book(self, workflow_id: str, amount: int) -> int:
        await asyncio.sleep(self.random.random() * 10)
        handle = self.client.get_workflow_handle(workflow_id)
        if amount % 4 == 3:
            await self.refused(workflow_id, amount)
        return await self.send(
            lambda: handle.execute_update(Account.book, amount, id=f"book-{amount}")
        )

    async def refused(self, workflow_id: str, amount: int) -> None:
        handle = self.client.get_workflow_handle(workflow_id)
        try:
            await self.send(
                lambda: handle.execute_update(Account.book, -amount, id=f"refused-{amount}")
            )
        except WorkflowUpdateFailedError:
            return
        raise Violation(Kind.RESULT, f"a refused update was booked: {amount}")

    async def send(self, call: Callable[[], Awaitable[int]]) -> int:
        """Repeat the call, also while the workflow accepts no updates because its workers keep dying."""
        while True:
            try:
                return await self.insist(call)
            except RPCError as error:
                if error.status is not RPCStatusCode.FAILED_PRECONDITION:
                    raise
            await asyncio.sleep(1)
