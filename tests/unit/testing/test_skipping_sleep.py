"""The clock, the locks, and those who sleep in test time. On virtual time: every figure is exact."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.core.units import SECOND_NS
from perdure.server.time_skipping.skipping import SETTLE_NS, SkippingClock
from perdure.testing.simulation.loop import SimClock, SimLoop
from perdure.wire.errors import InvalidArgument
from tests.harness.builders import schedule_activity
from tests.unit.testing.stage import Stage, staged, timer

HOUR_S = 3_600.0
DAY_S = 86_400.0


def test_the_clock_adds_what_was_skipped_and_never_goes_back() -> None:
    loop = SimLoop()
    base = SimClock(loop)
    clock = SkippingClock(base)
    began_ns = base.now_ns()
    assert clock.now_ns() == began_ns
    clock.skip_to(began_ns + 100)
    clock.skip_to(began_ns + 40)
    assert (clock.now_ns() - began_ns, clock.skipped_ns) == (100, 100)
    loop.advance(1.0)
    assert clock.now_ns() - began_ns == SECOND_NS + 100
    clock.skip_to(began_ns + 2 * SECOND_NS)
    assert clock.now_ns() - began_ns == 2 * SECOND_NS
    assert clock.skipped_ns == SECOND_NS
    assert clock.monotonic_ns() == base.monotonic_ns() == SECOND_NS, "patience is real"
    loop.close()


# Locks.


@staged
async def test_time_is_locked_at_first_and_flows_as_on_the_wall(stage: Stage) -> None:
    await stage.started_run("w", timer(DAY_S))
    await asyncio.sleep(60)
    assert stage.now_s == stage.real_s == await stage.asked_s()
    assert (stage.time.skips, stage.time.locks, stage.time.is_open) == (0, 1, False)


@staged
async def test_every_lock_needs_an_unlock(stage: Stage) -> None:
    await stage.started_run("w", timer(DAY_S))
    await stage.lock()
    await stage.lock()
    for _ in range(2):
        await stage.unlock()
        await asyncio.sleep(3)
        assert (stage.time.skips, stage.time.is_open) == (0, False)
    await stage.unlock()
    await asyncio.sleep(3)
    assert stage.time.skips == 1
    assert DAY_S < stage.now_s < DAY_S + 60


@staged
async def test_every_unlock_beyond_the_locks_needs_a_lock(stage: Stage) -> None:
    for _ in range(3):
        await stage.unlock()
    assert stage.time.locks == -2
    for _ in range(2):
        await stage.lock()
        assert stage.time.is_open
    await stage.lock()
    assert not stage.time.is_open


@staged
async def test_time_flows_on_from_where_it_was_skipped_to(stage: Stage) -> None:
    await stage.sleep(DAY_S, unlock=True)
    skipped_s = stage.now_s - stage.real_s
    await asyncio.sleep(7)
    assert stage.now_s - stage.real_s == pytest.approx(skipped_s)
    assert stage.now_s == await stage.asked_s()
    key = await stage.start()
    began_ns = (await stage.history(key))[0].event_time.ToNanoseconds()
    assert (began_ns - stage.at_ns(0)) / SECOND_NS == pytest.approx(stage.now_s)


# Sleepers.


@staged
async def test_a_sleep_in_locked_time_takes_real_time(stage: Stage) -> None:
    woken: list[tuple[int, float]] = []

    async def sleep(seconds: int) -> None:
        await stage.sleep(seconds)
        woken.append((seconds, round(stage.real_s, 3)))

    await asyncio.gather(*(sleep(each) for each in (5, 3, 4)))
    assert woken == [(3, 3.0), (4, 4.0), (5, 5.0)]
    assert stage.time.skips == 0


@staged
async def test_a_sleep_ends_in_time_although_work_holds_skipping_up(stage: Stage) -> None:
    await stage.start()
    await stage.poll()
    await stage.unlock()
    began_s = stage.real_s
    await stage.sleep(0.03)
    assert stage.real_s - began_s == pytest.approx(0.03, abs=0.001)


@staged
async def test_sleeps_until_the_past_and_the_present_return_at_once(stage: Stage) -> None:
    await asyncio.sleep(10)
    for at_s in (-DAY_S, 0, 10):
        await stage.sleep_until(at_s)
    await stage.sleep(0)
    await stage.sleep(0, unlock=True)
    assert (stage.real_s, stage.now_s) == (10, 10)
    assert (stage.time.skips, stage.time.locks, stage.time.lent) == (0, 1, 0)


@staged
async def test_sleep_until_a_moment_to_come_is_exact(stage: Stage) -> None:
    await stage.unlock()
    await stage.sleep_until(DAY_S)
    assert DAY_S <= stage.now_s < DAY_S + 0.001
    await stage.sleep_until(DAY_S + HOUR_S)
    assert DAY_S + HOUR_S <= stage.now_s < DAY_S + HOUR_S + 0.001


@staged
async def test_a_negative_sleep_is_refused_and_changes_nothing(stage: Stage) -> None:
    for is_unlocked in (False, True):
        with pytest.raises(InvalidArgument, match="negative"):
            await stage.sleep(-1, unlock=is_unlocked)
    assert (stage.time.locks, stage.time.lent, stage.time.skips) == (1, 0, 0)


@staged
async def test_sleepers_of_one_moment_wake_in_the_order_in_which_they_came(stage: Stage) -> None:
    woken: list[int] = []

    async def sleep(number: int) -> None:
        await stage.sleep_until(DAY_S)
        woken.append(number)

    sleeping = [asyncio.ensure_future(sleep(number)) for number in range(12)]
    await asyncio.sleep(0.1)
    await stage.unlock()
    await asyncio.gather(*sleeping)
    assert woken == list(range(12))
    assert stage.time.skips == 1


@staged
async def test_a_sleep_that_unlocks_locks_again_before_anything_is_skipped(stage: Stage) -> None:
    await stage.started_run("w", timer(DAY_S))
    for hour in range(1, 5):
        await stage.sleep(HOUR_S, unlock=True)
        assert hour * HOUR_S <= stage.now_s < hour * HOUR_S + 1
        assert (stage.time.locks, stage.time.lent, stage.time.is_open) == (1, 0, False)
    await asyncio.sleep(30)
    assert stage.time.skips == 4


@staged
async def test_a_sleep_gives_one_lock_away_and_no_more(stage: Stage) -> None:
    await stage.lock()
    sleeping = asyncio.ensure_future(stage.sleep(DAY_S, unlock=True))
    await asyncio.sleep(5)
    assert not sleeping.done()
    assert (stage.time.locks, stage.time.lent, stage.time.skips) == (2, 1, 0)
    await stage.unlock()
    await sleeping
    assert (stage.time.locks, stage.time.lent) == (1, 0)
    assert not stage.time.is_open


@staged
async def test_two_locks_are_given_away_by_two_sleeps_and_come_back_one_by_one(
    stage: Stage,
) -> None:
    await stage.lock()
    short = asyncio.ensure_future(stage.sleep(HOUR_S, unlock=True))
    long = asyncio.ensure_future(stage.sleep(DAY_S, unlock=True))
    await short
    assert HOUR_S <= stage.now_s < HOUR_S + 1
    assert (stage.time.locks, stage.time.lent, stage.time.is_open) == (2, 1, False)
    await asyncio.sleep(30)
    assert not long.done()
    await stage.sleep(2 * HOUR_S, unlock=True)
    assert stage.now_s < 4 * HOUR_S
    assert not long.done()
    await stage.unlock()
    await long
    assert (stage.time.locks, stage.time.lent) == (1, 0)


@staged
async def test_a_sleeper_has_a_moment_after_it_wakes(stage: Stage) -> None:
    await stage.started_run("w", timer(DAY_S))
    await stage.unlock()
    await stage.sleep(HOUR_S)
    await asyncio.sleep(SETTLE_NS / SECOND_NS * 0.8)
    await stage.lock()
    await asyncio.sleep(5)
    assert stage.now_s < HOUR_S + 6


@staged
async def test_who_gives_up_a_sleep_leaves_no_lock_and_no_reason_behind(stage: Stage) -> None:
    given_up = [asyncio.ensure_future(stage.sleep(each, unlock=True)) for each in (60, HOUR_S)]
    await asyncio.sleep(0)
    assert stage.time.lent == 1, "the second found time unlocked"
    for each in given_up:
        each.cancel()
    await asyncio.gather(*given_up, return_exceptions=True)
    assert (stage.time.locks, stage.time.lent) == (1, 0)
    await stage.unlock()
    await asyncio.sleep(5)
    assert (stage.time.skips, stage.now_s < 10) == (0, True)
    await stage.sleep(DAY_S)
    assert stage.time.skips == 1, "straight to where somebody still sleeps"


@staged
async def test_who_gives_up_beside_another_of_the_same_moment_does_no_harm(stage: Stage) -> None:
    sleeping = [asyncio.ensure_future(stage.sleep_until(DAY_S)) for _ in range(3)]
    await asyncio.sleep(0.1)
    sleeping[1].cancel()
    await stage.unlock()
    await asyncio.gather(sleeping[0], sleeping[2])
    await stage.sleep_until(2 * DAY_S)
    assert stage.time.skips == 2


@staged
async def test_an_activity_that_sleeps_gives_its_own_lock_away(stage: Stage) -> None:
    """So it can run into its own time-outs, as on the reference test server."""
    once = schedule_activity(schedule_to_close_timeout=None)
    once.schedule_activity_task_command_attributes.retry_policy.maximum_attempts = 1
    key = await stage.started_run("w", once)
    await stage.poll_activity()
    await stage.unlock()
    assert not stage.time.is_open
    sleeping = asyncio.ensure_future(stage.sleep(60, unlock=True))
    await asyncio.sleep(1)
    assert 10 <= stage.now_s < 12, "its start-to-close time-out comes first"
    assert (await stage.event_types(key))[-2] == "ACTIVITY_TASK_TIMED_OUT"
    await stage.complete_next()
    await sleeping
    assert 60 <= stage.now_s < 62
    assert (stage.time.locks, stage.time.lent) == (0, 0)


@staged
async def test_the_end_wakes_all_who_sleep_and_skips_no_more(stage: Stage) -> None:
    await stage.started_run("w", timer(DAY_S))
    sleeping: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(stage.sleep(each, unlock=each > 60)) for each in (60, HOUR_S, DAY_S)
    ]
    await asyncio.sleep(0)
    sleeping[1].cancel()
    await stage.lock()
    await stage.opened.stop_polls()
    ends = await asyncio.gather(*sleeping, return_exceptions=True)
    assert [type(end) for end in ends] == [type(None), asyncio.CancelledError, type(None)]
    assert stage.real_s < 1
    stage.time.unlock()
    stage.time.unlock()
    await asyncio.sleep(5)
    assert stage.time.skips == 0


@staged
async def test_a_sleep_may_take_minutes_of_real_time(stage: Stage) -> None:
    """Callers in this process give no time-out; the method's own must not cut a sleep of locked time short."""
    await stage.sleep(9 * 60)
    assert stage.real_s == pytest.approx(9 * 60)
