"""Calls on an embedded engine end at their limits, by one timer, in a loop whose clock the test turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from perdure.embedded_calls import LATE, Call, TimeLimits


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
