"""Stops workflow code that never gives up control.

Role: one daemon thread per process looks at the activation under way on each thread and, when it has used
up its CPU time, raises `WorkflowDeadlock` inside it. CPU time, not wall time: on a busy machine an activation
may wait long for its turn without doing anything wrong. Code that blocks without using CPU (a lock, a socket)
is reported after a multiple of the budget in wall time, and interrupted as soon as it comes back.

The loop looks at the verdict between two steps (`Watch.why`), which stops code that awaits nothing that
waits. Code that does not even do that gets the exception raised inside it one period later, and again until
the block ends: once is not enough, since a bare `except:` or a weak reference's callback may swallow it.

Invariant: the exception never reaches code outside the activation that it is meant for.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING

from perdure.core import capi

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

_BLOCKED_FACTOR = 5
_IDLE_LOOKS = 20

# Bound at import, before the determinism guard replaces them.
_monotonic_ns = time.monotonic_ns


class WorkflowDeadlock(BaseException):
    """The activation used up its time. Not an Exception: user code should not catch it."""


class Watch:
    """One activation under way; `why` says why it must end, once it must."""

    __slots__ = (
        "budget_ns", "clock", "ended", "started_cpu_ns", "started_ns", "thread", "what", "why",
    )  # fmt: skip

    def __init__(self, budget_ns: int, what: Callable[[], str]) -> None:
        self.budget_ns = budget_ns
        self.what = what
        self.thread = threading.get_ident()
        self.started_ns = _monotonic_ns()
        self.clock = _cpu_clock_of(self.thread)
        # By the same clock that `verdict` reads, from another thread.
        self.started_cpu_ns = 0 if self.clock is None else time.clock_gettime_ns(self.clock)
        self.why: str | None = None
        self.ended = False

    def verdict(self) -> str | None:
        """Why the activation must end, or None."""
        elapsed = _monotonic_ns() - self.started_ns
        used = (
            elapsed
            if self.clock is None
            else time.clock_gettime_ns(self.clock) - self.started_cpu_ns
        )
        if used > self.budget_ns:
            return f"it used {used / 1e9:.1f} s of CPU time without awaiting anything"
        if elapsed > self.budget_ns * _BLOCKED_FACTOR:
            return f"it has been blocked for {elapsed / 1e9:.1f} s by something that is not awaited"
        return None


def _cpu_clock_of(thread: int) -> int | None:
    # Not every platform can read another thread's CPU clock; then wall time has to do.
    get = getattr(time, "pthread_getcpuclockid", None)
    return get(thread) if get is not None else None


class Watchdog:
    """Watches activations. Use the module's `watchdog`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: dict[int, Watch] = {}
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._asleep = True
        self._period = 0.5
        self._never = threading.Event()

    def begin(self, budget_ns: int, what: Callable[[], str]) -> Watch | None:
        """Bound the time of what follows, until `end`.

        Args:
            budget_ns: CPU time in nanoseconds; 0 for no bound.
            what: Names the activation in the log.
        """
        if budget_ns <= 0:
            return None
        watch = Watch(budget_ns, what)
        self._watches[watch.thread] = watch
        if self._asleep:
            self._start(budget_ns)
        return watch

    def end(self, watch: Watch) -> None:
        """The watched code has ended, one way or another; after this nothing is raised in it any more."""
        is_over = False
        while True:
            try:
                watch.ended = True
                with self._lock:
                    if self._watches.get(watch.thread) is watch:
                        del self._watches[watch.thread]
                    is_over = True  # and no more is raised
                if watch.why is None:
                    return
                # One may have been raised that has not arrived, and it must not surface anywhere else. It is caught
                # here, together with one of our own; it cannot be taken back: CPython (until 3.12) then looks for it
                # at every call for the rest of the process, and does so endlessly in a traced function (3.11).
                capi.raise_in_thread(watch.thread, WorkflowDeadlock)
                while True:
                    pass
            except WorkflowDeadlock:
                if is_over:
                    return

    def _start(self, budget_ns: int) -> None:
        self._asleep = False
        self._period = min(0.5, budget_ns / 4e9)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="perdure-watchdog", daemon=True)
            self._thread.start()
        self._wake.set()

    def _run(self) -> None:
        idle = 0
        while True:
            self._wake.wait()
            self._never.wait(self._period)
            with self._lock:
                watches = list(self._watches.values())
                for watch in watches:
                    if watch.ended:
                        continue
                    if watch.why is not None:
                        capi.raise_in_thread(watch.thread, WorkflowDeadlock)
                    elif (why := watch.verdict()) is not None:
                        self._trip(watch, why)
            idle = 0 if watches else idle + 1
            if idle > _IDLE_LOOKS:
                idle = 0
                self._asleep = True
                self._wake.clear()

    def _trip(self, watch: Watch, why: str) -> None:
        frame = sys._current_frames().get(watch.thread)  # documented  # noqa: SLF001
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        capi.loaded()  # in this thread, before anything is interrupted
        watch.why = why
        _log.error("%s is stopped: %s. Its stack:\n%s", watch.what(), why, stack)


watchdog = Watchdog()
"""The process's one watchdog."""
