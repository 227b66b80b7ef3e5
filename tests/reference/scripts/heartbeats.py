"""Heartbeats that move a deadline, and calls between them."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.reference.commands import (
    complete_workflow,
    no_retry,
    payloads,
    retry,
    schedule_activity,
    seconds,
    start_timer,
)
from tests.reference.play import Case, script


@script
async def then_news_then_silence(case: Case) -> None:
    await case.start()
    options: dict[str, Any] = {"heartbeat_timeout": seconds(3), "retry_policy": no_retry()}
    await case.step(schedule_activity(case.queue, **options))
    activity = await case.poll_activity()
    await case.signal()
    await case.step(start_timer("t", 1))
    await case.heartbeat(activity, details=payloads("half"))
    await case.step()
    await case.happened("ACTIVITY_TASK_TIMED_OUT")
    await case.step(complete_workflow())
    await case.closed()


@script
async def that_keep_an_attempt_alive(case: Case) -> None:
    await case.start()
    options: dict[str, Any] = {"heartbeat_timeout": seconds(3), "retry_policy": no_retry()}
    await case.step(schedule_activity(case.queue, **options))
    activity = await case.poll_activity()
    for _ in range(8):
        await asyncio.sleep(0.5)
        await case.heartbeat(activity, details=payloads("beat"))
    await case.complete_activity(activity, result=payloads("done"))
    await case.step(complete_workflow())
    await case.closed()


@script
async def that_stop_in_each_attempt(case: Case) -> None:
    await case.start()
    options: dict[str, Any] = {"heartbeat_timeout": seconds(1), "retry_policy": retry(2)}
    await case.step(schedule_activity(case.queue, **options))
    for attempt in range(2):
        activity = await case.poll_activity()
        await case.heartbeat(activity, details=payloads(f"attempt {attempt}"))
    await case.step(complete_workflow())
    await case.closed()
