"""Calls on an embedded engine end at their limits, by one timer, in a loop whose clock the test turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from perdure.embedded.calls import LATE, Call, TimeLimits


class Timer:
    def __init__(self, at_s: float, callback: Callable[[], None]) -> None:
        self.at_s = at_s
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Loop:
    """Time and timers of a loop."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now_s

    def call_at(self, at_s: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(at_s, callback)
        self.timers.append(timer)
        return timer

    @property
    def armed(self) -> list[float]:
        return [timer.at_s for timer in self.timers if not timer.is_cancelled]

    def turn_to(self, at_s: float) -> None:
        while due := [t for t in self.timers if not t.is_cancelled and t.at_s <= at_s]:
            self.now_s = max(self.now_s, due[0].at_s)
            self.timers.remove(due[0])
            due[0].callback()
        self.now_s = at_s


class Caller:
    """A task, as far as a call knows it."""

    def __init__(self) -> None:
        self.cancels = 0

    def cancelling(self) -> int:
        return self.cancels

    def cancel(self) -> None:
        self.cancels += 1

    def uncancel(self) -> int:
        self.cancels -= 1
        return self.cancels


def new_limits() -> tuple[TimeLimits, Loop]:
    loop = Loop()
    return TimeLimits(cast("Any", loop)), loop


def limited(limits: TimeLimits, timeout_s: float) -> tuple[Call, Caller]:
    caller = Caller()
    call = Call(cast("asyncio.Task[object]", caller))
    limits.add(call, timeout_s)
    return call, caller


def test_each_call_ends_at_its_limit_with_one_timer():
    limits, loop = new_limits()
    long, long_caller = limited(limits, 10)
    short, short_caller = limited(limits, 1)
    _, longest_caller = limited(limits, 30)
    assert loop.armed == [101]
    loop.turn_to(101)
    assert (short_caller.cancels, long_caller.cancels) == (1, 0)
    assert short.why_interrupted() is LATE
    assert loop.armed == [110]
    loop.turn_to(110)
    assert long.why_interrupted() is LATE
    assert longest_caller.cancels == 0
    loop.turn_to(130)
    assert longest_caller.cancels == 1
    assert loop.armed == []


def test_a_call_that_ended_is_not_interrupted():
    limits, loop = new_limits()
    call, caller = limited(limits, 1)
    limits.discard(call)
    loop.turn_to(200)
    assert caller.cancels == 0
    assert loop.armed == []
    _, later = limited(limits, 1)
    loop.turn_to(201)
    assert later.cancels == 1


def test_limits_close_together_end_in_one_look():
    limits, loop = new_limits()
    callers = [limited(limits, 1 + n / 1_000)[1] for n in range(40)]
    loop.turn_to(101)
    assert sum(caller.cancels for caller in callers) < 40
    assert len(loop.armed) == 1
    loop.turn_to(101.06)
    assert [caller.cancels for caller in callers] == [1] * 40


def test_a_closed_connection_leaves_no_timer_once_its_last_call_has_ended():
    limits, loop = new_limits()
    call, _ = limited(limits, 1)
    limits.close()
    assert loop.armed == [101]
    limits.discard(call)
    assert loop.armed == []


def test_a_limit_that_is_earlier_than_all_others_arms_the_timer_anew_and_a_later_one_does_not():
    limits, loop = new_limits()
    limited(limits, 5)
    limited(limits, 9)
    assert loop.armed == [105]
    limited(limits, 5)
    assert len(loop.timers) == 1, "one at the same moment needs no other timer"
    limited(limits, 2)
    assert loop.armed == [102]


def test_a_loop_that_is_a_little_early_is_forgiven_and_no_more():
    limits, loop = new_limits()
    _, early = limited(limits, 1)
    _, later = limited(limits, 1.0021)
    loop.now_s = 100.9995
    loop.timers[0].callback()
    assert (early.cancels, later.cancels) == (1, 0)
    assert loop.armed[-1] == 100.9995 + 0.05, "the others are looked at a little later together"


def test_a_call_is_interrupted_once_and_says_why():
    caller = Caller()
    call = Call(cast("asyncio.Task[object]", caller))
    assert call.why_interrupted() == "", "somebody else cancelled him"
    call.interrupt("late")
    call.interrupt("closed")
    assert caller.cancels == 1
    assert call.why_interrupted() == "late"
    assert caller.cancels == 0


def test_who_was_cancelled_besides_stays_cancelled():
    caller = Caller()
    call = Call(cast("asyncio.Task[object]", caller))
    call.interrupt("late")
    caller.cancel()
    assert call.why_interrupted() == ""
    assert caller.cancels == 1
    before = Caller()
    before.cancel()
    call = Call(cast("asyncio.Task[object]", before))
    call.interrupt("late")
    assert call.why_interrupted() == "late", "what came before the call is not its concern"


def test_closing_without_calls_ends_the_timer_at_once_and_later_calls_keep_it():
    limits, loop = new_limits()
    call, _ = limited(limits, 1)
    limits.discard(call)
    assert loop.armed == [101]
    limits.close()
    assert loop.armed == []
    limits, loop = new_limits()
    first, _ = limited(limits, 1)
    second, caller = limited(limits, 2)
    limits.close()
    limits.discard(first)
    assert loop.armed == [101], "another call still runs"
    loop.turn_to(200)
    assert caller.cancels == 1
    limits.discard(second)
    assert loop.armed == []


def test_a_call_is_late_from_the_last_moment_that_rounding_allows():
    limits, loop = new_limits()
    loop.now_s = 0.0
    _, caller = limited(limits, 0.001)
    loop.timers[0].callback()
    assert caller.cancels == 1
