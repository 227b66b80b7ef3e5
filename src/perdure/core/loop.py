"""A deterministic asyncio event loop: one FIFO queue, no I/O, no threads, no clock of its own.

Role: the common part of every loop in which Perdure runs coroutines itself. A subclass says what time it
is (`clock_ns`) and what a timer means (`timer_started`, `timer_cancelled`); the worker's workflow loop
turns timers into commands, a simulator can keep them in a heap.

Invariants:
- handles run in the order in which they became ready; nothing else decides order;
- CPython's own `Task` and `Future` are used, so `gather`, `wait_for`, `timeout`, `TaskGroup`, `Event`,
  `Lock`, `Queue` and friends behave, tick for tick, as on the standard loop;
- everything that would reach outside (threads, sockets, processes, signals) raises `UnsupportedCall`,
  which says what to do instead.

Not here: workflow commands, conditions, replay (see `perdure.worker.host`).
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar
from weakref import WeakSet

from typing_extensions import TypeVarTuple, Unpack, override

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

_log = logging.getLogger(__name__)

ExceptionHandler = "Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]"


class UnsupportedCall(NotImplementedError):
    """A part of the asyncio loop's interface that a deterministic loop cannot offer."""


class Outer(NamedTuple):
    """What was there before a deterministic loop became the thread's running loop."""

    loop: asyncio.AbstractEventLoop | None
    first_iteration: Callable[[AsyncGenerator[Any, Any]], None] | None
    finalizer: Callable[[AsyncGenerator[Any, Any]], None] | None


