"""A log of the faults that kept the node from working. It says how late a deadline may be.

Each entry has a span in loop time and a tail: the longest time until the node tries again. Faults of workers and
clients are not logged, because no deadline depends on them.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from perdure.core.units import SECOND_NS
from perdure.testing.simulation.loop import EPOCH_NS

if TYPE_CHECKING:
    from perdure.testing.simulation.loop import SimClock, SimLoop


@dataclass
class Outage:
    """One fault; `until_s` is infinite while it lasts."""

    cause: str
    from_s: float
    tail_s: float
    until_s: float = inf


class Outages:
    """The fault log of one world, in the loop's time."""

    def __init__(self, loop: SimLoop, clock: SimClock) -> None:
        self._loop = loop
        self._clock = clock
        self._log: list[Outage] = []
        self._skews_ns = [0]

    def begin(self, cause: str, tail_s: float) -> Outage:
        """A fault begins."""
        outage = Outage(cause, self._loop.time(), tail_s)
        self._log.append(outage)
        return outage

    def end(self, outage: Outage) -> None:
        """A fault ends; the node works again after the tail at the latest."""
        outage.until_s = self._loop.time() + outage.tail_s

    @contextmanager
    def during(self, cause: str, tail_s: float) -> Generator[None]:
        outage = self.begin(cause, tail_s)
        try:
            yield
        finally:
            self.end(outage)

    def jump(self, by_ns: int, look_s: float) -> None:
        """The wall clock jumps; the node looks at it again within `look_s`."""
        self._clock.skew_ns += by_ns
        self._skews_ns.append(self._clock.skew_ns)
        size_s = abs(by_ns) / SECOND_NS
        now_s = self._loop.time()
        self._log.append(Outage("clock jump", now_s - size_s, 0.0, now_s + size_s + look_s))

    def hindered_s(self, from_s: float, until_s: float) -> float:
        """How many seconds of this span the node could not work."""
        total_s, covered_s = 0.0, from_s
        for outage in sorted(self._log, key=lambda each: each.from_s):
            start_s, end_s = max(outage.from_s, covered_s), min(outage.until_s, until_s)
            if end_s > start_s:
                total_s += end_s - start_s
                covered_s = end_s
        return total_s

    @property
    def jumps_ns(self) -> int:
        """The most that the node's clock may have gone back since something was written."""
        return max(self._skews_ns) - min(self._skews_ns)

    def around(self, from_s: float, until_s: float) -> str:
        """The faults in this span and shortly before, as text for a violation."""
        return ", ".join(
            f"{each.cause} {each.from_s:.1f} to {each.until_s:.1f}"
            for each in self._log
            if each.until_s > from_s - 10.0 and each.from_s < until_s
        )

    def span_of(self, from_ns: int, until_ns: int) -> tuple[float, float]:
        """A span of loop time that contains this span of the node's clock, whenever the clock jumped."""
        first, last = max(self._skews_ns), min(self._skews_ns)
        return (
            (from_ns - EPOCH_NS - first) / SECOND_NS,
            (until_ns - EPOCH_NS - last) / SECOND_NS,
        )
