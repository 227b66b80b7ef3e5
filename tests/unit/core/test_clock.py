"""The time of a node: the wall clock without its steps back, at the rate of the monotonic clock."""

from __future__ import annotations

import logging

import pytest

from perdure.core.clock import JITTER_NS, STEP_NS, SteadyClock, steady
from perdure.core.units import HOUR_NS, MS_NS, SECOND_NS

EPOCH_NS = 1_700_000_000 * SECOND_NS


class Base:
    """A machine whose clocks the test moves."""

    def __init__(self) -> None:
        self.wall_ns = EPOCH_NS
        self.real_ns = 0

    def now_ns(self) -> int:
        return self.wall_ns

    def monotonic_ns(self) -> int:
        return self.real_ns

    def pass_by(self, ns: int) -> None:
        self.wall_ns += ns
        self.real_ns += ns


def started() -> tuple[Base, SteadyClock]:
    base = Base()
    clock = SteadyClock(base)
    assert clock.now_ns() == EPOCH_NS
    return base, clock


def test_it_is_the_wall_clock_while_nobody_sets_that():
    base, clock = started()
    for ns in (0, 1, MS_NS, HOUR_NS):
        base.pass_by(ns)
        assert clock.now_ns() == base.wall_ns
        assert clock.monotonic_ns() == base.real_ns


@pytest.mark.parametrize("back_ns", [JITTER_NS + 1, SECOND_NS, HOUR_NS, EPOCH_NS])
def test_after_a_step_back_time_goes_on_from_where_it_was_at_its_rate(back_ns: int):
    base, clock = started()
    base.wall_ns -= back_ns
    assert clock.now_ns() == EPOCH_NS
    for seconds in (1, 2, 30):
        before_ns = clock.now_ns()
        base.pass_by(seconds * SECOND_NS)
        assert clock.now_ns() == before_ns + seconds * SECOND_NS


def test_time_that_went_by_before_the_step_was_seen_is_not_lost():
    base, clock = started()
    base.pass_by(7 * SECOND_NS)
    base.wall_ns -= 5 * SECOND_NS
    assert clock.now_ns() == EPOCH_NS + 7 * SECOND_NS


def test_the_wall_clock_is_followed_again_when_it_has_caught_up():
    base, clock = started()
    base.wall_ns -= HOUR_NS
    base.pass_by(SECOND_NS)
    assert clock.now_ns() == EPOCH_NS + SECOND_NS
    base.wall_ns += HOUR_NS + 5 * SECOND_NS
    assert clock.now_ns() == base.wall_ns
    base.pass_by(SECOND_NS)
    assert clock.now_ns() == base.wall_ns


def test_forward_and_back_leaves_time_where_the_leap_took_it():
    base, clock = started()
    base.wall_ns += HOUR_NS
    assert clock.now_ns() == EPOCH_NS + HOUR_NS
    base.wall_ns -= HOUR_NS
    base.pass_by(SECOND_NS)
    assert clock.now_ns() == EPOCH_NS + HOUR_NS + SECOND_NS


def test_a_machine_that_was_asleep_goes_by_its_wall_clock():
    base, clock = started()
    base.wall_ns += 8 * HOUR_NS  # the monotonic clock stands still meanwhile
    assert clock.now_ns() == EPOCH_NS + 8 * HOUR_NS


def test_a_clock_that_is_slowed_down_is_followed_and_never_goes_back():
    base, clock = started()
    for _ in range(100):
        base.pass_by(SECOND_NS)
        base.wall_ns -= JITTER_NS // 2
        assert clock.now_ns() == base.wall_ns
    seen_ns = clock.now_ns()
    base.wall_ns -= JITTER_NS
    assert clock.now_ns() == seen_ns
    base, clock = started()
    base.pass_by(JITTER_NS // 4)
    base.wall_ns -= JITTER_NS // 2
    assert clock.now_ns() == EPOCH_NS, "a little behind: it waits for the wall clock"


def test_an_interruption_between_the_two_readings_leaves_nothing_behind():
    base, clock = started()
    stale_ns = base.wall_ns
    base.pass_by(SECOND_NS)
    fresh_ns, base.wall_ns = base.wall_ns, stale_ns
    assert clock.now_ns() == EPOCH_NS + SECOND_NS
    base.wall_ns = fresh_ns
    base.pass_by(MS_NS)
    assert clock.now_ns() == base.wall_ns


def test_a_stored_time_is_where_a_later_process_goes_on():
    base, clock = started()
    clock.not_before(EPOCH_NS - 1)
    assert clock.now_ns() == EPOCH_NS
    clock.not_before(EPOCH_NS + HOUR_NS)
    assert clock.now_ns() == EPOCH_NS + HOUR_NS
    base.pass_by(SECOND_NS)
    assert clock.now_ns() == EPOCH_NS + HOUR_NS + SECOND_NS
    base.pass_by(SECOND_NS)
    clock.not_before(EPOCH_NS + HOUR_NS + SECOND_NS)
    assert clock.now_ns() == EPOCH_NS + HOUR_NS + 2 * SECOND_NS


def test_a_leap_forward_is_told_and_only_that():
    base, clock = started()
    leaps: list[int] = []
    clock.on_leap = lambda: leaps.append(clock._last_ns)
    base.pass_by(HOUR_NS)
    clock.now_ns()
    base.wall_ns += STEP_NS
    clock.now_ns()
    base.wall_ns -= HOUR_NS
    clock.now_ns()
    assert leaps == []
    base.wall_ns += 2 * HOUR_NS
    clock.now_ns()
    clock.now_ns()
    assert leaps == [base.wall_ns], "the new time is in force by then"


def test_each_step_back_is_logged_once(caplog: pytest.LogCaptureFixture):
    base, clock = started()
    base.wall_ns -= STEP_NS - 1
    with caplog.at_level(logging.WARNING):
        clock.now_ns()
        assert caplog.messages == []
        base.wall_ns -= HOUR_NS
        clock.now_ns()
        base.pass_by(SECOND_NS)
        clock.now_ns()
        assert len(caplog.messages) == 1
        assert "3601.0 s behind" in caplog.messages[0]
        base.wall_ns += 2 * HOUR_NS
        clock.now_ns()
        base.wall_ns -= HOUR_NS
        clock.now_ns()
    assert len(caplog.messages) == 2


def test_a_step_back_of_a_second_is_logged_and_each_new_one_again(
    caplog: pytest.LogCaptureFixture,
):
    base, clock = started()
    with caplog.at_level(logging.WARNING):
        base.wall_ns -= STEP_NS
        clock.now_ns()
        assert len(caplog.messages) == 1
        base.wall_ns += STEP_NS
        base.pass_by(MS_NS)
        assert clock.now_ns() == base.wall_ns, "it has caught up"
        base.wall_ns -= STEP_NS
        clock.now_ns()
    assert len(caplog.messages) == 2


def test_a_steady_clock_is_not_wrapped_again():
    clock = steady(Base())
    assert isinstance(clock, SteadyClock)
    assert steady(clock) is clock