class LoopTimer(asyncio.TimerHandle):
    """A timer of a deterministic loop; `seq` is the number that its loop gave it."""

    __slots__ = ("seq",)

    def __init__(
        self,
        seq: int,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context | None = None,
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self.seq = seq


class DeterministicLoop(asyncio.AbstractEventLoop):
    """The loop. Subclasses implement `clock_ns`, `timer_started` and `timer_cancelled`.

    Example:
        ```python
        class Steps(DeterministicLoop):
            now_ns = 0

            def clock_ns(self) -> int:
                return self.now_ns

            def timer_started(self, timer: LoopTimer, delay: float) -> None: ...
            def timer_cancelled(self, timer: LoopTimer) -> None: ...


        loop = Steps()
        with loop.running():
            task = loop.create_task(work())
            loop.drain()
        ```
    """

    def __init__(self) -> None:
        self._ready: deque[asyncio.Handle] | None = None
        """None while there is nothing: an empty queue takes more memory than the rest of an idle loop."""
        # asyncio keeps only weak references to tasks; a dict keeps them alive, in creation order.
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._timer_seq = 0
        self.steps = 0
        """How many handles have run."""
        self._exception_handler: Callable[[Any, dict[str, Any]], object] | None = None
        self._async_generators: WeakSet[AsyncGenerator[Any, Any]] | None = None

    # ── what a subclass decides ───────────────────────────────────────────────────────────────────

    def clock_ns(self) -> int:
        """The loop's time in nanoseconds since the epoch."""
        raise NotImplementedError

    def timer_started(self, timer: LoopTimer, delay: float) -> None:
        """A timer was asked for; `delay` is in seconds and not negative."""
        raise NotImplementedError

    def timer_cancelled(self, timer: LoopTimer) -> None:
        """A timer that has not fired was cancelled (possibly one that fired meanwhile)."""
        raise NotImplementedError

    def check_allowed(self, action: str) -> None:
        """Called before anything is scheduled; may raise to forbid it. The base allows everything."""

    def name_task(self, task: asyncio.Task[Any]) -> None:
        """Called for each new task; may rename it."""

    def before_step(self) -> None:
        """Called before each ready handle runs; may raise to end the drain. The base does nothing."""

    def unsupported(self, call: str, advice: str) -> NoReturn:
        """Refuse a call. Subclasses may raise an error of their own."""
        message = f"loop.{call} is not available in a deterministic event loop: {advice}"
        raise UnsupportedCall(message)

    # ── running ───────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def running(self) -> Generator[None]:
        """Make this the thread's running loop for the block.

        The previous loop is put back afterwards. Async generators created inside are kept from the
        outer loop's finalizer: it would run their `finally` blocks on the outer loop.
        """
        outer = self.enter()
        try:
            yield
        finally:
            self.leave(outer)

    def enter(self) -> Outer:
        """`running`, without a block: `leave` must follow, with what this returns."""
        before = asyncio._get_running_loop()  # part of a loop's contract  # noqa: SLF001
        outer = Outer(before, *sys.get_asyncgen_hooks())
        asyncio._set_running_loop(self)  # noqa: SLF001
        sys.set_asyncgen_hooks(self._note_async_generator, None)
        return outer

    def leave(self, outer: Outer) -> None:
        """Put back what `enter` found."""
        if not self._ready:
            self._ready = None
        sys.set_asyncgen_hooks(outer.first_iteration, outer.finalizer)
        asyncio._set_running_loop(outer.loop)  # noqa: SLF001

    def drain(self) -> None:
        """Run ready handles, and those that become ready meanwhile, until none is left."""
        while ready := self._ready:
            self.before_step()
            handle = ready.popleft()
            if not handle.cancelled():
                self.steps += 1
                handle._run()  # the loop's own part of the contract  # noqa: SLF001

    def make_ready(self, handle: asyncio.Handle) -> None:
        """Append a handle (a fired timer) to the queue as it is, without an extra tick."""
        if self._ready is None:
            self._ready = deque()
        self._ready.append(handle)

    @property
    def has_ready(self) -> bool:
        return bool(self._ready)

    @property
    def tasks(self) -> tuple[asyncio.Task[Any], ...]:
        """Unfinished tasks in the order of their creation."""
        return tuple(self._tasks)

    def _note_async_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        if self._async_generators is None:
            self._async_generators = WeakSet()
        self._async_generators.add(generator)

    def close_async_generators(self) -> None:
        """Run the `finally` blocks of unfinished async generators, as far as they do not await."""
        for generator in list(self._async_generators or ()):
            with suppress(BaseException):
                generator.aclose().send(None)

    def forget_everything(self) -> None:
        """Drop tasks and ready handles, so that nothing keeps the loop's objects alive."""
        self._ready = None
        self._tasks.clear()

    # ── the asyncio interface ─────────────────────────────────────────────────────────────────────

    @override
    def time(self) -> float:
        return self.clock_ns() / 1e9

    @override
    def call_soon(
        self,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self.make_ready(handle)
        return handle

    @override
    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.start_timer(delay, callback, *args, context=context)

    @override
    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        # Callers compute `when` as loop.time() + delay; a float cannot hold nanoseconds since the
        # epoch, so the difference is rounded to what the caller can have meant: milliseconds.
        delay = round(when - self.time(), 3)
        return self.start_timer(delay, callback, *args, context=context)

    def start_timer(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> LoopTimer:
        """A timer after `delay` seconds. Raises `RuntimeError` for a negative delay."""
        self.check_allowed("schedule timer")
        if delay < 0:
            message = f"a timer cannot be scheduled in the past: the delay is {delay} seconds"
            raise RuntimeError(message)
        self._timer_seq += 1
        timer = LoopTimer(self._timer_seq, self.time() + delay, callback, args, self, context)
        self.timer_started(timer, delay)
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Called by `TimerHandle.cancel`, under this very name."""
        if isinstance(handle, LoopTimer):
            self.timer_cancelled(handle)

    @override
    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    @override
    def create_task(
        self,
        coro: Generator[Any, None, _T] | Coroutine[Any, Any, _T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[_T]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self.adopt_task(task)
        return task

    def adopt_task(self, task: asyncio.Task[Any]) -> None:
        """Keep a task alive until it is done; used for every task, also for subclasses of Task."""
        try:
            self.check_allowed("create task")
        except BaseException:
            task.get_coro().close()  # it never runs; Python should not warn that it was never awaited
            raise
        self._tasks[task] = None
        task.add_done_callback(self._forget_task)
        # A run that is dropped from memory has pending tasks by design: no warning for them.
        task._log_destroy_pending = False  # pyright: ignore[reportAttributeAccessIssue]  # noqa: SLF001
        self.name_task(task)

    def _forget_task(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)

    @override
    def get_debug(self) -> bool:
        return False

    @override
    def set_debug(self, enabled: bool) -> None:
        """Ignored: asyncio's debug mode reads the wall clock."""

    @override
    def is_running(self) -> bool:
        return True

    @override
    def is_closed(self) -> bool:
        return False

    @override
    def get_task_factory(self) -> None:
        return None

    @override
    def get_exception_handler(self) -> Callable[[Any, dict[str, Any]], object] | None:
        return self._exception_handler

    @override
    def set_exception_handler(
        self, handler: Callable[[Any, dict[str, Any]], object] | None
    ) -> None:
        self._exception_handler = handler

    @override
    def default_exception_handler(self, context: dict[str, Any]) -> None:
        error: BaseException | None = context.get("exception")
        _log.error(
            "%s", context.get("message") or "Unhandled exception in event loop", exc_info=error
        )

    @override
    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self._exception_handler is None:
            self.default_exception_handler(context)
            return
        try:
            self._exception_handler(self, context)
        except Exception:  # user code  # noqa: BLE001
            _log.exception("The loop's exception handler failed")


_WAIT = "await things of this loop instead"
_THREADS = "threads are not deterministic; do blocking work in an activity"
_NETWORK = "network I/O belongs in an activity"
_PROCESS = "processes belong in an activity"
_SIGNALS = "operating system signals belong to the worker process"
_FACTORY = "tasks must start on the next tick (an eager task factory would change the order)"

_UNSUPPORTED: dict[str, str] = {
    "run_forever": _WAIT,
    "run_until_complete": _WAIT,
    "stop": _WAIT,
    "close": _WAIT,
    "shutdown_asyncgens": _WAIT,
    "shutdown_default_executor": _THREADS,
    "call_soon_threadsafe": _THREADS,
    "run_in_executor": _THREADS,
    "set_default_executor": _THREADS,
    "set_task_factory": _FACTORY,
    "add_signal_handler": _SIGNALS,
    "remove_signal_handler": _SIGNALS,
    "subprocess_shell": _PROCESS,
    "subprocess_exec": _PROCESS,
    **dict.fromkeys(
        (
            "getaddrinfo", "getnameinfo", "create_connection", "create_server", "start_tls",
            "sendfile", "create_unix_connection", "create_unix_server", "connect_accepted_socket",
            "create_datagram_endpoint", "connect_read_pipe", "connect_write_pipe",
            "add_reader", "remove_reader", "add_writer", "remove_writer", "sock_recv",
            "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into", "sock_sendall", "sock_sendto",
            "sock_connect", "sock_accept", "sock_sendfile",
        ),
        _NETWORK,
    ),
}  # fmt: skip


def _refuse(call: str, advice: str) -> Callable[..., NoReturn]:
    def method(self: DeterministicLoop, *_args: object, **_kwargs: object) -> NoReturn:
        self.unsupported(call, advice)

    method.__name__ = call
    method.__doc__ = f"Refused: {advice}."
    return method


for _name, _advice in _UNSUPPORTED.items():
    setattr(DeterministicLoop, _name, _refuse(_name, _advice))
