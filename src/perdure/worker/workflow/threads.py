"""Workflow code in threads: code that blocks costs a slot and a thread, and everything else goes on.

Role: a queue of jobs and the daemon threads that work them off. A job is some activations of one run, or its
teardown. One thread is enough as long as none is blocked, since the interpreter runs one at a time anyway. When a job
has been at work for `_SLOW_NS`, its thread is not counted any more, and another one is started for the jobs that wait.

What the watchdog could not interrupt is given up: its task fails with `DeadlockError`, and its slot stays taken until
the thread comes back. What it brings back then is dropped, and its run is torn down.

Invariants: all bookkeeping happens on the event loop's thread; other threads only append to `_back` and wake the loop.
The jobs of one run are never at work at the same time. Nothing waits for a thread that was given up: not the
worker's end, and not the end of the process, as daemon threads are not waited for.
Not here: when code is interrupted and given up (`host.watchdog`), what becomes of the task (`workflow.tasks`).
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar, cast

from typing_extensions import override

from perdure.core.clock import SystemClock
from perdure.core.units import MS_NS, SECOND_NS
from perdure.core.user_code import passes_through, quiet_logger, sealed
from perdure.worker.host.watchdog import place_of, watchdog
from perdure.worker.workflow.callbacks import Execution, Owner

if TYPE_CHECKING:
    from perdure.worker.host.watchdog import Watch
    from perdure.worker.polling.slots import Slots

logger = quiet_logger("perdure.worker")

T = TypeVar("T")

_SLOW_NS = 100 * MS_NS
_LOOK_S = 0.05
CLOSE_S = 2.0
"""How long the end of a worker waits for the teardown of its runs."""

# Bound at import, before the determinism guard replaces it: workflow code is on the stack when it is called.
_monotonic_ns = time.monotonic_ns


class _Job:
    """Some work of one run."""

    __slots__ = (
        "afterwards", "context", "done", "error", "is_lost", "owner", "result", "started_ns", "thread", "work",
    )  # fmt: skip

    def __init__(
        self, owner: Owner, work: Callable[[], Any], done: asyncio.Future[Any] | None
    ) -> None:
        self.owner = owner
        self.work = work
        self.done = done
        """None for a teardown: nobody waits for it."""
        self.context = contextvars.copy_context()
        self.afterwards: Callable[[], None] | None = None
        self.thread = 0
        self.started_ns: int | None = None
        self.result: Any = None
        self.error: Exception | None = None
        self.is_lost = False


class ThreadExecution(Execution):
    """Runs the workflow code of one worker in threads of its own.

    Args:
        slots: Those of workflow tasks. Code that is given up keeps one.
    """

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._in_hand: dict[_Job, None] = {}
        """Jobs that no thread has brought back, in order of arrival."""
        self._by_owner: dict[Owner, _Job] = {}
        self._lost: dict[_Job, None] = {}
        """Those that were given up."""
        self._back: deque[_Job] = deque()
        self._is_woken = False
        self._threads = 0
        self._look_handle: asyncio.TimerHandle | None = None
        self._is_closing = False
        self._all_back = asyncio.Event()

    @override
    def now_s(self) -> float:
        return _monotonic_ns() / SECOND_NS

    @override
    async def run(self, owner: Owner, work: Callable[[], T]) -> T:
        done: asyncio.Future[Any] = self._loop.create_future()
        self._submit(_Job(owner, work, done))
        return cast("T", await done)

    @override
    def release(self, owner: Owner, tear_down: Callable[[], None]) -> None:
        at_work = self._by_owner.get(owner)
        if at_work is not None:
            at_work.afterwards = tear_down  # its state is in use until then
        else:
            self._submit(_Job(owner, tear_down, None))

    @override
    def blocked(self, run_id: str) -> str | None:
        # A teardown that is blocked does not count: the run can go on without it.
        found = (job for job in self._lost if job.owner.run_id == run_id and job.done is not None)
        job = next(found, None)
        return None if job is None else _describe(job)

    @override
    async def close(self) -> None:
        self._is_closing = True
        self._all_back.clear()
        if any(not job.is_lost for job in self._in_hand):
            try:
                await asyncio.wait_for(self._all_back.wait(), CLOSE_S)
            except TimeoutError:
                for job in self._in_hand:
                    if not job.is_lost:
                        logger.warning("The worker ends without waiting for %s", _describe(job))
        for job in self._lost:
            logger.warning("The worker ends although %s", _describe(job))
        if self._look_handle is not None:
            self._look_handle.cancel()
        for _ in range(self._threads):
            self._queue.put(None)

    # ── on the event loop ─────────────────────────────────────────────────────────────────────────

    def _submit(self, job: _Job) -> None:
        self._in_hand[job] = None
        self._by_owner[job.owner] = job
        self._queue.put(job)
        if not self._threads or self._is_closing:
            self._start_thread()
        elif self._look_handle is None and len(self._in_hand) > 1:
            self._look_handle = self._loop.call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        """Start another thread when jobs wait and all threads are slow."""
        self._look_handle = None
        if self._queue.empty():
            return
        now_ns = _monotonic_ns()
        slow = sum(
            job.started_ns is not None and now_ns - job.started_ns > _SLOW_NS
            for job in self._in_hand
        )
        if slow >= self._threads:
            self._start_thread()
        self._look_handle = self._loop.call_later(_LOOK_S, self._look)

    def _start_thread(self) -> None:
        self._threads += 1
        if self._is_closing:
            self._queue.put(None)  # it ends after the job
        threading.Thread(
            target=self._work, name=f"perdure-workflows-{self._threads}", daemon=True
        ).start()

    def _take_back(self) -> None:
        # First this: what is appended from now on wakes the loop up again.
        self._is_woken = False
        while self._back:
            job = self._back.popleft()
            del self._in_hand[job]
            if self._by_owner.get(job.owner) is job:
                del self._by_owner[job.owner]
            if job.is_lost:
                self._found(job)
            elif (done := job.done) is None:
                if job.error is not None:
                    logger.error("A run was not torn down", exc_info=job.error)
            elif done.done():
                pass  # cancelled
            elif job.error is not None:
                done.set_exception(job.error)
            else:
                done.set_result(job.result)
            if job.afterwards is not None:
                self.release(job.owner, job.afterwards)
        if not any(not job.is_lost for job in self._in_hand):
            self._all_back.set()

    def _give_up(self, job: _Job, watch: Watch) -> None:
        if job not in self._in_hand or job.is_lost:
            return  # It came back just now.
        job.is_lost = True
        self._lost[job] = None
        self._slots.withhold()
        if job.done is not None and not job.done.done():
            job.done.set_exception(watch.error())
        logger.error(
            "%s cannot be interrupted: its thread is given up, and keeps a slot until the code comes back (%d of %d"
            " slots are kept)",
            watch.what(),
            self._slots.withheld,
            self._slots.maximum,
        )
        self._all_back.set()

    def _found(self, job: _Job) -> None:
        """Code that was given up has come back."""
        del self._lost[job]
        self._slots.restore()
        logger.warning(
            "Code of run %s came back after %.1f s; its result is dropped and its slot is free again",
            job.owner.run_id,
            _seconds_at_work(job),
        )

    # ── in the threads ────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        at_work: list[_Job] = []
        thread = threading.get_ident()
        watchdog.owners[thread] = partial(self._is_overdue, at_work)
        try:
            while (job := self._queue.get()) is not None:
                at_work.append(job)
                job.thread = thread
                job.started_ns = _monotonic_ns()
                try:
                    job.result = job.context.run(job.work)
                except BaseException as error:  # noqa: BLE001
                    # Nobody is above this thread to whom an error could pass through; leaving the debugger is noted.
                    passes_through(error)
                    job.error = sealed(error)
                at_work.clear()
                self._bring_back(job)
                del job  # or the run would stay in memory while this thread waits
        finally:
            del watchdog.owners[thread]

    def _is_overdue(self, at_work: list[_Job], watch: Watch) -> None:
        """Called by the watchdog, in its thread."""
        jobs = tuple(at_work)
        # Asked in this order: if the watch has not ended by now, this is its job.
        if jobs and not watch.ended:
            self._wake(partial(self._give_up, jobs[0], watch))

    def _bring_back(self, job: _Job) -> None:
        self._back.append(job)
        if self._is_woken:
            return
        self._is_woken = True
        if not self._wake(self._take_back) and job.afterwards is not None:
            # The loop has ended before this thread came back, so nobody else will do it.
            job.afterwards()

    def _wake(self, callback: Callable[[], None]) -> bool:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            return False
        return True


def _seconds_at_work(job: _Job) -> float:
    return 0.0 if job.started_ns is None else (_monotonic_ns() - job.started_ns) / SECOND_NS


def _describe(job: _Job) -> str:
    seconds = _seconds_at_work(job)
    since = datetime.fromtimestamp(SystemClock().now_ns() / SECOND_NS - seconds, UTC)
    where, _ = place_of(job.thread)
    return (
        f"code of run {job.owner.run_id} has been blocked since {since.isoformat(timespec='seconds')}"
        f" ({seconds:.1f} s) at {where}"
    )
