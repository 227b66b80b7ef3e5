"""ActivityEnvironment at its edges: who is cancelled and told, when, and what is left behind."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any, cast

import pytest

from perdure import activity
from perdure.client import Client
from perdure.common import MetricMeter
from perdure.converter import DataConverter, DefaultPayloadConverter
from perdure.exceptions import CancelledError
from perdure.testing import ActivityEnvironment


def test_the_default_info() -> None:
    info = ActivityEnvironment.default_info()
    assert (info.activity_id, info.workflow_id, info.workflow_run_id) == (
        "test",
        "test",
        "test-run",
    )
    assert (info.activity_type, info.workflow_type, info.task_queue) == ("unknown", "test", "test")
    assert (info.attempt, info.is_local, info.task_token) == (1, False, b"test")
    assert (info.namespace, info.workflow_namespace) == ("default", "default")
    assert info.start_to_close_timeout == info.schedule_to_close_timeout == timedelta(seconds=1)
    assert (info.heartbeat_timeout, info.retry_policy) == (None, None)
    assert info.fencing_token == 1
    assert list(info.heartbeat_details) == []
    assert info.scheduled_time == info.started_time == info.current_attempt_scheduled_time
    assert info.scheduled_time.timestamp() == 0
    assert ActivityEnvironment().info == info


def test_arguments_and_results_of_functions_methods_and_callables() -> None:
    class Adds:
        def __call__(self, one: int, *more: int, base: int = 0) -> int:
            assert activity.in_activity()
            return base + one + sum(more)

    env = ActivityEnvironment()
    assert env.run(Adds(), 1, 2, 3, base=10) == 16
    assert env.run(Adds().__call__, 1) == 1
    assert not activity.in_activity()


async def test_objects_with_an_async_call_are_awaited() -> None:
    class Adds:
        async def __call__(self, one: int, *, base: int = 0) -> int:
            await asyncio.sleep(0)
            return base + one + activity.info().attempt

    assert await ActivityEnvironment().run(Adds(), 1, base=10) == 12


async def test_what_the_environment_gives_to_its_activities() -> None:
    env = ActivityEnvironment()
    assert env.payload_converter is DataConverter.default.payload_converter
    assert env.metric_meter is MetricMeter.noop
    env.payload_converter = converter = DefaultPayloadConverter()
    seen: list[Any] = []

    async def work() -> None:
        seen.append(activity.payload_converter())
        activity.metric_meter().create_counter("c").add(1)
        activity.heartbeat("nobody listens")

    await env.run(work)
    env.run(lambda: seen.append(activity.payload_converter()))
    assert seen == [converter, converter]


def test_a_sync_activity_has_no_client() -> None:
    env = ActivityEnvironment(cast("Client", object()))
    with pytest.raises(RuntimeError):
        env.run(activity.client)


async def test_without_a_client_there_is_none() -> None:
    async def work() -> None:
        activity.client()

    with pytest.raises(RuntimeError):
        await ActivityEnvironment().run(work)


async def test_one_cancel_reaches_all_that_run_and_will_run() -> None:
    env = ActivityEnvironment()
    begun = asyncio.Event()
    details: list[activity.ActivityCancellationDetails | None] = []

    async def work() -> None:
        assert not activity.is_cancelled()
        assert activity.cancellation_details() is None
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            assert activity.is_cancelled()
            details.append(activity.cancellation_details())

    running = [asyncio.ensure_future(env.run(work)) for _ in range(3)]
    await begun.wait()
    assert not env.is_cancelled
    env.cancel(activity.ActivityCancellationDetails(paused=True))
    env.cancel()
    assert env.is_cancelled
    ends = await asyncio.gather(*running, return_exceptions=True)
    assert [type(end) for end in ends] == [asyncio.CancelledError] * 3
    assert details == [activity.ActivityCancellationDetails(paused=True)] * 3

    def late() -> tuple[bool, Any]:
        return activity.is_cancelled(), activity.cancellation_details()

    assert env.run(late) == (True, details[0])


async def test_cancelling_leaves_what_has_ended_alone() -> None:
    env = ActivityEnvironment()
    events: list[Any] = []

    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    def sync_work() -> None:
        events.append(threading.get_ident())

    first = asyncio.ensure_future(env.run(work))
    assert await first == "done"
    env.run(sync_work)
    assert env._running == []
    env.cancel()
    env.worker_shutdown()
    await asyncio.sleep(0)
    assert first.result() == "done"


async def test_an_activity_that_fails_leaves_the_others_running() -> None:
    env = ActivityEnvironment()
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def fails() -> None:
        raise ValueError("no")

    async def waits() -> bool:
        begun.set()
        await goes_on.wait()
        return activity.is_cancelled()

    waiting = asyncio.ensure_future(env.run(waits))
    await begun.wait()
    with pytest.raises(ValueError, match="no"):
        await env.run(fails)
    assert len(env._running) == 1
    goes_on.set()
    assert await waiting is False
    assert env._running == []


def test_a_sync_activity_that_wants_no_exception_is_only_told() -> None:
    env = ActivityEnvironment()
    started = threading.Event()
    seen: list[bool] = []

    @activity.defn(no_thread_cancel_exception=True)
    def work() -> None:
        started.set()
        activity.wait_for_cancelled_sync(60)
        seen.append(activity.is_cancelled())

    thread = threading.Thread(target=env.run, args=(work,))
    thread.start()
    started.wait(60)
    env.cancel()
    thread.join(60)
    assert seen == [True]


def test_a_sync_activity_hears_of_the_end_of_its_worker() -> None:
    env = ActivityEnvironment()
    started = threading.Event()
    seen: list[tuple[bool, bool]] = []

    def work() -> None:
        started.set()
        activity.wait_for_worker_shutdown_sync(60)
        seen.append((activity.is_worker_shutdown(), activity.is_cancelled()))

    thread = threading.Thread(target=env.run, args=(work,))
    thread.start()
    started.wait(60)
    env.worker_shutdown()
    thread.join(60)
    assert seen == [(True, False)]
    assert env.run(activity.is_worker_shutdown) is True


def test_a_cancelled_environment_does_not_raise_in_sync_activities_that_begin_later() -> None:
    env = ActivityEnvironment()
    env.cancel()
    try:
        assert env.run(activity.is_cancelled) is True
    except CancelledError:  # pragma: no cover
        pytest.fail("it was told, and not interrupted")


async def test_activities_within_activities() -> None:
    env = ActivityEnvironment()

    async def inner() -> str:
        return activity.info().activity_id

    async def outer() -> tuple[str, bool]:
        return await ActivityEnvironment().run(inner), activity.in_activity()

    assert await env.run(outer) == ("test", True)
    assert not activity.in_activity()


@pytest.mark.parametrize("how", ["cancel", "worker_shutdown"])
async def test_everything_that_runs_is_told(how: str) -> None:
    environment = ActivityEnvironment()
    wait = activity.wait_for_cancelled if how == "cancel" else activity.wait_for_worker_shutdown

    async def waits() -> str:
        try:
            await wait()
        except asyncio.CancelledError:
            return "cancelled"
        return "told"

    running = [asyncio.ensure_future(environment.run(waits)) for _ in range(3)]
    for _ in range(3):
        await asyncio.sleep(0)
    getattr(environment, how)()
    assert await asyncio.gather(*running) == ["cancelled" if how == "cancel" else "told"] * 3


def test_a_shield_holds_the_exception_back_until_it_ends() -> None:
    environment = ActivityEnvironment()
    started, cancelled = threading.Event(), threading.Event()
    seen: list[str] = []

    def work() -> None:
        try:
            with activity.shield_thread_cancel_exception():
                started.set()
                cancelled.wait(60)
                for _ in range(100):
                    activity.is_cancelled()
                seen.append("shielded to its end")
            seen.append("not reached")
        except CancelledError:
            seen.append("cancelled")

    thread = threading.Thread(target=environment.run, args=(work,))
    thread.start()
    started.wait(60)
    environment.cancel()
    cancelled.set()
    thread.join(60)
    assert seen == ["shielded to its end", "cancelled"]
