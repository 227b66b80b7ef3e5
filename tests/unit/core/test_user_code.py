"""Whose error it is: user code's own, or one that only passes through it."""

from __future__ import annotations

import asyncio
import bdb
import functools
import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from perdure.core.user_code import (
    EscapedError,
    opened,
    passes_through,
    quiet_logger,
    sealed,
)


class Odd(BaseException):
    """No Exception."""


def raised(work: Callable[[], object]) -> BaseException:
    """What `work` raises, with its traceback."""
    try:
        work()
    except BaseException as error:  # noqa: BLE001
        return error
    raise AssertionError("nothing was raised")


def raises(error: BaseException) -> Callable[[], object]:
    def work() -> object:
        raise error

    return work


@pytest.mark.parametrize(
    "error",
    [
        ValueError(), StopIteration(), StopAsyncIteration(), SystemExit(1), KeyboardInterrupt(), MemoryError(),
        RecursionError(), Odd(), BaseExceptionGroup("both", [Odd(), SystemExit()]), asyncio.CancelledError(),
    ],
    ids=lambda each: type(each).__name__,
)  # fmt: skip
async def test_what_user_code_raises_is_its_own(error: BaseException):
    assert not passes_through(raised(raises(error)))


async def test_an_end_of_a_coroutine_is_ours_only_without_a_loop():
    assert not passes_through(raised(raises(GeneratorExit())))


def test_the_end_of_a_coroutine_without_a_loop_passes_through():
    assert passes_through(raised(raises(GeneratorExit())))
    assert not passes_through(raised(raises(asyncio.CancelledError())))


async def test_a_cancellation_of_the_calling_task_passes_through():
    found: list[bool] = []

    async def call() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as error:
            found.append(passes_through(error))
            raise

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert found == [True]


def _interrupted(handler: Any) -> tuple[BaseException, bool]:
    """What a signal handler raises in the middle of other code, and whether it passes through."""
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        error = raised(lambda: os.kill(os.getpid(), signal.SIGUSR1))
        return error, passes_through(error)
    finally:
        signal.signal(signal.SIGUSR1, before)


def _exits(_number: int, _frame: object) -> None:
    raise SystemExit(3)


def _interrupts(_why: str, _number: int, _frame: object) -> None:
    raise KeyboardInterrupt


class _Stopper:
    def method(self, _number: int, _frame: object) -> None:
        raise SystemExit(4)

    def __call__(self, _number: int, _frame: object) -> None:
        raise SystemExit(5)


def _nested() -> functools.partial[None]:
    inner = functools.partial(_interrupts)
    vars(inner)["note"] = "one with attributes of its own is not merged with another"
    return functools.partial(inner, "why")


@pytest.mark.parametrize(
    "handler",
    [
        _exits,
        _nested(),
        _Stopper().method,
        _Stopper(),
    ],
    ids=["function", "partial", "method", "object"],
)
def test_what_a_signal_handler_raises_passes_through(handler: Any):
    _, passes = _interrupted(handler)
    assert passes
    assert not passes_through(raised(raises(SystemExit())))


def test_ctrl_c_as_python_handles_it_passes_through():
    error, passes = _interrupted(signal.default_int_handler)
    assert isinstance(error, KeyboardInterrupt)
    assert passes
    # One that was made elsewhere and has no traceback is taken for the same.
    assert passes_through(KeyboardInterrupt())
    assert not passes_through(SystemExit())


def test_only_what_cannot_travel_is_sealed():
    plain, stop, odd = ValueError(), StopIteration("x"), Odd()
    assert sealed(plain) is plain
    assert opened(plain) is plain
    for error in (stop, odd):
        carried = sealed(error)
        assert isinstance(carried, EscapedError)
        assert opened(carried) is error
        assert carried.__cause__ is error
        assert type(error).__name__ in str(carried)


# ── logging ───────────────────────────────────────────────────────────────────────────────────────


class _Handler(logging.Handler):
    def __init__(self, error: BaseException | None) -> None:
        super().__init__()
        self.error = error
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        if self.error is not None:
            raise self.error


@pytest.fixture
def handler():
    made = _Handler(None)
    under = logging.getLogger("tests.quiet")
    under.addHandler(made)
    under.propagate = False
    yield made
    under.removeHandler(made)


@pytest.mark.parametrize("error", [ValueError(), SystemExit(), Odd()], ids=repr)
def test_a_log_handler_cannot_stop_what_is_logged(handler: _Handler, error: BaseException):
    handler.error = error
    quiet_logger("tests.quiet").warning("text")
    assert len(handler.records) == 1


def test_a_signal_in_a_log_handler_passes_through(handler: _Handler):
    handler.error = None
    before = signal.signal(signal.SIGUSR1, _exits)
    handler.emit = lambda record: os.kill(os.getpid(), signal.SIGUSR1)
    try:
        with pytest.raises(SystemExit):
            quiet_logger("tests.quiet").warning("text")
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_records_are_those_of_the_caller(handler: _Handler):
    log = quiet_logger("tests.quiet")
    log.warning("%s and %s", 1, 2, extra={"more": 3})
    log.log(logging.ERROR, "direct")
    log.warning("deeper", stacklevel=2)
    try:
        raises(ValueError("text"))()
    except ValueError:
        log.exception("failed")
    first, direct, deeper, failed = handler.records
    here = test_records_are_those_of_the_caller.__name__
    assert (first.getMessage(), first.funcName, vars(first)["more"]) == ("1 and 2", here, 3)
    assert (direct.levelno, direct.funcName) == (logging.ERROR, here)
    assert deeper.funcName != here
    assert failed.exc_info is not None
    assert failed.funcName == here


def test_an_interrupt_raised_in_another_thread_is_user_codes():
    found: list[BaseException] = []
    thread = threading.Thread(target=lambda: found.append(raised(raises(KeyboardInterrupt()))))
    thread.start()
    thread.join()
    assert not passes_through(found[0])


def test_leaving_the_debugger_interrupts_the_process_once() -> None:
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: interrupts.append(number))
    try:
        error = bdb.BdbQuit()
        assert not passes_through(error)
        assert not passes_through(error)
        assert interrupts == [signal.SIGINT]
        assert not passes_through(bdb.BdbQuit())
        assert len(interrupts) == 2
        assert not passes_through(ValueError("another"))
        assert len(interrupts) == 2
    finally:
        signal.signal(signal.SIGINT, before)
