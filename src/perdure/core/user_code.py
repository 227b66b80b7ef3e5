"""Errors of user code, told apart from those that only pass through it.

Role: whatever a workflow, an activity, a converter, a codec, an interceptor or a log handler raises, `sys.exit()` and
`StopIteration` included, is the outcome of the one task that called it. Three errors are not theirs: a cancellation of
the calling task, what a signal handler of the process raises while user code happens to run (Ctrl-C), and the end of
a coroutine whose loop is gone.

Not here: what becomes of an error (`worker.workflow.tasks`, `worker.activity`, `worker.host.outcome`).
"""

from __future__ import annotations

import asyncio
import functools
import logging
import opcode
import signal
from typing import TYPE_CHECKING, Any

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import CodeType, TracebackType


interruptible_tasks: set[asyncio.Task[Any]] = set()
"""Tasks whose code another thread may interrupt at any point, such as async activities after their time-out. Code that
must not stop halfway must not run in one of them."""


class EscapedError(Exception):
    """Carries an error that no coroutine or future can: `error`, which user code raised."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"User code raised {type(error).__name__}")
        self.error = error


def passes_through(error: BaseException) -> bool:
    """Whether an error that came out of user code is not its own, and must go on to our caller.

    Leaving the debugger (`q` at a breakpoint) fails the task, and interrupts the process like Ctrl-C. Otherwise the
    task would be tried again, and stop at the same breakpoint again, for as long as the worker runs.
    """
    if isinstance(error, Exception):
        if type(error).__name__ == "BdbQuit":
            _interrupt_once(error)
        return False
    if isinstance(error, asyncio.CancelledError):
        task = current_task_or_none()
        return task is not None and task.cancelling() > 0
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return _is_from_signal(error)
    # A coroutine that is thrown away after its loop has ended.
    return isinstance(error, GeneratorExit) and asyncio._get_running_loop() is None  # noqa: SLF001


def _interrupt_once(error: Exception) -> None:
    # Several layers look at one error; a second signal would not let the program end in order.
    if not getattr(error, "has_interrupted", False):
        error.has_interrupted = True  # type: ignore[attr-defined]
        signal.raise_signal(signal.SIGINT)


def sealed(error: BaseException) -> Exception:
    """The error as one that futures and coroutines carry; `opened` undoes it."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    escaped = EscapedError(error)
    escaped.__cause__ = error
    return escaped


def opened(error: BaseException) -> BaseException:
    """What user code raised."""
    return error.error if isinstance(error, EscapedError) else error


def current_task_or_none() -> asyncio.Task[Any] | None:
    """The current task; None if there is none, or no running event loop."""
    return None if asyncio._get_running_loop() is None else asyncio.current_task()  # noqa: SLF001


def _is_from_signal(error: BaseException) -> bool:
    codes = {code for number in signal.valid_signals() if (code := _code_of_handler(number))}
    innermost: TracebackType | None = None
    for each in _frames(error):
        if each.tb_frame.f_code in codes:
            return True
        innermost = each
    if not isinstance(error, KeyboardInterrupt):
        return False
    # Python's own handler of Ctrl-C has no frame: the error appears where no statement raises it.
    return innermost is None or not _is_raise(innermost)


def _frames(error: BaseException) -> Generator[TracebackType]:
    each = error.__traceback__
    while each is not None:
        yield each
        each = each.tb_next


def _code_of_handler(number: int) -> CodeType | None:
    handler: Any = signal.getsignal(number)
    while isinstance(handler, functools.partial):
        handler = handler.func
    handler = getattr(handler, "__func__", handler)
    code = getattr(handler, "__code__", None)
    return code if code is not None else getattr(type(handler).__call__, "__code__", None)


def _is_raise(where: TracebackType) -> bool:
    number = where.tb_frame.f_code.co_code[where.tb_lasti]
    return opcode.opname[number] in ("RAISE_VARARGS", "RERAISE")


class QuietLogger(logging.LoggerAdapter[Any]):
    """A logger whose handlers and filters, which are user code too, cannot stop what is being logged."""

    def __init__(self, logger: Any) -> None:
        super().__init__(logger, {})

    @override
    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        # The record names the line that logs, not this one.
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        try:
            super().log(level, msg, *args, **kwargs)
        except BaseException as error:
            if passes_through(error):
                raise

    @override
    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        return msg, kwargs  # the base would replace the caller's `extra`


def quiet_logger(name: str) -> QuietLogger:
    """`logging.getLogger(name)`, for code that must go on whatever the program's log handlers do."""
    return QuietLogger(logging.getLogger(name))
