"""Steps of an async activity on the event loop, so that one which does not end can be interrupted.

Role: `Steps` runs a coroutine inside the task that awaits it, and knows when its code is on the event loop. Only then
`interrupt`, called in another thread, raises `InterruptedStep` in it. A call in C delays that until it returns.

Invariant: the exception never reaches code outside the step that it is meant for: not the event loop, and not another
task. Tasks that the coroutine starts have steps of their own, which are not known here.
Not here: which step has to end, and when (`loop_monitor`, `attempt`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Generator
from types import CoroutineType
from typing import Any, TypeVar

from typing_extensions import override

from perdure.core import capi
from perdure.core.user_code import current_task_or_none, interruptible_tasks

T = TypeVar("T")


class InterruptedStep(asyncio.CancelledError):
    """An async activity kept the event loop beyond its time-out. For its code this is a cancellation."""


class _EndedStep(InterruptedStep):
    """Ends the wait for an `InterruptedStep` that the code may have received already."""


_ARRIVES_WITHIN = 1_000
"""Iterations of a loop. CPython raises what another thread has requested at one of the next backward jumps."""


class Steps(Awaitable[T]):
    """Awaits a coroutine, which another thread may interrupt.

    Args:
        coroutine: What to run. It has ended when this has.
    """

    def __init__(self, coroutine: CoroutineType[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._lock = threading.Lock()
        self._is_on = False
        self._was_interrupted = False
        self._is_untold = False
        """The step was interrupted after the code had yielded, so the code has not seen the exception."""

    def interrupt(self, thread_id: int, before: Callable[[], None]) -> bool:
        """Raise in the step under way, if there is one; whether there is.

        Args:
            thread_id: The event loop's thread.
            before: Called first, while the step cannot end.
        """
        capi.loaded()  # before the lock, for which the event loop may wait
        with self._lock:
            if not self._is_on:
                return False
            before()
            self._was_interrupted = True
            capi.raise_in_thread(thread_id, InterruptedStep)
            return True

    @override
    def __await__(self) -> Generator[Any, Any, T]:
        resume: Callable[[Any], Any] = self._coroutine.send
        given: Any = None
        task = current_task_or_none()
        if task is not None:
            interruptible_tasks.add(task)
        try:
            while True:
                try:
                    awaited = self._step(resume, given)
                except StopIteration as end:
                    return end.value
                except InterruptedStep as interruption:
                    if self._coroutine.cr_frame is None:
                        raise
                    # It arrived just before or after the coroutine's own code, which has to learn of it.
                    resume, given = self._coroutine.throw, interruption
                    continue
                try:
                    given = yield awaited
                    resume = self._coroutine.send
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001 - a cancellation of the task
                    resume, given = self._coroutine.throw, error
        finally:
            self._coroutine.close()
            if task is not None:
                interruptible_tasks.discard(task)

    def _step(self, resume: Callable[[Any], Any], given: Any) -> Any:
        try:
            self._was_interrupted = self._is_untold = False
            self._is_on = True
            try:
                awaited = resume(given)
            finally:
                self._end_step()
        except InterruptedStep:
            self._end_step()  # again: it may have arrived when that was about to begin
            raise
        if self._is_untold:
            # The activity's time-out has passed, so it must not go on waiting. A result this late is dropped anyway.
            raise InterruptedStep
        return awaited

    def _end_step(self) -> None:
        """From here on nothing is raised any more."""
        while True:
            try:
                with self._lock:
                    self._is_on = False
                if not self._was_interrupted:
                    return
                for _ in range(_ARRIVES_WITHIN):
                    pass
                # The interruption should have been raised by now. To be certain, an exception of our own replaces one
                # that may still be pending, because CPython cannot withdraw it (see `Watchdog.end`).
                capi.raise_in_thread(threading.get_ident(), _EndedStep)
                while True:
                    pass
            except _EndedStep:
                return
            except InterruptedStep:
                self._is_untold = True
