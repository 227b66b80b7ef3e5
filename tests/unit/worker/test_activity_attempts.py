"""Attempts of activities on virtual time: their end by time-out, shutdown and request, and when heartbeats travel."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from perdure import activity
from perdure.activity import ActivityCancellationDetails
from perdure.converter import ActivitySerializationContext, DataConverter, PayloadCodec
from perdure.replay.jobs import Cancelled, Failed
from perdure.wire import errors
from perdure.wire.api import common
from perdure.wire.times import duration
from perdure.worker.activity.activities import LOCAL_TIMEOUT_GRACE_NS
from perdure.worker.activity.attempt import Attempt, Deadline
from tests.unit.server.virtual import on_virtual_time
from tests.unit.worker.harness import CONVERTER, Harness, HeartbeatResponse
from tests.unit.worker.scripted import activity_task

SECOND_NS = 1_000_000_000
seen: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    seen.clear()


@activity.defn
async def sleeps(seconds: float) -> str:
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        seen.append((asyncio.get_running_loop().time(), activity.cancellation_details()))
        raise
    return "done"


@activity.defn
async def beats(seconds: int) -> str:
    for number in range(seconds * 4):
        activity.heartbeat(number)
        await asyncio.sleep(0.25)
    return "done"


@activity.defn
async def tells() -> list[Any]:
    info = activity.info()
    return [info.namespace, info.workflow_namespace, info.task_queue, info.is_local]


async def tasks_of(harness: Harness) -> list[BaseException]:
    ended = await asyncio.gather(*harness.tasks, return_exceptions=True)
    return [each for each in ended if isinstance(each, Exception)]


# Time-outs and the worker's end ---------------------------------------------------------------------


@on_virtual_time
async def test_an_attempt_is_given_up_some_time_after_the_server_does() -> None:
    harness = Harness(sleeps)
    start_s = asyncio.get_running_loop().time()
    await harness.run("sleeps", 1000.0, start_to_close_timeout=duration(3 * SECOND_NS))
    ((ended_s, details),) = seen
    assert ended_s - start_s == pytest.approx(3 + LOCAL_TIMEOUT_GRACE_NS / SECOND_NS)
    assert details == ActivityCancellationDetails(timed_out=True)
    assert harness.answers() == ["RespondActivityTaskCanceled"]


@pytest.mark.parametrize("timeout_s", [0, 3])
def test_an_attempt_that_ends_in_time_is_left_alone(timeout_s: int) -> None:
    @on_virtual_time
    async def play() -> None:
        harness = Harness(sleeps)
        await harness.run("sleeps", 7.0, start_to_close_timeout=duration(timeout_s * SECOND_NS))
        assert await harness.result() == "done"
        assert seen == []
        await asyncio.sleep(3600)
        assert await tasks_of(harness) == []

    play()


@on_virtual_time
async def test_all_attempts_are_cancelled_when_the_graceful_time_is_over() -> None:
    harness = Harness(sleeps)
    running = [asyncio.create_task(harness.run("sleeps", 1000.0)) for _ in range(3)]
    local = activity_task("sleeps")
    local.input.payloads.extend(await CONVERTER.encode([1000.0]))
    attempt = harness.activities.new_attempt(local)
    running_local = asyncio.create_task(harness.activities.run_local(local, attempt))
    await asyncio.sleep(1)
    harness.activities.cancel_all()
    await asyncio.gather(*running)
    assert [details for _, details in seen] == [
        ActivityCancellationDetails(worker_shutdown=True)
    ] * 4
    assert harness.answers() == ["RespondActivityTaskFailed"] * 3
    for request in harness.connection.requests("RespondActivityTaskFailed"):
        assert request.failure.application_failure_info.type == "WorkerShutdown"
        assert request.failure.message == "The worker was shut down before the activity ended"
    assert isinstance(await running_local, Cancelled)
    harness.activities.cancel_all()


@on_virtual_time
async def test_an_attempt_that_is_cancelled_before_its_first_step_ends() -> None:
    harness = Harness(sleeps)
    running = asyncio.create_task(harness.run("sleeps", 1000.0))
    while not harness.activities._running:  # noqa: ASYNC110
        await asyncio.sleep(0)
    harness.activities.cancel_all()
    await asyncio.wait_for(running, 60)
    assert harness.failure().application_failure_info.type == "WorkerShutdown"
    assert seen == [], "its code has not begun"


@on_virtual_time
async def test_nothing_reaches_an_attempt_that_has_ended() -> None:
    harness = Harness(sleeps)
    await harness.run("sleeps", 1.0)
    harness.activities.cancel_all()
    await asyncio.sleep(10)
    assert seen == []
    assert harness.answers() == ["RespondActivityTaskCompleted"]


async def test_the_first_reason_stays() -> None:
    attempt = Attempt.create(is_async=True, raises_in_thread=False)
    first = ActivityCancellationDetails(paused=True)
    attempt.cancel(first, by_request=False)
    attempt.cancel(
        ActivityCancellationDetails(worker_shutdown=True),
        by_request=True,
        heartbeat_error=LookupError(),
    )
    assert attempt.details.details == first
    assert (attempt.by_request, attempt.heartbeat_error, attempt.is_shutdown) == (
        False,
        None,
        False,
    )
    assert attempt.cancelled_event.is_set()


async def test_after_its_end_there_is_no_reason() -> None:
    attempt = Attempt.create(is_async=True, raises_in_thread=False)
    attempt.task = asyncio.create_task(asyncio.sleep(0))
    task = attempt.task
    attempt.finish()
    assert attempt.task is None
    attempt.cancel(ActivityCancellationDetails(worker_shutdown=True), by_request=True)
    assert attempt.details.details is None
    assert not attempt.cancelled_event.is_set()
    await task
    assert not attempt.is_shutdown


# Heartbeats -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("timeout_s", "interval_s"), [(1, 0.8), (0, 1.0), (60, 1.0)])
def test_heartbeats_travel_at_intervals_and_the_latest_wins(
    timeout_s: int, interval_s: float
) -> None:
    @on_virtual_time
    async def play() -> None:
        loop = asyncio.get_running_loop()
        times_s: list[float] = []
        start_s = loop.time()

        def note(_: Any) -> HeartbeatResponse:
            times_s.append(loop.time() - start_s)
            return HeartbeatResponse()

        harness = Harness(beats, RecordActivityTaskHeartbeat=note)
        await harness.run("beats", 3, heartbeat_timeout=duration(timeout_s * SECOND_NS))
        assert times_s == pytest.approx([interval_s * n for n in range(len(times_s))])
        assert len(times_s) == int(2.9 / interval_s) + 1
        sent = [
            (await CONVERTER.decode(request.details.payloads))[0]
            for request in harness.connection.requests("RecordActivityTaskHeartbeat")
        ]
        assert sent == [int(time_s / 0.25 + 1e-9) for time_s in times_s]
        assert loop.time() - start_s == pytest.approx(3), "no interval is sat out at the end"

    play()


@on_virtual_time
async def test_a_heartbeat_that_is_lost_is_followed_by_the_next() -> None:
    lost = [errors.Unavailable("down"), errors.DeadlineExceeded("slow")]

    def answer(_: Any) -> HeartbeatResponse:
        if lost:
            raise lost.pop()
        return HeartbeatResponse(cancel_requested=True)

    harness = Harness(beats, RecordActivityTaskHeartbeat=answer)
    await harness.run("beats", 60)
    assert len(harness.connection.requests("RecordActivityTaskHeartbeat")) == 3
    assert harness.answers() == ["RespondActivityTaskCanceled"]
    assert await tasks_of(harness) == []


@on_virtual_time
async def test_no_heartbeat_follows_the_answer() -> None:
    @activity.defn
    async def beats_once() -> str:
        activity.heartbeat(1)
        await asyncio.sleep(0.1)
        activity.heartbeat(2)
        return "done"

    harness = Harness(beats_once)
    await harness.run("beats_once")
    await asyncio.sleep(60)
    names = [name for name, _ in harness.connection.calls]
    assert names == ["RecordActivityTaskHeartbeat", "RespondActivityTaskCompleted"]


# What it belongs to ---------------------------------------------------------------------------------


@pytest.mark.parametrize("namespace", ["", "theirs"])
async def test_the_namespace_is_the_workers_unless_the_task_says_another(namespace: str) -> None:
    contexts: list[Any] = []

    class Noting(DataConverter):
        def with_context(self, context: Any) -> DataConverter:
            contexts.append(context)
            return CONVERTER

    harness = Harness(tells, converter=Noting())
    task = activity_task("tells", activity_id="a-1")
    task.workflow_namespace, task.workflow_type.name = namespace, "Flow"
    await harness.activities.handle(task)
    expected = namespace or "default"
    assert await harness.result() == [expected, namespace or None, "queue", False]
    assert contexts == [
        ActivitySerializationContext(
            namespace=expected,
            workflow_id="workflow-1",
            workflow_type="Flow",
            activity_type="tells",
            activity_id="a-1",
            activity_task_queue="queue",
            is_local=False,
        )
    ]


async def test_a_converter_that_refuses_an_activity_fails_its_attempt() -> None:
    class Refusing(DataConverter):
        def with_context(self, context: Any) -> DataConverter:
            raise LookupError("no key")

    harness = Harness(tells, converter=Refusing())
    await harness.run("tells")
    assert harness.failure().message == "no key"
    assert harness.answers() == ["RespondActivityTaskFailed"]


async def test_an_answer_can_be_cancelled_while_it_is_encoded() -> None:
    entered = asyncio.Event()

    class Waiting(PayloadCodec):
        async def encode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
            entered.set()
            await asyncio.Event().wait()
            return list(payloads)

        async def decode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
            return list(payloads)

    harness = Harness(tells, converter=replace(CONVERTER, payload_codec=Waiting()))
    answering = asyncio.create_task(harness.run("tells"))
    await entered.wait()
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering
    assert harness.answers() == []


async def test_a_local_activity_can_not_be_completed_later() -> None:
    @activity.defn
    async def later() -> None:
        activity.raise_complete_async()

    harness = Harness(later)
    task = activity_task("later")
    outcome = await harness.activities.run_local(task, harness.activities.new_attempt(task))
    assert isinstance(outcome, Failed)
    assert "cannot be completed asynchronously" in outcome.failure.message
    assert outcome.failure.application_failure_info.non_retryable


async def test_a_deadline_is_past_when_its_grace_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    deadline = Deadline(10.0)
    with monkeypatch.context() as patched:
        for passed_s, is_past in ((8.0, False), (10.5, False), (13.0, False), (13.5, True)):
            patched.setattr(loop, "time", lambda now_s=start_s + passed_s: now_s)
            assert deadline.is_past(3.0) is is_past, passed_s
    deadline.close()
