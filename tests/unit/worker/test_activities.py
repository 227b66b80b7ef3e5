"""Activities: run, convert, heartbeat, cancel, and answer exactly once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from perdure import activity
from perdure.common import RawValue
from perdure.exceptions import ApplicationError, CancelledError
from perdure.wire import errors
from perdure.wire.api import common, workflowservice
from perdure.worker.activity.registry import ActivityRegistry
from tests.unit.worker.harness import CONVERTER, Harness, HeartbeatResponse
from tests.unit.worker.scripted import activity_task


@activity.defn
async def greet(name: str) -> str:
    return f"Hello {name}, attempt {activity.info().attempt} of {activity.info().workflow_id}"


async def test_an_async_activity_is_run_in_its_context_and_completed() -> None:
    harness = Harness(greet)
    await harness.run("greet", "Ada")
    assert await harness.result() == "Hello Ada, attempt 1 of workflow-1"
    assert harness.answers() == ["RespondActivityTaskCompleted"]


async def test_a_sync_activity_runs_in_a_thread_with_context_and_heartbeat() -> None:
    @activity.defn
    def work() -> bool:
        activity.heartbeat("half")
        return threading.current_thread() is threading.main_thread()

    with ThreadPoolExecutor(1) as executor:
        harness = Harness(work, executor=executor)
        await harness.run("work")
    assert await harness.result() is False
    (beat,) = harness.connection.requests("RecordActivityTaskHeartbeat")
    assert await CONVERTER.decode(beat.details.payloads) == ["half"]


async def test_a_raised_error_becomes_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    @activity.defn
    async def fail() -> None:
        raise ApplicationError("no money", type="Broke", non_retryable=True)

    harness = Harness(fail)
    await harness.run("fail")
    assert harness.failure().message == "no money"
    assert harness.failure().application_failure_info.type == "Broke"
    assert len(caplog.messages) == 1
    assert "activity fail (id" in caplog.text
    assert "attempt 1, workflow workflow-1" in caplog.text
    assert harness.failure().application_failure_info.non_retryable
    assert harness.answers() == ["RespondActivityTaskFailed"]


async def test_an_unknown_activity_names_what_is_registered() -> None:
    harness = Harness(greet)
    await harness.run("gret")
    assert "gret for workflow workflow-1 is not registered" in harness.failure().message
    assert "available activities: greet" in harness.failure().message
    assert harness.failure().application_failure_info.type == "NotFoundError"


async def test_undecodable_arguments_are_a_failure_without_values() -> None:
    harness = Harness(greet)
    task = activity_task("greet")
    task.input.payloads.append(common.Payload(metadata={"encoding": b"json/plain"}, data=b"secret"))
    await harness.activities.handle(task)
    assert harness.failure().message == "Failed decoding arguments"
    assert "secret" not in str(harness.failure())


async def test_a_cancel_request_reaches_the_activity_through_its_heartbeat() -> None:
    seen: list[activity.ActivityCancellationDetails | None] = []

    @activity.defn
    async def wait() -> None:
        activity.heartbeat()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(activity.cancellation_details())

    harness = Harness(
        wait, RecordActivityTaskHeartbeat=lambda _: HeartbeatResponse(cancel_requested=True)
    )
    await harness.run("wait")
    assert harness.answers() == ["RespondActivityTaskCanceled"]
    assert seen[0] is not None
    assert seen[0].cancel_requested


async def test_an_attempt_the_server_does_not_know_is_cancelled() -> None:
    @activity.defn
    async def wait() -> None:
        activity.heartbeat()
        await asyncio.Event().wait()

    def gone(request: object) -> HeartbeatResponse:
        raise errors.not_found("activity is gone")

    harness = Harness(wait, RecordActivityTaskHeartbeat=gone)
    await harness.run("wait")
    assert harness.answers() == ["RespondActivityTaskCanceled"]


async def test_a_cancelled_activity_may_still_complete() -> None:
    @activity.defn
    async def stubborn() -> str:
        activity.heartbeat()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "cleaned up"
        return "never"

    harness = Harness(
        stubborn, RecordActivityTaskHeartbeat=lambda _: HeartbeatResponse(cancel_requested=True)
    )
    await harness.run("stubborn")
    assert await harness.result() == "cleaned up"


async def test_cancellation_is_raised_inside_the_thread_and_can_be_shielded() -> None:
    steps: list[str] = []

    @activity.defn
    def wait() -> None:
        with activity.shield_thread_cancel_exception():
            activity.heartbeat()
            activity.wait_for_cancelled_sync(timeout=30)
            steps.append("still here")
        steps.append("not reached")

    with ThreadPoolExecutor(1) as executor:
        harness = Harness(
            wait,
            executor=executor,
            RecordActivityTaskHeartbeat=lambda _: HeartbeatResponse(cancel_requested=True),
        )
        await harness.run("wait")
    assert steps == ["still here"]
    assert harness.answers() == ["RespondActivityTaskCanceled"]


async def test_a_cancellation_by_pause_is_a_failure_so_that_it_is_tried_again() -> None:
    @activity.defn
    async def wait() -> None:
        activity.heartbeat()
        await asyncio.Event().wait()

    harness = Harness(
        wait, RecordActivityTaskHeartbeat=lambda _: HeartbeatResponse(activity_paused=True)
    )
    await harness.run("wait")
    assert harness.failure().application_failure_info.type == "ActivityPause"


async def test_async_completion_leaves_the_activity_open() -> None:
    @activity.defn
    async def later() -> None:
        activity.raise_complete_async()

    harness = Harness(later)
    await harness.run("later")
    assert harness.answers() == []


async def test_heartbeat_details_of_the_last_attempt_arrive_and_unsent_ones_go_with_the_failure() -> (
    None
):
    blocked = asyncio.Event()

    @activity.defn
    async def flaky() -> None:
        assert activity.info().heartbeat_details == [7]
        activity.heartbeat(8)
        await asyncio.sleep(0)
        activity.heartbeat(9)
        raise CancelledError("own idea")

    async def slow(request: object) -> HeartbeatResponse:
        await blocked.wait()
        return HeartbeatResponse()

    harness = Harness(flaky, RecordActivityTaskHeartbeat=slow)
    task = activity_task("flaky")
    task.heartbeat_details.payloads.extend(await CONVERTER.encode([7]))
    await harness.activities.handle(task)
    (request,) = harness.connection.requests("RespondActivityTaskFailed")
    assert await CONVERTER.decode(request.last_heartbeat_details.payloads) == [9]
    blocked.set()
    for each in harness.tasks:
        each.cancel()
    await asyncio.gather(*harness.tasks, return_exceptions=True)


async def test_a_dynamic_activity_gets_raw_values() -> None:
    @activity.defn(dynamic=True)
    async def anything(args: Sequence[RawValue]) -> str:
        first = activity.payload_converter().from_payload(args[0].payload, str)
        return f"{activity.info().activity_type}: {first}"

    harness = Harness(anything)
    await harness.run("unheard_of", "x")
    assert await harness.result() == "unheard_of: x"


async def test_shutdown_is_visible_and_cancels_after_the_graceful_time() -> None:
    saw_shutdown = asyncio.Event()

    @activity.defn
    async def wait() -> None:
        await activity.wait_for_worker_shutdown()
        if activity.is_worker_shutdown():
            saw_shutdown.set()
        await asyncio.Event().wait()

    harness = Harness(wait)
    running = asyncio.create_task(harness.run("wait"))
    await asyncio.sleep(0)
    harness.activities.notify_shutdown()
    await saw_shutdown.wait()
    harness.activities.cancel_all()
    await running
    assert harness.answers() == ["RespondActivityTaskFailed"], "another worker tries it again"
    (failed,) = harness.connection.requests("RespondActivityTaskFailed")
    assert failed.failure.application_failure_info.type == "WorkerShutdown"
    assert not failed.failure.application_failure_info.non_retryable


def test_registration_errors_say_what_to_do() -> None:
    @activity.defn
    def sync() -> None: ...

    with pytest.raises(ValueError, match="activity_executor must be present"):
        ActivityRegistry([sync], None)
    with pytest.raises(ValueError, match="More than one activity named greet"):
        ActivityRegistry([greet, greet], None)
    with pytest.raises(TypeError, match=r"activity\.defn"):
        ActivityRegistry([test_registration_errors_say_what_to_do], None)


@pytest.mark.parametrize("function", ["swell", "burst"])
async def test_an_outcome_that_is_no_message_fails_the_activity(function: str) -> None:
    @activity.defn
    async def swell() -> str:
        return "x" * 1_000

    @activity.defn
    async def burst() -> str:
        raise ApplicationError("x" * 1_000)

    def limited(request: Any) -> Any:
        if request.ByteSize() > 900:
            raise errors.ResourceExhausted("grpc: received message larger than max (1 vs. 0)")
        return workflowservice.RespondActivityTaskFailedResponse()

    harness = Harness(
        swell, burst, RespondActivityTaskCompleted=limited, RespondActivityTaskFailed=limited
    )
    await harness.run(function)
    failure = harness.connection.requests("RespondActivityTaskFailed")[-1].failure
    assert failure.application_failure_info.type == "GrpcMessageTooLarge"
    assert failure.application_failure_info.non_retryable
    assert "keep it elsewhere" in failure.message
    assert "xxx" not in failure.message


async def test_nothing_is_left_of_attempts_that_have_ended() -> None:
    harness = Harness(greet)
    loop: Any = asyncio.get_running_loop()
    for seconds in (0, 3600):
        task = activity_task("greet")
        task.start_to_close_timeout.seconds = seconds
        await harness.activities.handle(task)
    timers = [each for each in loop._scheduled if not each.cancelled()]
    assert [each for each in timers if "Activities" in str(each)] == []
    assert not harness.activities._running
    assert all(each.done() for each in harness.tasks)
