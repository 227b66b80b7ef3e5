"""Why activities are cancelled and what that makes of them; what fails on the way; outcomes of local ones."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import activity
from perdure.activity import ActivityCancellationDetails
from perdure.exceptions import ApplicationError, ApplicationErrorCategory, CancelledError
from perdure.replay.jobs import Cancelled, Completed, Failed
from perdure.wire import errors
from perdure.wire.times import duration
from perdure.worker.activity import activities
from tests.unit.worker.harness import CONVERTER, Harness, HeartbeatResponse
from tests.unit.worker.scripted import activity_task

SECOND_NS = 1_000_000_000
seen: list[Any]
waiting: asyncio.Event


@pytest.fixture(autouse=True)
async def nothing_seen() -> None:
    global seen, waiting
    seen, waiting = [], asyncio.Event()


@activity.defn
async def wait() -> None:
    activity.heartbeat("beat")
    waiting.set()
    try:
        await activity.wait_for_cancelled()
        await asyncio.Event().wait()
    finally:
        seen.append(activity.cancellation_details())
        assert activity.is_cancelled()


@activity.defn
def wait_in_a_thread() -> None:
    try:
        activity.heartbeat("beat")
        while True:
            activity.wait_for_cancelled_sync(0.001)
    finally:
        seen.append(activity.cancellation_details())


@activity.defn(no_thread_cancel_exception=True)
def wait_politely() -> str:
    activity.heartbeat("beat")
    activity.wait_for_cancelled_sync(timedelta(seconds=30))
    seen.append(activity.cancellation_details())
    return "ended by itself"


def gone(_: Any) -> HeartbeatResponse:
    raise errors.not_found("activity is gone")


def answering(**fields: bool) -> Callable[[Any], HeartbeatResponse]:
    def answer(_: Any) -> HeartbeatResponse:
        return HeartbeatResponse(**fields)

    return answer


HEARTBEATS: list[tuple[Any, dict[str, bool], str, str]] = [
    (
        answering(cancel_requested=True),
        {"cancel_requested": True},
        "RespondActivityTaskCanceled",
        "",
    ),
    (gone, {"not_found": True}, "RespondActivityTaskCanceled", ""),
    (
        answering(activity_paused=True),
        {"paused": True},
        "RespondActivityTaskFailed",
        "ActivityPause",
    ),
    (
        answering(activity_reset=True),
        {"reset": True},
        "RespondActivityTaskFailed",
        "ActivityReset",
    ),
]


@pytest.mark.parametrize(
    ("answer", "details", "ends_with", "failure_type"),
    HEARTBEATS,
    ids=["cancelled", "gone", "paused", "reset"],
)
@pytest.mark.parametrize("function", [wait, wait_in_a_thread])
async def test_what_a_heartbeat_s_answer_makes_of_an_activity(
    answer: Any, details: dict[str, bool], ends_with: str, failure_type: str, function: Any
) -> None:
    with ThreadPoolExecutor(1) as executor:
        harness = Harness(function, executor=executor, RecordActivityTaskHeartbeat=answer)
        await harness.run(function.__name__)
    assert seen == [ActivityCancellationDetails(**details)]
    assert harness.answers() == [ends_with]
    if failure_type:
        failure = harness.failure()
        assert failure.application_failure_info.type == failure_type
        assert failure_type.removeprefix("Activity").lower() in failure.message
        assert not failure.application_failure_info.non_retryable


async def test_no_exception_in_a_thread_that_wants_none() -> None:
    with ThreadPoolExecutor(1) as executor:
        harness = Harness(
            wait_politely,
            executor=executor,
            RecordActivityTaskHeartbeat=answering(cancel_requested=True),
        )
        await harness.run("wait_politely")
    assert await harness.result() == "ended by itself"
    assert seen == [ActivityCancellationDetails(cancel_requested=True)]


async def test_an_attempt_out_of_time_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activities, "LOCAL_TIMEOUT_GRACE_NS", 0)
    harness = Harness(wait)
    await harness.run("wait", start_to_close_timeout=duration(1))
    assert seen == [ActivityCancellationDetails(timed_out=True)]
    assert harness.answers() == ["RespondActivityTaskCanceled"]


async def test_a_heartbeat_that_can_not_be_encoded_fails_the_attempt() -> None:
    @activity.defn
    async def beats() -> None:
        activity.heartbeat(object())
        await asyncio.Event().wait()

    harness = Harness(beats)
    await harness.run("beats")
    assert harness.connection.requests("RecordActivityTaskHeartbeat") == []
    assert "is not JSON serializable" in harness.failure().message
    assert harness.failure().application_failure_info.type == "TypeError"


async def test_a_heartbeat_that_is_lost_changes_nothing() -> None:
    lost = asyncio.Event()

    @activity.defn
    async def beats() -> str:
        activity.heartbeat(1)
        await lost.wait()
        return "done"

    def lose(_: Any) -> HeartbeatResponse:
        lost.set()
        raise errors.Unavailable("gone")

    harness = Harness(beats, RecordActivityTaskHeartbeat=lose)
    await harness.run("beats")
    assert await harness.result() == "done"


async def test_heartbeats_carry_token_namespace_and_identity() -> None:
    harness = Harness(wait, RecordActivityTaskHeartbeat=answering(cancel_requested=True))
    await harness.run("wait", token=b"it")
    (beat,) = harness.connection.requests("RecordActivityTaskHeartbeat")
    assert (beat.task_token, beat.namespace, beat.identity) == (b"it", "default", "tester")
    assert await CONVERTER.decode(beat.details.payloads) == ["beat"]
    (answer,) = harness.connection.requests("RespondActivityTaskCanceled")
    assert (answer.task_token, answer.namespace, answer.identity) == (b"it", "default", "tester")


async def test_a_result_that_can_not_be_encoded_is_a_failure() -> None:
    @activity.defn
    async def odd() -> object:
        return object()

    harness = Harness(odd)
    await harness.run("odd")
    assert harness.answers() == ["RespondActivityTaskFailed"]
    assert "is not JSON serializable" in harness.failure().message


async def test_details_that_can_not_be_encoded_do_not_hide_the_failure() -> None:
    @activity.defn
    async def odd() -> None:
        activity.heartbeat(object())
        raise ApplicationError("the reason")

    harness = Harness(odd)
    await harness.run("odd")
    assert harness.failure().message == "the reason"


@pytest.mark.parametrize(
    ("category", "level"),
    [
        (ApplicationErrorCategory.BENIGN, logging.DEBUG),
        (ApplicationErrorCategory.UNSPECIFIED, logging.WARNING),
    ],
)
async def test_benign_failures_are_logged_quietly(
    category: ApplicationErrorCategory, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    @activity.defn
    async def fails() -> None:
        raise ApplicationError("no", category=category)

    await Harness(fails).run("fails")
    (record,) = [each for each in caplog.records if "as failed" in each.getMessage()]
    assert record.levelno == level


async def test_a_broken_executor_ends_the_worker() -> None:
    @activity.defn
    async def breaks() -> None:
        raise BrokenExecutor("a process died")

    harness = Harness(breaks)
    await harness.run("breaks")
    assert [str(error) for error in harness.fatal] == ["a process died"]
    await harness.activities.run_local(
        activity_task("breaks"), harness.activities.new_attempt(activity_task("breaks"))
    )
    assert len(harness.fatal) == 2
    other = Harness(wait, RecordActivityTaskHeartbeat=gone)
    await other.run("wait")
    assert other.fatal == []


COLOUR: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


async def test_a_thread_sees_the_context_variables_and_keeps_its_own() -> None:
    @activity.defn
    def paints() -> str:
        before = COLOUR.get()
        COLOUR.set("blue")
        return f"{before}, {threading.current_thread() is threading.main_thread()}"

    COLOUR.set("red")
    with ThreadPoolExecutor(1) as executor:
        for _ in range(2):
            harness = Harness(paints, executor=executor)
            await harness.run("paints")
            assert await harness.result() == "red, False"
    assert COLOUR.get() == "red"
    assert not activity.in_activity()


async def test_arguments_are_converted_by_the_hints_also_when_some_are_left_out() -> None:
    @activity.defn
    async def takes(number: float, when: datetime | None = None) -> str:
        return f"{number!r} {when!r}"

    for args, expected in (
        ((1, "2026-11-22T00:00:00+00:00"), f"1.0 {datetime(2026, 11, 22, tzinfo=UTC)!r}"),
        ((1,), "1.0 None"),
    ):
        harness = Harness(takes)
        await harness.run("takes", *args)
        assert await harness.result() == expected


async def test_varied_arguments_are_converted_by_their_hint() -> None:
    @activity.defn
    async def takes(first: float, *rest: datetime) -> str:
        return f"{first!r} {rest!r}"

    when = datetime(2026, 11, 22, tzinfo=UTC)
    for rest in ((), (when,), (when, when)):
        harness = Harness(takes)
        await harness.run("takes", 1, *(each.isoformat() for each in rest))
        assert await harness.result() == f"1.0 {rest!r}"


async def run_local(function: Any, *, cancel: bool = False) -> Any:
    harness = Harness(function)
    task = activity_task(function.__name__)
    attempt = harness.activities.new_attempt(task)
    running = asyncio.ensure_future(harness.activities.run_local(task, attempt))
    if cancel:
        await waiting.wait()
        attempt.cancel(ActivityCancellationDetails(cancel_requested=True), by_request=True)
    outcome = await running
    assert harness.answers() == []
    assert attempt.finished
    return outcome


async def test_outcomes_of_local_activities() -> None:
    @activity.defn
    async def returns() -> int:
        return 5

    @activity.defn
    async def later() -> None:
        activity.raise_complete_async()

    @activity.defn
    async def odd() -> object:
        return object()

    @activity.defn
    async def own_idea() -> None:
        raise CancelledError("own idea")

    completed = await run_local(returns)
    assert isinstance(completed, Completed)
    assert completed.result is not None
    assert completed.result.data == b"5"
    for function, words, is_final in (
        (later, "cannot be completed asynchronously", True),
        (odd, "is not JSON serializable", False),
        (own_idea, "own idea", False),
    ):
        failed = await run_local(function)
        assert isinstance(failed, Failed)
        assert words in failed.failure.message
        assert failed.failure.application_failure_info.non_retryable is is_final
    cancelled = await run_local(wait, cancel=True)
    assert isinstance(cancelled, Cancelled)
