"""The time limit of a test holds, whatever the test does.

pytest-timeout raises an exception once, in whatever code happens to run. That does not end every test: an event loop, a
task that nobody awaits, Hypothesis or `except BaseException` may swallow the exception; and once a test has failed,
its limit is lifted, so that the teardown may take for ever. Here, with the limit that pytest-timeout finds for a test:

* An exception is raised again and again until the test, including its teardown, is over. While an event loop runs it is
  of a kind that asyncio lets through, elsewhere of a kind that Hypothesis does. The stacks of all threads are shown.
* When even that is in vain (the main thread is stuck in C, or catches everything) the process ends, with the stacks of
  all threads. pytest-xdist reports the test and goes on in a new process.
* The process also ends when a thread that is left over keeps it alive after the last test.

Not here: how long the limit is (`timeout` in `pyproject.toml`, `pytest.mark.timeout`).
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
"""Between two exceptions; less when the limit itself is shorter."""

_is_debugging: Callable[[], bool] = vars(pytest_timeout)["is_debugging"]  # it has no types


class Overdue(BaseException):
    """The test takes longer than its limit."""


class OverdueInLoop(SystemExit):
    """The same while an event loop runs: tasks and callbacks let a `SystemExit` through."""


class Settings(Protocol):
    """What pytest-timeout found out about a test's limit."""

    timeout: float


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--overdue-grace",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="how long after its time limit a test that cannot be interrupted ends the process",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(TimeLimits(config), "perdure-time-limits")


class TimeLimits:
    """Hooks around each test."""

    def __init__(self, config: pytest.Config) -> None:
        grace_s: float | None = config.getoption("--overdue-grace")
        assert grace_s is not None, "it has a default"
        self._grace_s = grace_s
        self._may_debug = bool(config.getoption("usepdb"))
        # Output is captured while tests run; this leads to where the session's errors go.
        self._stderr = os.dup(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2)
        self._last_chance_s = 0.0
        """When the process ends, by the monotonic clock; 0 while no test runs."""
        self._in_phase = False
        """User code runs; an exception elsewhere would end the whole session."""

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
            raise _kind()(f"{item.nodeid} takes longer than {settings.timeout:g} s")

        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, settings.timeout, min(REPEAT_S, settings.timeout))
        self._last_chance_s = time.monotonic() + settings.timeout + self._grace_s
        self._arm()
        return True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        # Not when pytest-timeout says so: it lifts the limit of a test that has failed, for a debugger's sake.
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
            self._arm()  # pytest has just disarmed it

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
