"""Detects workflow code that does not yield, reports where it is, and stops it.

Role: one daemon thread per process checks the current activation of each thread. An activation that has not returned
after its budget in wall time is reported, with its stack. It must end when it has used its budget of CPU time, when its
thread has been idle for `_STILL_FACTOR` budgets (a lock, a socket), or after `_BLOCKED_FACTOR` budgets in any case: on
a busy machine a correct activation may wait long for the CPU. Wall time in which this thread did not run does not
count, because the process was stopped (a suspended machine, SIGSTOP) or a call in C blocked all threads.

The loop checks the verdict between two steps (`Watch.why`), which stops code whose awaits never suspend it for long.
In code without awaits, `WorkflowDeadlock` is raised one period later, and again until the block ends: once is not
enough, because a bare `except:` or the callback of a weak reference may swallow it. A call in C delays the exception
until it returns. If it does not return within half a budget, the owner of the thread is notified (`Watchdog.owners`)
and may continue without the thread.

Invariant: the exception never reaches code outside its activation.
Not here: what happens to a thread that does not return (`workflow.threads`).
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

from perdure.core import capi
from perdure.core.units import MS_NS
from perdure.core.user_code import quiet_logger
from perdure.worker.host import callsite

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_log = quiet_logger(__name__)

_BLOCKED_FACTOR = 5
_STILL_FACTOR = 2
_STILL_NS = MS_NS
"""A thread that uses less CPU time than this between two checks counts as idle, even if it wakes up at times."""
_IDLE_LOOKS = 20
_LATE_NS = 500 * MS_NS

# Bound at import, before the determinism guard replaces them.
_monotonic_ns = time.monotonic_ns
_get_ident = threading.get_ident
_clock_gettime_ns: Any = getattr(time, "clock_gettime_ns", None)


class WorkflowDeadlock(BaseException):
    """The activation used up its time. Not an Exception, so that user code does not catch it."""


class DeadlockError(RuntimeError):
    """Workflow code kept its thread for too long; fails the workflow task."""


class Watch:
    """One activation in progress.

    Attributes:
        why: Why it must end, once it must.
        where: Where its code was then.
        tripped_ns: When that was, by the monotonic clock.
    """

    __slots__ = (
        "_still_cpu_ns", "_still_since_ns", "budget_ns", "clock", "ended", "is_lost", "is_reported", "started_cpu_ns",
        "started_ns", "thread", "tripped_ns", "what", "where", "why",
    )  # fmt: skip

    def __init__(self, budget_ns: int, what: Callable[[], str]) -> None:
        self.budget_ns = budget_ns
        self.what = what
        self.thread = _get_ident()
        self.started_ns = _monotonic_ns()
        self.clock = _cpu_clock_of(self.thread)
        # The clock that `verdict` reads from another thread.
        self.started_cpu_ns = 0 if self.clock is None else _clock_gettime_ns(self.clock)
        self._still_since_ns, self._still_cpu_ns = self.started_ns, 0
        self.why: str | None = None
        self.where = ""
        self.tripped_ns = 0
        self.is_reported = self.is_lost = self.ended = False

    def verdict(self) -> str | None:
        """Why the activation must end, or None. Call it at regular intervals."""
        now_ns = _monotonic_ns()
        elapsed = now_ns - self.started_ns
        used = (
            elapsed if self.clock is None else _clock_gettime_ns(self.clock) - self.started_cpu_ns
        )
        if used > self.budget_ns:
            return f"it used {used / 1e9:.1f} s of CPU time without awaiting anything"
        if used - self._still_cpu_ns >= _STILL_NS:
            self._still_since_ns = now_ns
        self._still_cpu_ns = used
        still_ns = now_ns - self._still_since_ns
        if elapsed > self.budget_ns * _BLOCKED_FACTOR or still_ns > self.budget_ns * _STILL_FACTOR:
            return f"it has been blocked for {elapsed / 1e9:.1f} s by something that is not awaited"
        return None

    def skip(self, from_ns: int, to_ns: int) -> None:
        """Exclude the wall time between these moments."""
        self.started_ns += _shared_ns(self.started_ns, from_ns, to_ns)
        self._still_since_ns += _shared_ns(self._still_since_ns, from_ns, to_ns)
        self.tripped_ns += _shared_ns(self.tripped_ns, from_ns, to_ns)

    @property
    def is_late(self) -> bool:
        """Whether it has taken longer than its budget, by the wall clock."""
        return _monotonic_ns() - self.started_ns > self.budget_ns

    @property
    def is_overdue(self) -> bool:
        """Whether it has not returned although the exception was raised in it."""
        return self.why is not None and _monotonic_ns() - self.tripped_ns > self.budget_ns / 2

    def error(self) -> DeadlockError:
        """The error that fails the workflow task."""
        return DeadlockError(
            f"[TMPRL1101] Potential deadlock: {self.what()} was stopped: {self.why}, at {self.where}"
        )


def _shared_ns(since_ns: int, from_ns: int, to_ns: int) -> int:
    """How much of the time after `since_ns` is between the two moments."""
    return max(0, to_ns - max(since_ns, from_ns))


def _cpu_clock_of(thread: int) -> int | None:
    # Some platforms cannot read the CPU clock of another thread. Wall time is used there.
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
        self._due_ns = 0
        """When the next check is due."""
        self._shortest_ns = 0
        """The budget that determines the period."""
        self._never = threading.Event()
        self.owners: dict[int, Callable[[Watch], None]] = {}
        """By thread: a callback, run in the watchdog's thread, for an activation that did not return in time."""

    def begin(self, budget_ns: int, what: Callable[[], str]) -> Watch | None:
        """Limit the time of the code that follows, until `end`.

        Args:
            budget_ns: CPU time in nanoseconds; 0 for no limit.
            what: Names the activation in the log.
        """
        if budget_ns <= 0:
            return None
        watch = Watch(budget_ns, what)
        self._watches[watch.thread] = watch
        if self._asleep or budget_ns < self._shortest_ns:
            self._start(budget_ns)
        return watch

    def end(self, watch: Watch) -> None:
        """Stop watching the activation. After this, no exception is raised in its thread."""
        is_over = False
        while True:
            try:
                watch.ended = True
                with self._lock:
                    if self._watches.get(watch.thread) is watch:
                        del self._watches[watch.thread]
                    is_over = True  # and no further exception is raised
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

    def watches(self, thread: int) -> bool:
        """Whether a thread runs an activation, which the watchdog reports itself."""
        return thread in self._watches

    def _start(self, budget_ns: int) -> None:
        self._asleep = False
        self._shortest_ns = budget_ns
        self._period = min(0.5, budget_ns / 4e9)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="perdure-watchdog", daemon=True)
            self._thread.start()
        self._wake.set()

    def _run(self) -> None:
        idle = 0
        while True:
            self._wake.wait()
            period_s = self._period
            self._due_ns = _monotonic_ns() + int(period_s * 1e9)
            self._never.wait(period_s)
            watches = self._look()
            idle = 0 if watches else idle + 1
            if idle > _IDLE_LOOKS:
                idle = 0
                self._asleep = True
                self._wake.clear()

    def _look(self) -> int:
        """Check all activations in progress. Returns their number."""
        said: list[Callable[[], None]] = []
        now_ns = _monotonic_ns()
        with self._lock:
            watches = list(self._watches.values())
            for watch in watches:
                if watch.ended:
                    continue
                if now_ns - self._due_ns > _LATE_NS:
                    watch.skip(self._due_ns, now_ns)
                if watch.why is not None:
                    capi.raise_in_thread(watch.thread, WorkflowDeadlock)
                    if watch.is_overdue and not watch.is_lost:
                        watch.is_lost = True
                        said.append(partial(self._tell_owner, watch))
                elif (why := watch.verdict()) is not None:
                    said.append(self._trip(watch, why))
                elif watch.is_late and not watch.is_reported:
                    watch.is_reported = True
                    where, stack = place_of(watch.thread)
                    said.append(partial(_report, watch, where, stack))
        # Outside the lock: a log handler may wait for a thread that waits for the lock.
        for each in said:
            each()
        return len(watches)

    def _trip(self, watch: Watch, why: str) -> Callable[[], None]:
        watch.where, stack = place_of(watch.thread)
        capi.loaded()  # called in this thread, before anything is interrupted
        watch.tripped_ns = _monotonic_ns()
        watch.why = why
        return lambda: _log.error("%s is stopped: %s. Its stack:\n%s", watch.what(), why, stack)

    def _tell_owner(self, watch: Watch) -> None:
        owner = self.owners.get(watch.thread)
        if owner is not None:
            owner(watch)


def _report(watch: Watch, where: str, stack: str) -> None:
    _log.warning(
        "%s has not yielded for %.1f s: it is at %s. Its stack:\n%s",
        watch.what(),
        (_monotonic_ns() - watch.started_ns) / 1e9,
        where,
        stack,
    )


def place_of(thread: int) -> tuple[str, str]:
    """Where a thread is: the innermost line outside of this library and the standard library, and the whole stack."""
    innermost = sys._current_frames().get(thread)  # documented  # noqa: SLF001
    if innermost is None:
        return "an unknown place", ""
    stack = "".join(traceback.format_stack(innermost))
    frame: FrameType | None = innermost
    while frame is not None and callsite.is_internal_file(frame.f_code.co_filename):
        frame = frame.f_back
    frame = frame or innermost
    place = callsite.locate(frame.f_code, frame.f_lasti)
    return (f"{place}: `{place.text}`" if place.text else f"{place}"), stack


watchdog = Watchdog()
"""The process's one watchdog."""
