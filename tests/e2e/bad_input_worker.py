"""The worker that gets bad input: `perdure worker run tests.e2e.bad_input_worker:worker`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.common import RawValue, RetryPolicy
from perdure.wire.api import common

TASK_QUEUE = "bad-input"
MIB = 1024 * 1024
TIMEOUT = timedelta(seconds=30)
ONCE = RetryPolicy(maximum_attempts=1)
SECRET = "hunter2-is-the-password"


def malformed() -> RawValue:
    """A payload that calls itself JSON and is not; its value must show up nowhere."""
    return RawValue(
        common.Payload(metadata={"encoding": b"json/plain"}, data=f'{{"{SECRET}'.encode())
    )


@dataclass
class Order:
    item: str
    amount: int


@activity.defn
async def charge(order: Order) -> int:
    return order.amount


@activity.defn
async def swell(size_bytes: int) -> str:
    return "x" * size_bytes


@workflow.defn
class Buy:
    """One activity."""

    @workflow.run
    async def run(self, order: Order) -> int:
        return await workflow.execute_activity(charge, order, start_to_close_timeout=TIMEOUT)


@workflow.defn
class BuyNonsense:
    """An activity whose input cannot be read."""

    @workflow.run
    async def run(self) -> int:
        return await workflow.execute_activity(
            "charge", malformed(), start_to_close_timeout=TIMEOUT, retry_policy=ONCE
        )


@workflow.defn
class Swell:
    """Input, output or both are too large, as asked."""

    @workflow.run
    async def run(self, what: str, size_bytes: int) -> Any:
        match what:
            case "activity result":
                text = await workflow.execute_activity(
                    swell, size_bytes, start_to_close_timeout=TIMEOUT, retry_policy=ONCE
                )
                return len(text)
            case "activity input":
                await workflow.execute_activity(
                    "swell", "x" * size_bytes, start_to_close_timeout=TIMEOUT, retry_policy=ONCE
                )
                return "charged"
            case "commands":
                # Each is small enough, together they are no message.
                await asyncio.gather(
                    *(
                        workflow.execute_activity(
                            "swell", "x" * MIB, start_to_close_timeout=TIMEOUT, retry_policy=ONCE
                        )
                        for _ in range(size_bytes // MIB)
                    )
                )
                return "charged"
            case _:
                return "x" * size_bytes


@workflow.defn
class Sum:
    """Adds numbers until it is told to finish."""

    def __init__(self) -> None:
        self.total = 0
        self.is_last = False

    @workflow.signal
    def add(self, number: int) -> None:
        self.total += number

    @workflow.signal
    def finish(self) -> None:
        self.is_last = True

    @workflow.query
    def so_far(self) -> int:
        return self.total

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.is_last)
        return self.total


worker = {
    "task_queue": TASK_QUEUE,
    "workflows": [Buy, BuyNonsense, Swell, Sum],
    "activities": [charge, swell],
}
