"""One attempt of an activity in this worker: its context, its cancellation, and what ended it.

Invariant: after `finish` no cancellation reaches the user's code, and the outcome is decided once. Not here:
decoding and answering (`activities`), the throttling of heartbeats (`heartbeats`).
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

from perdure.activity import ActivityCancellationDetails, Info
from perdure.activity.cancellation import CancellationDetailsHolder
from perdure.activity.context import Context
from perdure.common.events import CompositeEvent
from perdure.exceptions import CancelledError
from perdure.worker.activity.steps import Steps
from perdure.worker.activity.threads import ThreadRaiser
from perdure.worker.interceptors.activity import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
)

HEARTBEAT_FROM_THREAD_TIMEOUT_S = 10.0


@dataclass(eq=False)
class Attempt:
    """The running state of one attempt."""

    is_async: bool
    raiser: ThreadRaiser | None
    cancelled_event: CompositeEvent
    task: asyncio.Task[None] | None = None
    details: CancellationDetailsHolder = field(default_factory=CancellationDetailsHolder)
    by_request: bool = False
    heartbeat_error: BaseException | None = None
    finished: bool = False
    is_late: bool = False
    """The server has given it up: what it returns is not reported."""
    name: Callable[[], str] = str
    """Names it in logs."""
    is_overdue: Callable[[], bool] = bool
    """Whether a time-out is over, so that blocking code may be interrupted. May be called in another thread."""
    steps: Steps[Any] | None = None
    """Of an async activity, while it runs."""

    @staticmethod
    def create(*, is_async: bool, raises_in_thread: bool) -> Attempt:
        event = CompositeEvent(threading.Event(), asyncio.Event() if is_async else None)
        return Attempt(is_async, ThreadRaiser() if raises_in_thread else None, event)

    def cancel(
        self,
        details: ActivityCancellationDetails,
        *,
        by_request: bool,
        heartbeat_error: BaseException | None = None,
    ) -> None:
        """Tell the user's code to stop; the first reason stays."""
        if self.finished or self.details.details is not None:
            return
        self.details.details = details
        self.by_request = by_request
        self.heartbeat_error = heartbeat_error
        self.cancelled_event.set()
        if self.raiser is not None:
            self.raiser.raise_in_thread(CancelledError)
        elif self.is_async and self.task is not None:
            self.task.cancel("Activity cancelled")

    def interrupt(self, loop: asyncio.AbstractEventLoop, thread_id: int) -> bool:
        """Called in another thread: raise in the code of an async activity that keeps the event loop too long.

        Returns:
            Whether the time is over and the code was on the loop.
        """
        steps = self.steps
        if steps is None or not (self.is_late or self.is_overdue()):
            return False
        return steps.interrupt(thread_id, lambda: self._time_out(loop))

    def _time_out(self, loop: asyncio.AbstractEventLoop) -> None:
        self.is_late = True
        if self.details.details is None:
            self.details.details = ActivityCancellationDetails(timed_out=True)
            self.by_request = True
        if self.cancelled_event.thread_event is not None:
            self.cancelled_event.thread_event.set()  # the code may look at it now
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self.cancelled_event.set)

    @property
    def is_shutdown(self) -> bool:
        """Cancelled because the worker ends. That was not requested, so the attempt has failed."""
        return self.details.details is not None and self.details.details.worker_shutdown

    def finish(self) -> None:
        self.finished = True
        # These lead back here.
        self.task = None
        self.steps = None
        self.is_overdue = bool


class Deadline:
    """When the server gives an attempt up, seen from the event loop.

    The server decides while the loop turns. Code that blocks the loop over its deadline also holds back the timers of
    an engine in the same process: it must not win because its answer is ready before they are looked at.
    """

    __slots__ = ("_loop", "_timer", "_when_s")

    def __init__(self, left_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._when_s = self._loop.time() + left_s
        self._timer: asyncio.TimerHandle | None = None
        if left_s < math.inf:
            self._timer = self._loop.call_at(self._when_s, self._pass)

    def _pass(self) -> None:
        self._timer = None

    @property
    def was_slept_through(self) -> bool:
        """Whether it is over, and the loop has not turned since."""
        return self._timer is not None and self._loop.time() > self._when_s

    def is_past(self, grace_s: float) -> bool:
        """Whether it has been over for this long, whether the loop has turned since or not."""
        return self._loop.time() > self._when_s + grace_s

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class InboundCall(ActivityInboundInterceptor):
    """The innermost inbound interceptor: it calls the activity."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        context = Context.current()
        context.info = outbound.info
        context.heartbeat = outbound.heartbeat

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        call = getattr(input.fn, "__call__", None)  # noqa: B004 - objects with an async __call__
        if inspect.iscoroutinefunction(input.fn) or inspect.iscoroutinefunction(call):
            return await input.fn(*input.args)
        return await self._run_in_executor(input.executor, input.fn, input.args)

    async def _run_in_executor(
        self, executor: Executor | None, fn: Callable[..., Any], args: Sequence[Any]
    ) -> Any:
        loop = asyncio.get_running_loop()
        context = Context.current()
        heartbeat = context.heartbeat
        assert heartbeat is not None, "init ran before the activity"

        async def heartbeat_on_loop(*details: Any) -> None:
            Context.set(context)
            heartbeat(*details)

        def heartbeat_from_thread(*details: Any) -> None:
            sent = asyncio.run_coroutine_threadsafe(heartbeat_on_loop(*details), loop)
            sent.result(HEARTBEAT_FROM_THREAD_TIMEOUT_S)

        context.heartbeat = heartbeat_from_thread
        raiser = self._attempt.raiser

        def call() -> Any:
            with raiser.running_here() if raiser is not None else nullcontext():
                try:
                    return fn(*args)
                except StopIteration as error:
                    # A future cannot carry it. In a coroutine Python does the same.
                    raise RuntimeError("The activity function raised StopIteration") from error

        # The thread sees the context variables of the attempt, like an async activity does.
        return await loop.run_in_executor(executor, contextvars.copy_context().run, call)


class OutboundCall(ActivityOutboundInterceptor):
    """The innermost outbound interceptor."""

    def __init__(self, info: Info, heartbeat: Callable[[Sequence[Any]], None]) -> None:
        self._info = info
        self._heartbeat = heartbeat

    def info(self) -> Info:
        return self._info

    def heartbeat(self, *details: Any) -> None:
        self._heartbeat(details)
