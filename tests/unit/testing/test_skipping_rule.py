"""What holds skipping up, and where a skip goes. On virtual time: every figure is exact."""

from __future__ import annotations

import asyncio

import pytest

from perdure.core.ids import EntityKey
from perdure.server.time_skipping.skipping import SETTLE_NS, START_UP_NS
from perdure.storage.port import StoreFull
from perdure.wire.api import enums, taskqueue
from perdure.wire.errors import NotFound
from tests.harness.builders import cancel_timer, complete_workflow, schedule_activity
from tests.unit.testing.stage import Stage, staged, timer

HOUR_S = 3_600.0
DAY_S = 86_400.0
SOON_S = 0.25
"""Enough for a skip: the rule looks ten times a second while work runs."""


async def skip_s(stage: Stage, *, within_s: float = 60) -> float:
    """Wait for the next skip; how much real time that took."""
    began_s, before = stage.real_s, stage.time.skips
    while stage.time.skips == before:
        assert stage.real_s - began_s < within_s, "no skip"
        await asyncio.sleep(0.0005)
    return stage.real_s - began_s


async def no_skip(stage: Stage, for_s: float) -> None:
    before = stage.time.skips
    await asyncio.sleep(for_s)
    assert stage.time.skips == before


async def fired_s(stage: Stage, key: EntityKey) -> list[float]:
    """When the run's timers fired, in seconds after its start, to a tenth."""
    page = await stage.history(key)
    began_ns = page[0].event_time.ToNanoseconds()
    return [
        round((event.event_time.ToNanoseconds() - began_ns) / 10**9, 1)
        for event in page
        if event.event_type == enums.EVENT_TYPE_TIMER_FIRED
    ]


# Where a skip goes.


@staged
async def test_a_skip_goes_to_the_next_timer_and_fires_it(stage: Stage) -> None:
    key = await stage.started_run("w", timer(DAY_S))
    stage.time.unlock()
    await skip_s(stage)
    assert DAY_S <= stage.now_s < DAY_S + 0.1
    await asyncio.sleep(0.01)
    assert await fired_s(stage, key) == [DAY_S], "the engine is told, and does not find out later"


@staged
async def test_timers_of_several_runs_fire_in_order_each_at_its_time(stage: Stage) -> None:
    days = (3, 1, 2)
    keys = [await stage.started_run(f"w{each}", timer(each * DAY_S)) for each in days]
    stage.time.unlock()
    for day in (1, 2, 3):
        await skip_s(stage)
        assert day * DAY_S <= stage.now_s < day * DAY_S + 30
        await stage.complete_next()
    assert [await fired_s(stage, key) for key in keys] == [[each * DAY_S] for each in days]
    assert stage.time.skips == 3


@staged
async def test_a_timer_is_not_skipped_over_by_a_longer_sleep(stage: Stage) -> None:
    key = await stage.started_run("w", timer(DAY_S))
    sleeping = asyncio.ensure_future(stage.sleep(3 * DAY_S, unlock=True))
    await skip_s(stage)
    assert DAY_S <= stage.now_s < DAY_S + 0.1
    await stage.complete_next()
    await sleeping
    assert 3 * DAY_S <= stage.now_s < 3 * DAY_S + 0.1
    assert await fired_s(stage, key) == [DAY_S]


@staged
async def test_a_sleep_ends_before_a_later_timer(stage: Stage) -> None:
    key = await stage.started_run("w", timer(DAY_S))
    await stage.sleep(HOUR_S, unlock=True)
    assert HOUR_S <= stage.now_s < HOUR_S + 0.1
    assert await fired_s(stage, key) == []
    await no_skip(stage, 5)
    assert stage.now_s < HOUR_S + 6, "it is locked again"


@staged
async def test_a_cancelled_timer_is_no_reason_to_skip(stage: Stage) -> None:
    """The stored wake-up stays: it is a lower bound."""
    keys = [await stage.started_run(f"w{each}", timer(DAY_S + each)) for each in range(3)]
    for key in keys:
        await stage.signal(key.name)
        await stage.complete_next(cancel_timer())
    stage.time.unlock()
    await no_skip(stage, 15)
    assert stage.now_s < 20
    assert await stage.engine.clock_control.next_wake() is None, "what is stored has become exact"


@staged
async def test_stale_wake_ups_are_passed_by_on_the_way_to_a_true_one(stage: Stage) -> None:
    for each in range(3):
        await stage.started_run(f"w{each}", timer(HOUR_S + each, "early"), timer(3 * DAY_S))
        await stage.signal(f"w{each}")
        await stage.complete_next(cancel_timer("early"))
    key = await stage.started_run("true", timer(2 * DAY_S))
    stage.time.unlock()
    await skip_s(stage)
    assert 2 * DAY_S <= stage.now_s < 2 * DAY_S + 0.1
    await asyncio.sleep(0.01)
    assert await fired_s(stage, key) == [2 * DAY_S]
    assert stage.time.skips == 1


