"""The one home of real time: a wall clock for event times, a monotonic one for waiting.

Everything else takes a `Clock`; the simulator hands in its own. Both readings are integer nanoseconds. `SteadyClock` is
what a node goes by: the wall clock without its steps back.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Protocol

from perdure.core.units import MS_NS, SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

# Bound at import, before the determinism guard of a worker in this process wraps them: outside of workflows it asks
# for the running loop each time, and the engine reads its clock ten times per workflow.
_time_ns = time.time_ns
_monotonic_ns = time.monotonic_ns


class Clock(Protocol):
    """Where the present comes from."""

    def now_ns(self) -> int:
        """Nanoseconds since the epoch. It may jump; callers that need order take the maximum with earlier readings."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds since some moment; never goes back."""
        ...


class SystemClock:
    """The machine's clocks."""

    # The functions themselves: a method around them would cost more than they do.
    now_ns = staticmethod(_time_ns)
    monotonic_ns = staticmethod(_monotonic_ns)


JITTER_NS = 100 * MS_NS
"""How far the wall clock may be behind without having been set back: its two readings are not of one moment, and the
clock may be slowed down while it is adjusted."""
STEP_NS = SECOND_NS
"""A step back of this size is worth a line in the log, and one forward a look at what is due."""


class SteadyClock:
    """The wall clock, but never back.

    When the wall clock is set back, time continues from where it was, at the rate of the monotonic clock, until
    the wall clock has caught up. When it is set forward (or the machine was asleep), time follows at once. So a timer
    takes as long as it should, and one that became due meanwhile fires.

    Args:
        base: The clocks to read.

    Example:
        clock = SteadyClock(SystemClock())
        clock.not_before(latest_stored_ns)
    """

    def __init__(self, base: Clock) -> None:
        # Bound once: a node reads its clock about eighteen times per workflow.
        self._wall_ns = base.now_ns
        self.monotonic_ns = base.monotonic_ns
        """See `Clock.monotonic_ns`."""
        self._last_ns = 0
        self._read_ns = base.monotonic_ns()
        self._is_behind = False
        self.on_leap: Callable[[], object] | None = None
        """Called when time was found to have gone forward by more than real time: those who wait have to look again."""

    def now_ns(self) -> int:
        """Nanoseconds since the epoch; never less than what was read before."""
        # In this order: if the process is interrupted between the two, the wall's reading is too old, not too new.
        wall_ns = self._wall_ns()
        read_ns = self.monotonic_ns()
        last_ns = self._last_ns
        ahead_ns = wall_ns - last_ns - read_ns + self._read_ns
        self._read_ns = read_ns
        if -JITTER_NS <= ahead_ns <= STEP_NS and wall_ns > last_ns:  # nearly always
            self._is_behind = False
            self._last_ns = wall_ns
            return wall_ns
        return self._stepped_ns(wall_ns, wall_ns - ahead_ns)

    def _stepped_ns(self, wall_ns: int, steady_ns: int) -> int:
        """Go on after readings that differ, given the wall clock's time and the one that was expected."""
        if wall_ns >= steady_ns - JITTER_NS:
            self._is_behind = False
            if wall_ns > self._last_ns:
                self._last_ns = wall_ns
                if self.on_leap is not None:  # a difference up to a step never gets here
                    self.on_leap()
        else:
            self._last_ns = steady_ns
            if not self._is_behind and steady_ns - wall_ns >= STEP_NS:
                self._is_behind = True
                log.warning(
                    "the wall clock is %.1f s behind the latest time that was seen; time goes on from there",
                    (steady_ns - wall_ns) / SECOND_NS,
                )
        return self._last_ns

    def not_before(self, at_ns: int) -> None:
        """Go on from `at_ns` if that is later than now: a time that was stored by an earlier process."""
        now_ns = self.now_ns()
        self._last_ns = max(now_ns, at_ns)


def steady(clock: Clock) -> SteadyClock:
    """`clock` itself if it is steady already."""
    return clock if isinstance(clock, SteadyClock) else SteadyClock(clock)
