"""Local activities on virtual time: slots, time-outs, back-offs, cancellations, and the worker's end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.core.units import MS_NS, SECOND_NS
from perdure.replay.commands import ScheduleLocalActivity
from perdure.replay.jobs import Cancelled, Completed, Failed
from perdure.replay.local import LocalActivityCancel, LocalActivityRequest
from perdure.replay.task import RunInfo
from perdure.wire.api import common
from perdure.worker import ActivityInboundInterceptor, ExecuteActivityInput
from tests.unit.worker.harness import CONVERTER
from tests.unit.worker.local_world import (
    NOW_NS,
    START_TO_CLOSE,
    TO_CLOSE,
    TO_START,
    World,
    began_s,
    ends,
    infos,
    on_virtual_time,
    time_out,
    value,
)


@pytest.fixture(autouse=True)
def fresh() -> None:
    infos.clear()
    ends.clear()


# Attempts -----------------------------------------------------------------------------------------


@on_virtual_time
async def test_an_attempt_knows_what_it_belongs_to() -> None:
    world = World()
    result = await world.outcome(
        "flaky",
        0,
        activity_id="the-id",
        schedule_to_close_timeout_ns=9 * SECOND_NS,
        start_to_close_timeout_ns=5 * SECOND_NS,
        retry_policy=common.RetryPolicy(maximum_attempts=3),
    )
    assert (result.attempt, result.backoff_ns) == (1, None)
    assert result.runtime_ns == SECOND_NS
    assert result.original_schedule_time_ns == NOW_NS
    (info,) = infos
    assert (info.activity_id, info.activity_type, info.attempt) == ("the-id", "flaky", 1)
    assert (info.workflow_id, info.workflow_run_id, info.workflow_type) == ("w", "r", "Flow")
    assert (info.namespace, info.workflow_namespace, info.is_local) == ("ns", "ns", True)
    assert info.task_token == b"local/r/1/1"
    assert info.scheduled_time.timestamp() == 1_000
    assert info.current_attempt_scheduled_time.timestamp() == 1_000
    assert info.started_time.timestamp() == 1_000
    assert info.schedule_to_close_timeout is not None
    assert info.schedule_to_close_timeout.total_seconds() == 9
    assert info.start_to_close_timeout is not None
    assert info.start_to_close_timeout.total_seconds() == 5
    assert info.retry_policy is not None
    assert info.retry_policy.maximum_attempts == 3


@on_virtual_time
async def test_what_is_not_given_has_defaults() -> None:
    world = World()
    await world.outcome("flaky", 1, schedule_to_close_timeout_ns=60 * SECOND_NS)
    first, second = infos
    assert first.activity_id == "1"
    assert first.start_to_close_timeout == first.schedule_to_close_timeout
    assert first.retry_policy is None
    assert (first.task_token, second.task_token) == (b"local/r/1/1", b"local/r/1/2")
    assert second.scheduled_time == first.scheduled_time
    assert (second.started_time - first.started_time).total_seconds() == 2, "one runs, one pauses"


@on_virtual_time
async def test_short_back_offs_are_waited_for() -> None:
    world = World()
    start_s = await began_s()
    result = await world.outcome("flaky", 3)
    assert await value(result) == 4
    assert (result.attempt, result.runtime_ns) == (4, SECOND_NS)
    assert world.ended_s[1] - start_s == pytest.approx(4 + 1 + 2 + 4)


@pytest.mark.parametrize(
    ("threshold_ns", "backoff_ns"),
    [(None, None), (4 * SECOND_NS, None), (4 * SECOND_NS - 1, 4 * SECOND_NS), (0, SECOND_NS)],
)
def test_a_back_off_over_the_threshold_is_the_workflows(
    threshold_ns: int | None, backoff_ns: int | None
) -> None:
    @on_virtual_time
    async def play() -> None:
        result = await World().outcome("flaky", 3, local_retry_threshold_ns=threshold_ns)
        assert result.backoff_ns == backoff_ns
        attempts = {None: 4, 4 * SECOND_NS: 3, SECOND_NS: 1}
        assert result.attempt == attempts[backoff_ns]
        assert isinstance(result.outcome, Completed if backoff_ns is None else Failed)

    play()


@on_virtual_time
async def test_attempts_go_on_counting_after_a_timer_of_the_workflow() -> None:
    result = await World().outcome("flaky", 8, attempt=8, original_schedule_time_ns=5)
    assert (result.attempt, result.original_schedule_time_ns) == (8, 5)
    assert result.backoff_ns == 100 * SECOND_NS, "over the threshold"
    assert infos[0].attempt == 8


@on_virtual_time
async def test_the_last_failure_is_the_result() -> None:
    policy = common.RetryPolicy(maximum_attempts=2)
    result = await World().outcome("flaky", 9, retry_policy=policy)
    assert (result.attempt, result.backoff_ns) == (2, None)
    assert isinstance(result.outcome, Failed)
    assert result.outcome.failure.message == "not yet"


# Time-outs ----------------------------------------------------------------------------------------

ONCE = common.RetryPolicy(maximum_attempts=1)


@pytest.mark.parametrize(
    ("options", "kind", "ended_s"),
    [
        ({"start_to_close_timeout_ns": 3 * SECOND_NS}, START_TO_CLOSE, 3),
        ({"schedule_to_close_timeout_ns": 3 * SECOND_NS}, TO_CLOSE, 3),
        (
            {
                "start_to_close_timeout_ns": 3 * SECOND_NS,
                "schedule_to_close_timeout_ns": 4 * SECOND_NS,
            },
            START_TO_CLOSE,
            3,
        ),
        (
            {
                "start_to_close_timeout_ns": 4 * SECOND_NS,
                "schedule_to_close_timeout_ns": 3 * SECOND_NS,
            },
            TO_CLOSE,
            3,
        ),
        (
            {
                "start_to_close_timeout_ns": 3 * SECOND_NS,
                "schedule_to_close_timeout_ns": 3 * SECOND_NS,
            },
            TO_CLOSE,
            3,
        ),
        # Two seconds of it have passed before this command.
        (
            {
                "schedule_to_close_timeout_ns": 3 * SECOND_NS,
                "original_schedule_time_ns": NOW_NS - 2 * SECOND_NS,
            },
            TO_CLOSE,
            1,
        ),
        ({"schedule_to_close_timeout_ns": SECOND_NS, "original_schedule_time_ns": 1}, TO_CLOSE, 0),
    ],
)
def test_an_attempt_out_of_time_is_left_behind(
    options: dict[str, Any], kind: int, ended_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    @on_virtual_time
    async def play() -> None:
        world = World()
        start_s = await began_s()
        result = await world.outcome("held", 100.0, retry_policy=ONCE, **options)
        assert time_out(result) == kind
        assert world.ended_s[1] - start_s == pytest.approx(ended_s)
        assert result.runtime_ns == pytest.approx(ended_s * SECOND_NS)
        assert ends == ["time-out"]
        assert caplog.messages == [], "what it did afterwards is of no interest"

    play()


@on_virtual_time
async def test_an_attempt_that_ran_out_of_time_is_tried_again() -> None:
    policy = common.RetryPolicy(maximum_attempts=3)
    result = await World().outcome(
        "held", 100.0, retry_policy=policy, start_to_close_timeout_ns=SECOND_NS
    )
    assert time_out(result) == START_TO_CLOSE
    assert result.attempt == 3
    assert ends == ["time-out"] * 3


@on_virtual_time
async def test_no_back_off_outlasts_the_whole_time() -> None:
    world = World()
    start_s = await began_s()
    result = await world.outcome("flaky", 9, schedule_to_close_timeout_ns=3 * SECOND_NS + 1)
    assert time_out(result) == TO_CLOSE
    assert isinstance(result.outcome, Failed)
    assert result.outcome.failure.cause.message == "not yet", "why it was tried again"
    assert world.ended_s[1] - start_s == pytest.approx(3, abs=1e-3)
    assert len(infos) == 2


@pytest.mark.parametrize(
    ("to_start_s", "to_close_s", "kind", "ended_s"),
    [
        (2, None, TO_START, 2),
        (2, 3, TO_START, 2),
        (3, 2, TO_CLOSE, 2),
        (2, 2, TO_CLOSE, 2),
        (None, 2, TO_CLOSE, 2),
        (None, None, None, 10),
        (11, 12, None, 10),
    ],
)
def test_waiting_for_a_slot_has_its_limits(
    to_start_s: int | None, to_close_s: int | None, kind: int | None, ended_s: float
) -> None:
    @on_virtual_time
    async def play() -> None:
        world = World()
        start_s = await began_s()
        await world.schedule(7, "held", 9.0)
        await world.schedule(
            1,
            "flaky",
            0,
            schedule_to_start_timeout_ns=to_start_s and to_start_s * SECOND_NS,
            schedule_to_close_timeout_ns=to_close_s and to_close_s * SECOND_NS,
        )
        await world.until(1, 7)
        assert world.ended_s[1] - start_s == pytest.approx(ended_s)
        assert await value(world.results[7]) == "let go"
        if kind is None:
            assert await value(world.results[1]) == 1
            assert infos[1].started_time.timestamp() == 1_009
        else:
            assert time_out(world.results[1]) == kind
            assert len(infos) == 1, "it never began"
        assert world.slots.used == 0

    play()


@pytest.mark.parametrize("attempt", [0, 1, 4])
def test_the_first_attempt_of_a_command_alone_may_be_late_to_start(attempt: int) -> None:
    @on_virtual_time
    async def play() -> None:
        world = World()
        command = {"attempt": attempt, "schedule_to_start_timeout_ns": 500 * MS_NS}
        policy = common.RetryPolicy(backoff_coefficient=1)
        first = max(1, attempt)
        await world.schedule(1, "flaky", first, retry_policy=policy, **command)
        await asyncio.sleep(1.5)  # its first attempt has failed, and it pauses
        await world.schedule(2, "held", 9.0)
        await world.schedule(3, "flaky", 0, **command)
        await world.until(1, 2, 3)
        assert await value(world.results[1]) == first + 1, "the second attempt waited for its slot"
        assert time_out(world.results[3]) == TO_START

    play()


# Cancellations ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after_s", "kind", "began"),
    [(0.5, "running", ["request"]), (1.5, "pausing", [])],
)
def test_a_cancellation_ends_it_whatever_it_does(
    after_s: float, kind: str, began: list[str]
) -> None:
    @on_virtual_time
    async def play() -> None:
        world = World()
        start_s = await began_s()
        if kind == "running":
            await world.schedule(1, "held", 100.0)
        else:
            await world.schedule(1, "flaky", 9)
        await asyncio.sleep(after_s)
        world.run.apply([LocalActivityCancel(1), LocalActivityCancel(99)], NOW_NS)
        world.run.apply([LocalActivityCancel(1)], NOW_NS)
        await world.until(1)
        result = world.results[1]
        assert isinstance(result.outcome, Cancelled)
        assert result.outcome.failure.message == "Cancelled"
        assert result.outcome.failure.HasField("canceled_failure_info")
        assert world.ended_s[1] - start_s == pytest.approx(after_s)
        assert (result.attempt, result.backoff_ns, ends) == (1, None, began)
        assert world.slots.used == 0

    play()


@on_virtual_time
async def test_a_cancellation_ends_the_wait_for_a_slot() -> None:
    world = World()
    await world.schedule(7, "held", 9.0)
    await world.schedule(1, "flaky", 0)
    await asyncio.sleep(1)
    world.run.apply([LocalActivityCancel(1)], NOW_NS)
    await world.until(1)
    assert isinstance(world.results[1].outcome, Cancelled)
    await world.until(7)
    assert len(infos) == 1
    assert world.slots.used == 0


@on_virtual_time
async def test_a_slot_that_comes_in_the_moment_of_the_cancellation_is_given_back() -> None:
    world = World()
    await world.slots.take()
    await world.schedule(1, "flaky", 0)
    await asyncio.sleep(1)
    world.slots.release()
    assert world.slots.used == 1, "it was handed over"
    world.run.apply([LocalActivityCancel(1)], NOW_NS)
    await world.until(1)
    assert isinstance(world.results[1].outcome, Cancelled)
    assert (infos, world.slots.used) == ([], 0)


@on_virtual_time
async def test_interceptors_see_the_headers_of_the_command() -> None:
    seen: list[dict[str, bytes]] = []

    class Notes(ActivityInboundInterceptor):
        async def execute_activity(self, input: ExecuteActivityInput) -> Any:
            seen.append({key: each.data for key, each in input.headers.items()})
            return await super().execute_activity(input)

    world = World(interceptors=[Notes])
    headers = {"a": common.Payload(data=b"1"), "b": common.Payload(data=b"2")}
    await world.outcome("flaky", 0, headers=headers)
    assert seen == [{"a": b"1", "b": b"2"}]


@on_virtual_time
async def test_a_failure_after_a_cancellation_is_not_tried_again() -> None:
    world = World()
    await world.schedule(1, "flaky", 9)
    await asyncio.sleep(0.5)
    world.run.apply([LocalActivityCancel(1)], NOW_NS)
    await world.until(1)
    assert len(infos) == 1


@on_virtual_time
async def test_what_fails_because_of_a_cancellation_has_failed() -> None:
    world = World()
    await world.schedule(1, "gives_up", 9.0)
    await asyncio.sleep(0.5)
    world.run.apply([LocalActivityCancel(1)], NOW_NS)
    await world.until(1)
    outcome = world.results[1].outcome
    assert isinstance(outcome, Failed)
    assert outcome.failure.message == "gave up"
    assert (len(infos), world.results[1].attempt) == (1, 1)


@on_virtual_time
async def test_a_cancellation_at_the_end_of_a_pause_still_prevents_the_next_attempt() -> None:
    world = World()
    loop = asyncio.get_running_loop()
    loop.call_later(2, world.run.apply, [LocalActivityCancel(1)], NOW_NS)
    await world.schedule(1, "flaky", 9)
    await world.until(1)
    result = world.results[1]
    assert (len(infos), result.attempt, result.backoff_ns) == (1, 1, None)


# The end of the run, and of the worker --------------------------------------------------------------


@on_virtual_time
async def test_a_run_that_is_closed_cancels_all_and_wants_no_results() -> None:
    world = World(slots=3)
    for seq in (1, 2, 3):
        await world.schedule(seq, "held", 100.0)
    await asyncio.sleep(1)
    assert not world.run.is_idle
    world.run.close()
    assert world.run.is_idle
    await asyncio.gather(*world.tasks, return_exceptions=True)
    assert ends == ["request"] * 3
    assert world.run.take_results() == []
    assert world.slots.used == 0


@on_virtual_time
async def test_everything_that_is_asked_for_at_once_is_done() -> None:
    world = World(slots=3)
    asked = [
        ScheduleLocalActivity(
            seq=seq, activity_type="held", arguments=await CONVERTER.encode([seconds])
        )
        for seq, seconds in ((1, 5.0), (2, 100.0), (3, 100.0))
    ]
    world.run.apply([LocalActivityRequest(each) for each in asked], NOW_NS)
    await asyncio.sleep(1)
    assert world.slots.used == 3
    world.run.apply([LocalActivityCancel(2), LocalActivityCancel(3)], NOW_NS)
    await world.until(1, 2, 3)
    assert await value(world.results[1]) == "let go"
    assert ends == ["request"] * 2


@on_virtual_time
async def test_a_run_that_is_closed_drops_results_and_leaves_no_error_behind() -> None:
    world = World(slots=2)
    await world.schedule(1, "held", 1.0)
    await world.schedule(2, "held", 100.0)
    await asyncio.sleep(2)
    world.run.close()
    assert world.run.take_results() == [], "one that was there already"
    ended = await asyncio.gather(*world.tasks, return_exceptions=True)
    assert not [each for each in ended if isinstance(each, Exception)]
    assert not world.worker._running


@on_virtual_time
async def test_waiting_leaves_nothing_behind() -> None:
    world = World()
    await world.schedule(1, "held", 2.0)
    await asyncio.sleep(0.1)
    before = asyncio.all_tasks()
    await world.run.wait(1)
    waiting = asyncio.create_task(world.run.wait(None))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before
    await world.run.wait(None)
    assert [seq for seq, _ in world.run.take_results()] == [1]
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before


@on_virtual_time
async def test_a_wait_that_begins_after_the_result_ends_at_once() -> None:
    world = World(slots=2)
    start_s = await began_s()
    await world.schedule(1, "held", 1.0)
    await world.schedule(2, "held", 3.0)
    await asyncio.sleep(2)
    await world.run.wait(60)
    assert await began_s() - start_s == pytest.approx(2)
    assert [seq for seq, _ in world.run.take_results()] == [1]
    await world.run.wait(60)
    assert await began_s() - start_s == pytest.approx(3)


@on_virtual_time
async def test_a_worker_that_ends_cancels_those_of_all_runs() -> None:
    world = World(slots=3)
    other = world.worker.of_run(RunInfo("ns", "w2", "r2", "Flow", "q"))
    for seq in (1, 2):
        await world.schedule(seq, "held", 100.0)
    command = ScheduleLocalActivity(
        seq=1, activity_type="held", arguments=await CONVERTER.encode([100.0])
    )
    other.apply([LocalActivityRequest(command)], NOW_NS)
    waiting = asyncio.create_task(other.wait(1000))
    await asyncio.sleep(1)
    world.worker.abandon()
    with pytest.raises(RuntimeError, match="worker stopped while a local activity was running"):
        await waiting
    await asyncio.gather(*world.tasks, return_exceptions=True)
    assert ends == ["request"] * 3
    assert world.slots.used == 0


@on_virtual_time
async def test_waiting_ends_with_a_result_or_its_time_out() -> None:
    world = World(slots=2)
    await world.schedule(1, "held", 2.0)
    start_s = await began_s()
    await world.run.wait(1)
    assert await began_s() - start_s == pytest.approx(1)
    assert world.run.take_results() == []
    await world.run.wait(60)
    assert await began_s() - start_s == pytest.approx(2)
    await world.run.wait(60)
    assert await began_s() - start_s == pytest.approx(2), "a result that nobody has taken"
    ((seq, _),) = world.run.take_results()
    assert seq == 1
    assert world.run.take_results() == []
    assert not world.worker._running, "what has ended is not kept until the worker ends"
