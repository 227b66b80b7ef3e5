"""Enforces the time limit of a test, whatever the test does.

pytest-timeout raises one exception, in whatever code is running. Some tests survive that: an event loop, a task that is
never awaited, Hypothesis or `except BaseException` may swallow the exception. It also lifts the limit when a test has
failed, so that a teardown may hang. This plugin takes the limit from pytest-timeout and does more:

* It raises an exception repeatedly until the test and its teardown are over. While an event loop runs, the exception is
  of a type that asyncio does not swallow; otherwise it is of a type that Hypothesis does not swallow. It also prints
  the stacks of all threads.
* If the test still runs after a grace period (the main thread is stuck in C, or catches everything), it prints the
  stacks again and ends the process. pytest-xdist reports the test and continues in a new process.
* It ends the process when a leftover thread keeps it alive after the last test.

The limit itself is set elsewhere: `timeout` in `pyproject.toml` and `pytest.mark.timeout`.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from types import FrameType
from typing import Protocol

import pytest
import pytest_timeout

REPEAT_S = 5.0
"""The time between two exceptions; less when the limit itself is shorter."""

OVERDUE = "takes longer than"
"""Part of the message of both exceptions."""

_is_debugging: Callable[[], bool] = vars(pytest_timeout)["is_debugging"]  # untyped


class Overdue(BaseException):
    """A test has exceeded its time limit."""


class OverdueInLoop(SystemExit):
    """A test has exceeded its time limit in an event loop, where tasks and callbacks pass a `SystemExit` on."""


class Settings(Protocol):
    """The limit of a test, as pytest-timeout determined it."""

    timeout: float


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--overdue-grace",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="how long after its time limit a test may run before the process ends",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(TimeLimits(config), "perdure-time-limits")


class TimeLimits:
    """The hooks that set and enforce the limit of each test."""

    def __init__(self, config: pytest.Config) -> None:
        grace_s: float | None = config.getoption("--overdue-grace")
        assert grace_s is not None, "it has a default"
        self._grace_s = grace_s
        self._may_debug = bool(config.getoption("usepdb"))
        # A copy of stderr, because output is captured while tests run.
        self._stderr = os.dup(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2)
        self._last_chance_s = 0.0
        """When to end the process, by the monotonic clock; 0 while no test runs."""
        self._in_phase = False
        """Whether a test, its setup or its teardown runs. An exception at any other time would end the session."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Settings) -> bool | None:
        if (
            not hasattr(signal, "SIGALRM")
            or threading.current_thread() is not threading.main_thread()
        ):
            return None

        def ring(number: int, frame: FrameType | None) -> None:
            __tracebackhide__ = True
            if not self._in_phase or _is_debugging():
                return
            faulthandler.dump_traceback(self._stderr)
            raise _kind()(f"{item.nodeid} {OVERDUE} {settings.timeout:g} s")

        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, settings.timeout, min(REPEAT_S, settings.timeout))
        self._last_chance_s = time.monotonic() + settings.timeout + self._grace_s
        self._arm()
        return True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        # pytest-timeout would lift the limit of a failed test earlier, for the sake of debuggers.
        try:
            return (yield)
        finally:
            self._lift()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Generator[None]:
        yield from self._phase()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Generator[None]:
        yield from self._phase()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Generator[None]:
        yield from self._phase()

    def _phase(self) -> Generator[None]:
        self._in_phase = True
        try:
            yield
        finally:
            self._in_phase = False

    @pytest.hookimpl(trylast=True)
    def pytest_exception_interact(self) -> None:
        if self._may_debug:
            self._lift()
        elif self._last_chance_s:
            self._arm()  # pytest has just cancelled it

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        if not self._may_debug:
            faulthandler.dump_traceback_later(self._grace_s, exit=True, file=self._stderr)

    def _arm(self) -> None:
        left_s = max(0.001, self._last_chance_s - time.monotonic())
        faulthandler.dump_traceback_later(left_s, exit=True, file=self._stderr)

    def _lift(self) -> None:
        if self._last_chance_s:
            self._last_chance_s = 0.0
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.cancel_dump_traceback_later()


def _kind() -> type[BaseException]:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return Overdue
    return OverdueInLoop
