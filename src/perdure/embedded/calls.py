"""Calls in progress on an embedded engine, and what ends them early.

Invariants: a call runs in its caller's task; all calls of a connection share one timer of the loop. Not here: what a
call does (`embedded.engine`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

LATE = "late"
CLOSED = "closed"

_GRAIN_S = 0.05
"""How late a call may end after its time limit. The tolerance makes thousands of limits cheap."""
_ROUNDING_S = 0.001
"""Event loops may round to milliseconds, and call that much too early."""


class Call:
    """A call in progress. It runs in its caller's task, because a new task would double its cost.

    To interrupt the call, the caller is cancelled, and the call turns that into its answer, as `asyncio.timeout` does.
    """

    __slots__ = ("_before", "_caller", "_why", "late_at_s")

    def __init__(self, caller: asyncio.Task[object]) -> None:
        self._caller = caller
        self._before = caller.cancelling()
        self._why = ""
        self.late_at_s = 0.0
        """In the time of the loop; see `TimeLimits`."""

    def interrupt(self, why: str) -> None:
        """End the call, unless something else is about to."""
        if not self._why:
            self._why = why
            self._caller.cancel()

    def why_interrupted(self) -> str:
        """Why the caller was cancelled: `why`, or empty if it was (also) cancelled from elsewhere. Call it once."""
        return self._why if self._why and self._caller.uncancel() <= self._before else ""


class TimeLimits:
    """Interrupts calls whose time limit has passed.

    A timer for each call would cost more than many calls do. Nearly all calls end long before their limit, so one timer
    rarely fires; when it does, it checks all calls in progress.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: set[Call] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._at_s = 0.0
        """When the timer fires: no later than the earliest limit plus the tolerance."""

    def add(self, call: Call, timeout_s: float) -> None:
        """Interrupt a call after a number of seconds, unless it is discarded before."""
        call.late_at_s = self._loop.time() + timeout_s
        self._calls.add(call)
        if self._timer is None or call.late_at_s < self._at_s:
            self._arm(call.late_at_s)

    def discard(self, call: Call) -> None:
        self._calls.discard(call)
        if self._is_closed and not self._calls:
            self._disarm()

    def close(self) -> None:
        """Accept no further calls. The timer ends with the last call in progress."""
        self._is_closed = True
        if not self._calls:
            self._disarm()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, at_s: float) -> None:
        self._disarm()
        self._at_s = at_s
        self._timer = self._loop.call_at(at_s, self._look)

    def _look(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        late = [call for call in self._calls if call.late_at_s <= now_s + _ROUNDING_S]
        for call in late:
            self._calls.discard(call)
            call.interrupt(LATE)
        if self._calls:
            earliest_s = min(call.late_at_s for call in self._calls)
            self._arm(max(earliest_s, now_s + _GRAIN_S))
