"""An asyncio event loop on virtual time.

Tasks belong to the *process* in whose context they were created. A killed process is frozen: none of its callbacks runs
any more, no `finally` and no `except`, exactly as after kill -9.

When nothing is ready, time jumps to the next timer. Nothing ready and no timer is a deadlock, which is an error with
the names of the waiting tasks. Callbacks keep asyncio's order (first in, first out). Only the delays of disk, network
and faults differ between seeds; they come from the world's random source.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from asyncio import base_events
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

from perdure.core.units import SECOND_NS

T = TypeVar("T")

EPOCH_NS = 1_700_000_000 * SECOND_NS
"""Virtual wall clocks begin here."""

FOREVER_S = 30 * 86_400.0
"""A simulation that waits this long is stuck."""


class Process:
    """The unit that kill -9 ends: everything that was started in its context."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.context = copy_context()
        self.context.run(_process.set, self)
        self.tasks: list[asyncio.Task[Any]] = []

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        return asyncio.get_running_loop().create_task(
            work, name=f"{self.name}: {name}", context=self.context.copy()
        )

    def kill(self) -> None:
        """Freeze everything that it runs. The tasks are kept, so that none is finalised before the world ends."""
        self.is_alive = False

    def bury(self) -> None:
        """At the end of the world: finalise the frozen tasks, whatever their `finally` blocks do."""
        self.is_alive = False
        for task in self.tasks:
            coroutine = task.get_coro()
            # Code that awaits in `finally`, or that has a task group, raises one of these.
            with contextlib.suppress(BaseException):
                coroutine.close()
        self.tasks.clear()


_process: ContextVar[Process | None] = ContextVar("process", default=None)


class DeadlockError(AssertionError):
    """Every task waits and no timer is set."""


class Impossible(RuntimeError):
    """The code uses something that virtual time does not provide, such as a thread or a socket."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(f"there are no {what} on the virtual clock of a simulation: {advice}")


class _VirtualSelector:
    """Takes the place of asyncio's selector: waiting advances the clock."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        self._loop.advance(timeout)
        return []

    def close(self) -> None:
        return None


class SimLoop(base_events.BaseEventLoop):
    """The event loop: single-threaded and deterministic."""

    has_virtual_time = True
    """Threads must stay away: what they call in real time would change the order of things."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual_s = 0.0
        self._selector = _VirtualSelector(self)
        self._clock_resolution = 1e-9
        self.set_task_factory(_create_task)
        self.set_exception_handler(_ignore_the_dead)

    # Frozen processes: every callback checks whether its process is alive.

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        return super().call_soon(_guarded(callback, context), *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return super().call_at(when, _guarded(callback, context), *args, context=context)

    def time(self) -> float:
        return self._virtual_s

    def advance(self, timeout: float | None) -> None:
        if timeout is None:
            waiting = sorted(task.get_name() for task in asyncio.all_tasks(self))
            raise DeadlockError(f"nothing can happen any more; waiting: {waiting}")
        if timeout > 0:
            self._virtual_s += timeout
            if self._virtual_s > FOREVER_S:
                raise DeadlockError("virtual time ran away: something waits for what never comes")

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run `main` to its end, then cancel and await what it left."""
        try:
            return self.run_until_complete(main)
        finally:
            self._cancel_rest()
            self.run_until_complete(self.shutdown_asyncgens())
            self.close()

    def _cancel_rest(self) -> None:
        rest = {task for task in asyncio.all_tasks(self) if task not in _owned}
        for task in rest:
            task.cancel()
        if rest:
            self.run_until_complete(asyncio.gather(*rest, return_exceptions=True))

    # The part of BaseEventLoop that a selector or proactor provides.

    def _process_events(self, event_list: list[Any]) -> None:
        return None

    def _write_to_self(self) -> None:
        return None

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        raise Impossible(
            "threads", "a simulated activity must not use them (asyncio.to_thread, run_in_executor)"
        )

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        raise Impossible("sockets", "a simulated activity needs a fake instead of the network")

    async def create_unix_connection(self, *args: Any, **options: Any) -> Any:
        return await self.create_connection()

    async def getaddrinfo(self, *args: Any, **options: Any) -> Any:
        return await self.create_connection()

    async def subprocess_exec(self, *args: Any, **options: Any) -> Any:
        raise Impossible("processes", "a simulated activity needs a fake instead")

    async def subprocess_shell(self, *args: Any, **options: Any) -> Any:
        return await self.subprocess_exec()


def _guarded(callback: Callable[..., Any], context: Context | None) -> Callable[..., Any]:
    process = _process.get() if context is None else context.get(_process)
    if process is None:
        return callback

    def run(*args: Any) -> None:
        if process.is_alive:
            callback(*args)

    return run


def _create_task(
    loop: asyncio.AbstractEventLoop,
    work: Any,
    *,
    context: Context | None = None,
    **options: Any,
) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context, **options)
    process = _process.get() if context is None else context.get(_process)
    if process is not None:
        process.tasks.append(task)
        _owned.add(task)
        # Frozen tasks end with the world.
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
    return task


def _ignore_the_dead(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Ignore futures that are never retrieved because their waiter was killed. Report everything else as usual."""
    if "never retrieved" not in context.get("message", ""):
        loop.default_exception_handler(context)


_owned: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
"""Tasks that belong to a process: the world's end does not wait for them."""


class SimClock:
    """`perdure.core.clock.Clock` on virtual time; `skew_ns` may jump, as wall clocks do."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self.skew_ns = 0

    def now_ns(self) -> int:
        return EPOCH_NS + self.monotonic_ns() + self.skew_ns

    def monotonic_ns(self) -> int:
        return int(self._loop.time() * SECOND_NS)