@staged
async def test_nothing_to_wait_for_moves_nothing_until_there_is(stage: Stage) -> None:
    stage.time.unlock()
    await no_skip(stage, 30)
    await stage.started_run("w", timer(DAY_S))
    assert await skip_s(stage) < SOON_S


@staged
async def test_an_unlocking_is_noticed_at_once(stage: Stage) -> None:
    await stage.started_run("w", timer(DAY_S))
    await asyncio.sleep(30)
    stage.time.unlock()
    assert await skip_s(stage) < SETTLE_NS / 10**9


# What holds it up.


@staged
async def test_no_skip_while_a_workflow_task_runs(stage: Stage) -> None:
    await stage.started_run("w", timer(DAY_S))
    await stage.start("other")
    task = await stage.poll()
    for _ in range(3):
        stage.time.unlock()
    await no_skip(stage, 3)
    await stage.complete(task.task_token)
    assert await skip_s(stage) < SOON_S


@staged
async def test_no_skip_while_an_activity_runs_however_often_time_is_unlocked(stage: Stage) -> None:
    await stage.started_run("w", timer(DAY_S), schedule_activity())
    activity = await stage.poll_activity()
    for _ in range(3):
        stage.time.unlock()
    assert not stage.time.is_open
    await no_skip(stage, 3)
    await stage.complete_activity(activity.task_token)
    await stage.complete_next()
    assert stage.time.is_open
    assert await skip_s(stage) < SOON_S


@staged
async def test_two_running_activities_are_two_reasons(stage: Stage) -> None:
    await stage.started_run("w", schedule_activity("a"), schedule_activity("b"), timer(DAY_S))
    first, second = await stage.poll_activity(), await stage.poll_activity()
    stage.time.unlock()
    await stage.complete_activity(first.task_token)
    await stage.complete_next()
    await no_skip(stage, 2)
    await stage.complete_activity(second.task_token)
    await stage.complete_next()
    assert await skip_s(stage) < SOON_S


@pytest.mark.parametrize("is_activity", [False, True], ids=["workflow task", "activity"])
def test_a_run_that_is_closed_while_it_works_holds_nothing_up(is_activity: bool) -> None:
    async def play(stage: Stage) -> None:
        await stage.started_run("w", timer(DAY_S))
        if is_activity:
            await stage.started_run("other", schedule_activity())
            await stage.poll_activity()
        else:
            await stage.start("other")
            await stage.poll()
        stage.time.unlock()
        await no_skip(stage, 2)
        await stage.terminate("other")
        assert await skip_s(stage) < SOON_S
        assert not stage.time.work

    staged(play)()


@staged
async def test_a_task_that_nobody_polls_for_holds_time_up_for_its_start_up(stage: Stage) -> None:
    await stage.started_run("w", timer(DAY_S))
    stage.time.unlock()
    await stage.started_run(
        "other", schedule_activity(task_queue=taskqueue.TaskQueue(name="nobody"))
    )
    took_s = await skip_s(stage)
    assert START_UP_NS / 10**9 <= took_s < START_UP_NS / 10**9 + SOON_S


@staged
async def test_each_new_task_has_a_start_up_of_its_own(stage: Stage) -> None:
    await stage.started_run("w", timer(DAY_S))
    await stage.started_run(
        "other", schedule_activity("a", task_queue=taskqueue.TaskQueue(name="nobody"))
    )
    stage.time.unlock()
    await no_skip(stage, 0.8)
    await stage.signal("other")
    await stage.complete_next(
        schedule_activity("b", task_queue=taskqueue.TaskQueue(name="nobody else"))
    )
    assert 1.0 <= await skip_s(stage) < 1.0 + SOON_S


@staged
async def test_what_changes_no_task_does_not_prolong_a_start_up(stage: Stage) -> None:
    await stage.started_run("w", timer(DAY_S))
    await stage.start("other", task_queue=taskqueue.TaskQueue(name="nobody"))
    stage.time.unlock()
    await no_skip(stage, 0.8)
    await stage.signal("other")
    assert await skip_s(stage) < 0.2 + SOON_S


@pytest.mark.parametrize("is_activity", [False, True], ids=["workflow task", "activity"])
def test_a_task_in_a_queue_that_was_polled_lately_is_about_to_run(is_activity: bool) -> None:
    async def play(stage: Stage) -> None:
        await stage.started_run("w", timer(DAY_S))
        if is_activity:
            await stage.poll_queue("slow", 2)
            await stage.started_run(
                "other", schedule_activity(task_queue=taskqueue.TaskQueue(name="slow"))
            )
        else:
            await stage.poll(2)
            await stage.start("other")
        stage.time.unlock()
        await no_skip(stage, 8.5)
        assert await skip_s(stage) < 1.5 + SOON_S, "ten seconds after the last poll"

    staged(play)()


