"""Workflows and the activity of the workloads."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from perdure import activity, workflow

TIMERS_PER_WAVE = 100
MINUTE = timedelta(seconds=60)


@activity.defn
async def compose(name: str) -> str:
    return f"Hello, {name}!"


@workflow.defn
class Sequence:
    """Activities, one after the other."""

    @workflow.run
    async def run(self, count: int) -> int:
        for _ in range(count):
            await workflow.execute_activity(compose, "bench", start_to_close_timeout=MINUTE)
        return count


@workflow.defn
class Parallel:
    """Activities, all at once."""

    @workflow.run
    async def run(self, count: int) -> int:
        await asyncio.gather(
            *(
                workflow.execute_activity(compose, "bench", start_to_close_timeout=MINUTE)
                for _ in range(count)
            )
        )
        return count


@workflow.defn
class Sleeper:
    """One sleep."""

    @workflow.run
    async def run(self, seconds: float) -> int:
        await asyncio.sleep(seconds)
        return 1


@workflow.defn
class Signalled:
    """Ends with the last signal that it expects."""

    def __init__(self) -> None:
        self._received = 0

    @workflow.run
    async def run(self, expected: int) -> int:
        await workflow.wait_condition(lambda: self._received >= expected)
        return self._received

    @workflow.signal
    def add(self, amount: int) -> None:
        self._received += amount


@workflow.defn
class LongHistory:
    """Waves of timers until the history has this many events."""

    @workflow.run
    async def run(self, events: int) -> int:
        while workflow.info().get_current_history_length() < events:
            await asyncio.gather(*(asyncio.sleep(0.001) for _ in range(TIMERS_PER_WAVE)))
        return workflow.info().get_current_history_length()
