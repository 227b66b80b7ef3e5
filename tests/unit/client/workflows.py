"""Workflow classes for the client's tests; never run."""

from __future__ import annotations

from dataclasses import dataclass

from perdure import workflow


@dataclass
class Order:
    id: str
    amount: int


@workflow.defn(name="OrderWorkflow")
class OrderWorkflow:
    @workflow.run
    async def run(self, order: Order) -> Order:
        return order

    @workflow.signal
    def approve(self, by: str) -> None: ...

    @workflow.signal(name="note")
    def add_note(self, text: str, urgent: bool) -> None: ...

    @workflow.query
    def status(self) -> Order:
        return Order("x", 1)

    @workflow.update
    async def change(self, amount: int) -> Order:
        return Order("x", amount)


@workflow.defn
class Ping:
    @workflow.run
    async def run(self) -> str:
        return "pong"
