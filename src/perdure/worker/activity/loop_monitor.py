"""Notices that the worker's event loop does not turn, says what blocks it, and ends it when its time is over.

Role: one daemon thread per event loop with workers asks the loop for a sign of life. When none has come for
`BLOCKED_S`, it logs once where the loop's thread is, with its stack, and which async activity that is. Async activities
run on the event loop, so one that blocks stops polls, heartbeats and timers of the whole worker. When the time-out of
that activity is over as well, its code is interrupted, and again after each further `BLOCKED_S`: a bare `except:` may
swallow the exception, and clean-up may take a moment.

Time in which this thread did not come to look does not count: then the process stood still, not the loop.
Not here: workflow code, which has a watchdog of its own (`host.watchdog`), and time-outs (`activities`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import NamedTuple

from perdure.core.user_code import quiet_logger
from perdure.worker.host.watchdog import place_of, watchdog

logger = quiet_logger("perdure.worker")

BLOCKED_S = 2.0
_PERIOD_S = 0.5
_LATE_S = 0.5

# Bound at import, before the determinism guard replaces it.
_monotonic = time.monotonic


def _is_not_ours(_thread_id: int) -> bool:
    return False


class Suspect(NamedTuple):
    """What is on the loop.

    Attributes:
        name: For the log.
        interrupt: Raises in the loop's thread, given its id, if the time of this code is over; whether it is.
    """

    name: str
    interrupt: Callable[[int], bool] = _is_not_ours


FindSuspect = Callable[[], Suspect | None]
"""Finds the activity that is on the loop now, in the monitor's thread; None when it is none of this worker's."""


class LoopMonitor:
    """Watches one event loop, from `start` to `stop`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, blocked_s: float) -> None:
        self._loop = loop
        self._thread_of_loop = threading.get_ident()
        self._blocked_s = blocked_s
        self._period_s = min(_PERIOD_S, blocked_s / 4)
        self._stopped = threading.Event()
        self._looked_s = _monotonic()
        self._probed_s: float | None = None
        self._interrupted_s: float | None = None
        self._is_reported = False
        self.suspects: list[FindSuspect] = []

    def start(self) -> None:
        threading.Thread(target=self._run, name="perdure-loop-monitor", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._period_s):
            if not self._look():
                return

    def _look(self) -> bool:
        """False when the loop has ended."""
        now_s = _monotonic()
        late_s = now_s - self._looked_s - self._period_s
        self._looked_s = now_s
        probed_s = self._probed_s
        if probed_s is None:
            self._interrupted_s = None
            self._probed_s = now_s
            try:
                self._loop.call_soon_threadsafe(self._on_probe)
            except RuntimeError:
                return False
        elif late_s > _LATE_S:
            self._probed_s = probed_s + late_s
        elif now_s - probed_s > self._blocked_s and not watchdog.watches(self._thread_of_loop):
            self._is_blocked(now_s, now_s - probed_s)
        return True

    def _on_probe(self) -> None:
        """On the loop."""
        if self._is_reported and self._probed_s is not None:
            blocked_s = _monotonic() - self._probed_s
            logger.warning("The worker's event loop goes on after %.1f s", blocked_s)
        self._is_reported = False
        self._probed_s = None

    def _is_blocked(self, now_s: float, blocked_s: float) -> None:
        if not self._is_reported:
            self._is_reported = True
            self._report(blocked_s)
        elif self._interrupted_s is None or now_s - self._interrupted_s > self._blocked_s:
            self._interrupt(now_s)

    def _suspect(self) -> Suspect:
        found = (find() for find in tuple(self.suspects))
        return next((each for each in found if each is not None), Suspect("code"))

    def _interrupt(self, now_s: float) -> None:
        suspect = self._suspect()
        where, _ = place_of(self._thread_of_loop)
        if suspect.interrupt(self._thread_of_loop):
            self._interrupted_s = now_s
            logger.error(
                "Interrupting %s at %s: it blocks the worker's event loop, and its time-out is over. A call in C"
                " delays this until it returns",
                suspect.name,
                where,
            )

    def _report(self, blocked_s: float) -> None:
        where, stack = place_of(self._thread_of_loop)
        logger.error(
            "The worker's event loop has been blocked for %.1f s by %s at %s: no poll, heartbeat or async activity"
            " goes on until it gives way. Its stack:\n%s",
            blocked_s,
            self._suspect().name,
            where,
            stack,
        )


_monitors: dict[asyncio.AbstractEventLoop, LoopMonitor] = {}


@contextmanager
def watching_the_loop(suspect: FindSuspect) -> Generator[None]:
    """Have the running loop watched; workers of one loop share a monitor."""
    loop = asyncio.get_running_loop()
    if getattr(loop, "has_virtual_time", False):
        yield
        return
    monitor = _monitors.get(loop)
    if monitor is None:
        monitor = _monitors[loop] = LoopMonitor(loop, BLOCKED_S)
        monitor.start()
    monitor.suspects.append(suspect)
    try:
        yield
    finally:
        monitor.suspects.remove(suspect)
        if not monitor.suspects:
            monitor.stop()
            del _monitors[loop]
