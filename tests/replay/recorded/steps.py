"""The activities of the recorded workflows, and the options of their calls."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from tests.replay.recorded.library import activity, common, exceptions

LONG = timedelta(seconds=60)
SOON = timedelta(milliseconds=20)
ELSEWHERE = "recorded-elsewhere"
"""A task queue whose worker runs only when a scenario starts it."""

AT_ONCE = common.RetryPolicy(
    initial_interval=timedelta(milliseconds=1), backoff_coefficient=1.0, maximum_attempts=4
)
ONCE = common.RetryPolicy(maximum_attempts=1)
OPTIONS: dict[str, Any] = {"start_to_close_timeout": LONG, "retry_policy": AT_ONCE}


@activity.defn
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@activity.defn
async def double(number: int) -> int:
    return number * 2


@activity.defn
async def third_time_lucky() -> int:
    attempt: int = activity.info().attempt
    if attempt < 3:
        raise exceptions.ApplicationError(f"attempt {attempt}", type="Flaky")
    return attempt


@activity.defn
async def refuses(reason: str) -> None:
    raise exceptions.ApplicationError(reason, "detail", type="Refused", non_retryable=True)


@activity.defn
async def stops_beating() -> None:
    """Sends one heartbeat and no more."""
    activity.heartbeat("alive")
    await asyncio.sleep(3)


@activity.defn
async def beats_until_cancelled() -> str:
    try:
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        return "stopped"


ACTIVITIES = [greet, double, third_time_lucky, refuses, stops_beating, beats_until_cancelled]