@staged
async def test_an_activity_that_backs_off_holds_nothing_up(stage: Stage) -> None:
    retrying = schedule_activity("a")
    retrying.schedule_activity_task_command_attributes.retry_policy.initial_interval.seconds = 7_200
    await stage.started_run("w", retrying, timer(DAY_S))
    first = await stage.poll_activity()
    stage.time.unlock()
    await stage.fail_activity(first.task_token)
    assert await skip_s(stage) < SOON_S
    assert 2 * HOUR_S <= stage.now_s < 2 * HOUR_S + 1
    await no_skip(stage, 5)
    again = await stage.poll_activity()
    assert again.attempt == 2
    await no_skip(stage, 5)
    assert 2 * HOUR_S <= stage.now_s < 2 * HOUR_S + 30


@staged
async def test_no_skip_while_a_call_is_being_committed(stage: Stage) -> None:
    await stage.started_run("w", timer(DAY_S))
    calls = await stage.holding(stage.terminate("w"))
    stage.time.unlock()
    await no_skip(stage, 3)
    stage.go_on()
    await asyncio.gather(*calls)
    await no_skip(stage, 3)
    assert stage.now_s < 10, "what was under way ended the only run"


# Callers.


@staged
async def test_an_answered_caller_has_a_moment_to_lock(stage: Stage) -> None:
    key = await stage.started_run("w", timer(DAY_S))
    stage.time.lock()
    for _ in range(2):
        stage.time.unlock()
        await stage.history(key)
        await asyncio.sleep(SETTLE_NS / 10**9 * 0.8)
        stage.time.lock()
        await no_skip(stage, 5)
    stage.time.unlock()
    await stage.history(key)
    assert stage.time.skips == 0
    stage.time.unlock()
    await stage.history(key)
    assert SETTLE_NS / 10**9 <= await skip_s(stage) < 2 * SETTLE_NS / 10**9


@staged
async def test_a_caller_who_is_refused_has_it_too(stage: Stage) -> None:
    await stage.started_run("w", timer(DAY_S))
    await asyncio.sleep(1)
    with pytest.raises(NotFound):
        await stage.signal("who?")
    stage.time.unlock()
    assert await skip_s(stage) >= SETTLE_NS / 10**9


@staged
async def test_a_worker_needs_no_moment(stage: Stage) -> None:
    await stage.start("w")
    task = await stage.poll()
    await asyncio.sleep(1)
    stage.time.unlock()
    await stage.complete(task.task_token, timer(DAY_S))
    assert await skip_s(stage) < SETTLE_NS / 10**9


@staged
async def test_who_locks_while_the_next_wake_up_is_looked_for_is_in_time(stage: Stage) -> None:
    await stage.started_run("w", timer(DAY_S))
    stage.store.wakes_gate.clear()
    stage.time.unlock()
    await asyncio.sleep(1)
    assert stage.store.looks == 1
    stage.time.lock()
    stage.store.wakes_gate.set()
    await no_skip(stage, 5)


@staged
async def test_work_that_begins_while_the_next_wake_up_is_looked_for_counts(stage: Stage) -> None:
    await stage.started_run("w", timer(DAY_S))
    stage.store.wakes_gate.clear()
    stage.time.unlock()
    await asyncio.sleep(1)
    await stage.start("other")
    task = await stage.poll()
    stage.store.wakes_gate.set()
    await no_skip(stage, 5)
    await stage.complete(task.task_token, complete_workflow())
    assert await skip_s(stage) < SOON_S


@staged
async def test_a_table_that_cannot_be_read_is_read_again(stage: Stage) -> None:
    await stage.started_run("w", timer(DAY_S))
    stage.store.wakes_error = StoreFull("no space left (test)")
    stage.time.unlock()
    await no_skip(stage, 3)
    assert 10 <= stage.store.looks <= 40, "ten times a second"
    stage.store.wakes_error = None
    assert await skip_s(stage) < SOON_S


@staged
async def test_what_is_known_of_the_runs_follows_their_states(stage: Stage) -> None:
    """The counters are kept up step by step; here against the states themselves."""
    keys = [await stage.start(f"w{each}") for each in range(3)]
    tasks = [await stage.poll() for _ in keys]
    for number, task in enumerate(tasks):
        many = [schedule_activity(f"a{each}") for each in range(number + 1)]
        await stage.complete(task.task_token, *many)
        await stage.check_work(keys)
    attempts = [await stage.poll_activity() for _ in range(5)]
    await stage.check_work(keys)
    for number, attempt in enumerate(attempts):
        if number % 2:
            await stage.fail_activity(attempt.task_token)
        else:
            await stage.complete_activity(attempt.task_token)
        await stage.check_work(keys)
    await asyncio.sleep(2)
    await stage.check_work(keys)
    for key in keys:
        await stage.signal(key.name)
        await stage.check_work(keys)
    await stage.terminate("w1")
    await stage.check_work(keys)
    for _ in range(2):
        await stage.complete_next(complete_workflow())
        await stage.check_work(keys)
    assert not stage.time.work
