"""The one home of real time: a wall clock for event times, a monotonic one for waiting.

Everything else takes a `Clock`; the simulator hands in its own. Both readings are integer nanoseconds.
"""

from __future__ import annotations

import time
from typing import Protocol

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

    def now_ns(self) -> int:
        return _time_ns()

    def monotonic_ns(self) -> int:
        return _monotonic_ns()
