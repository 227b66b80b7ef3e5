"""A stream of signals, some of them repeated because the answer was lost: each counts once."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

from perdure import activity, workflow
from perdure.service import RPCError, RPCStatusCode
from tests.simulation.ledger import Current
from tests.simulation.violations import Kind, require
from tests.simulation.workloads.base import Workload

COUNT = 12


@activity.defn
async def book(value: str) -> str:
    Current.ledger.note_attempt()
    return value


@workflow.defn
class Collector:
    def __init__(self) -> None:
        self.received: list[str] = []
        self.closed = False

    @workflow.signal
    def add(self, value: str) -> None:
        self.received.append(value)

    @workflow.signal
    def close(self) -> None:
        self.closed = True

    @workflow.query
    def count(self) -> int:
        return len(self.received)

    @workflow.run
    async def run(self, name: str) -> list[str]:
        booked = 0
        while not (self.closed and booked == len(self.received)):
            await workflow.wait_condition(
                lambda: len(self.received) > booked or self.closed  # noqa: B023 - evaluated at once
            )
            if booked < len(self.received):
                await workflow.execute_activity(
                    book, self.received[booked], start_to_close_timeout=timedelta(seconds=20)
                )
                booked += 1
        return self.received


class SignalStorm(Workload):
    workflows = (Collector,)
    activities = (book,)

    async def play(self) -> None:
        workflow_id = "collector"
        await self.start(Collector.run, workflow_id, workflow_id)
        acknowledged = self.ledger.signals.setdefault(workflow_id, [])

        async def send(number: int) -> None:
            await asyncio.sleep(self.random.random() * 6)
            handle = self.client.get_workflow_handle(workflow_id)
            tries = 0

            async def once() -> str:
                # Each call has its own request id: its value may arrive only once, whatever the network does.
                nonlocal tries
                tries += 1
                value = f"signal-{number}-{tries}"
                await handle.signal(Collector.add, value)
                return value

            acknowledged.append(await self.insist(once))

        await asyncio.gather(*(send(number) for number in range(COUNT)))
        handle = self.client.get_workflow_handle(workflow_id)
        try:
            await self.insist(lambda: handle.signal(Collector.close))
        except RPCError as error:
            # The signal arrived and its answer was lost: the repeated call finds a closed workflow.
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        received: list[str] = await self.result(workflow_id)
        missing = set(acknowledged) - set(received)
        require(not missing, Kind.LOST, f"acknowledged signals: {sorted(missing)}")
        twice = sorted(value for value, count in Counter(received).items() if count > 1)
        require(not twice, Kind.TWICE, f"signals: {twice}")
