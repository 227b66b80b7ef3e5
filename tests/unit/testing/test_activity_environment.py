"""ActivityEnvironment: the context of an activity without worker and engine."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from typing import Any, cast

import pytest

from perdure import activity
from perdure.client import Client
from perdure.exceptions import CancelledError
from perdure.testing import ActivityEnvironment


async def test_info_heartbeats_and_the_result() -> None:
    @activity.defn
    async def work(value: str) -> str:
        activity.heartbeat(activity.info().activity_id, value)
        return f"{value} {activity.info().attempt}"

    env = ActivityEnvironment()
    env.info = dataclasses.replace(env.info, attempt=7)
    beats: list[Any] = []
    env.on_heartbeat = lambda *details: beats.append(details)
    assert await env.run(work, "a") == "a 7"
    assert beats == [("test", "a")]
    assert not activity.in_activity()


def test_sync_activities_run_where_they_are_called() -> None:
    def work() -> tuple[str, int]:
        return activity.info().workflow_id or "", threading.get_ident()

    assert ActivityEnvironment().run(work) == ("test", threading.get_ident())


async def test_cancel_reaches_an_async_activity_with_its_details() -> None:
    started = asyncio.Event()

    async def work() -> str:
        try:
            started.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            details = activity.cancellation_details()
            assert details is not None
            return f"cancelled, requested: {details.cancel_requested}, {activity.is_cancelled()}"
        return "never"

    env = ActivityEnvironment()
    running = asyncio.ensure_future(env.run(work))
    await started.wait()
    env.cancel()
    env.cancel(activity.ActivityCancellationDetails(paused=True))
    assert await running == "cancelled, requested: True, True"


async def test_cancelled_before_it_runs() -> None:
    async def work() -> None:
        await asyncio.sleep(0)

    env = ActivityEnvironment()
    env.cancel()
    with pytest.raises(asyncio.CancelledError):
        await env.run(work)


def test_cancel_is_raised_in_the_thread_of_a_sync_activity() -> None:
    env = ActivityEnvironment()
    started, seen = threading.Event(), list[str]()

    def work() -> None:
        with activity.shield_thread_cancel_exception():
            started.set()
            activity.wait_for_cancelled_sync()
            seen.append("shielded")
        while True:
            pass

    def run() -> None:
        with pytest.raises(CancelledError):
            env.run(work)
        seen.append("raised")

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    env.cancel()
    thread.join(60)
    assert seen == ["shielded", "raised"]


async def test_worker_shutdown() -> None:
    async def work() -> bool:
        before = activity.is_worker_shutdown()
        await activity.wait_for_worker_shutdown()
        return before

    env = ActivityEnvironment()
    running = asyncio.ensure_future(env.run(work))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    env.worker_shutdown()
    assert await running is False
    assert await env.run(work) is True


async def test_the_client_is_for_async_activities() -> None:
    client = cast("Client", object())

    async def work() -> bool:
        return activity.client() is client

    assert await ActivityEnvironment(client).run(work)


async def test_an_error_leaves_no_context_behind() -> None:
    async def work() -> None:
        raise ValueError("no")

    env = ActivityEnvironment()
    with pytest.raises(ValueError, match="no"):
        await env.run(work)
    assert not activity.in_activity()
