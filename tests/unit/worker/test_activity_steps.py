"""A step of an async activity can be interrupted from another thread, and nothing else can."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from perdure.worker.activity.steps import InterruptedStep, Steps

pytestmark = pytest.mark.interrupts

LIMIT_S = 60


def nothing() -> None: ...


def elsewhere(steps: Steps[Any], afterwards: Callable[[], object] = nothing) -> Callable[[], bool]:
    """Interrupt what this thread runs, from another one; what is returned begins that, and returns at once."""
    here = threading.get_ident()
    begun = threading.Event()

    def interrupt() -> None:
        begun.wait(LIMIT_S)
        assert steps.interrupt(here, nothing)
        afterwards()

    thread = threading.Thread(target=interrupt)
    thread.start()
    return lambda: begun.set() is None


def is_calm() -> None:
    """Nothing is left that is raised at some later bytecode."""
    for _ in range(1000):
        nothing()


async def test_values_and_results_pass_through():
    async def work() -> str:
        await asyncio.sleep(0)
        return await asyncio.sleep(0.001, "done")

    assert await Steps(work()) == "done"


async def test_errors_pass_through():
    async def work() -> None:
        await asyncio.sleep(0)
        raise LookupError("planned")

    with pytest.raises(LookupError, match="planned"):
        await Steps(work())


async def test_a_cancellation_reaches_the_code_and_may_be_survived():
    waiting = asyncio.Event()

    async def work() -> str:
        try:
            waiting.set()
            await asyncio.sleep(LIMIT_S)
        except asyncio.CancelledError:
            return await asyncio.sleep(0, "cleaned up")
        return "not cancelled"

    async def outer() -> str:
        return await Steps(work())

    task = asyncio.create_task(outer())
    await waiting.wait()
    task.cancel()
    assert await task == "cleaned up"


def test_code_that_is_thrown_away_is_closed():
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            ended.append("closed")

    steps = Steps(work()).__await__()
    next(steps)
    assert ended == []
    steps.close()
    assert ended == ["closed"]


def test_nothing_is_raised_between_steps():
    noted: list[str] = []

    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    steps = Steps(work())
    here = threading.get_ident()
    assert not steps.interrupt(here, lambda: noted.append("before the first"))
    running = steps.__await__()
    next(running)
    assert not steps.interrupt(here, lambda: noted.append("between"))
    is_calm()
    with pytest.raises(StopIteration) as end:
        next(running)
    assert end.value.value == "done"
    assert not steps.interrupt(here, lambda: noted.append("after the last"))
    is_calm()
    assert noted == []


def test_code_that_spins_is_interrupted_where_it_is():
    seen: list[str] = []

    async def work() -> None:
        try:
            begin()
            while True:
                pass
        except asyncio.CancelledError as error:
            seen.append(type(error).__name__)
            raise
        finally:
            seen.append("finally")

    steps = Steps(work())
    begin = elsewhere(steps)
    with pytest.raises(InterruptedStep):
        next(steps.__await__())
    assert seen == ["InterruptedStep", "finally"]
    is_calm()


def test_what_is_noted_is_noted_before_the_exception_arrives():
    noted: list[str] = []

    async def work() -> list[str]:
        try:
            steps.interrupt(threading.get_ident(), lambda: noted.append("noted"))
            is_calm()
        except InterruptedStep:
            return list(noted)
        return []

    steps = Steps(work())
    with pytest.raises(StopIteration) as end:
        next(steps.__await__())
    assert end.value.value == ["noted"]
    is_calm()


def test_a_step_may_be_interrupted_again_and_the_next_one_is_left_alone():
    async def work() -> str:
        for _ in range(3):
            try:
                steps.interrupt(threading.get_ident(), nothing)
                is_calm()
            except InterruptedStep:
                continue
            raise AssertionError
        await asyncio.sleep(0)
        is_calm()
        return "done"

    steps = Steps(work())
    running = steps.__await__()
    next(running)
    is_calm()
    with pytest.raises(StopIteration) as end:
        next(running)
    assert end.value.value == "done"


class Awaits:
    """Awaits an iterator that is written in C: no bytecode runs between its return and the end of the step."""

    def __init__(self, iterator: Iterator[Any]) -> None:
        self._iterator = iterator

    def __await__(self) -> Generator[Any, None, None]:
        return self._iterator  # type: ignore[return-value]


def test_code_that_has_just_given_way_is_told_where_it_waits():
    lock = threading.Lock()
    lock.acquire()

    async def work() -> str:
        begin()
        try:
            await Awaits(map(lock.acquire, [True]))
        except InterruptedStep:
            return "told"
        return "not told"

    steps = Steps(work())
    begin = elsewhere(steps, lock.release)
    with pytest.raises(StopIteration) as end:
        next(steps.__await__())
    assert end.value.value == "told"
    is_calm()


def as_the_step_ends(steps: Steps[Any]) -> Callable[[], None]:
    """An interruption by another thread that arrives when the code has given way, and its step is about to end.

    What is returned is called by the code before it gives way.
    """
    here = threading.get_ident()
    asked, is_locked = threading.Event(), threading.Event()

    def until_the_step_ends() -> None:
        is_locked.set()
        give_up_s = time.monotonic() + LIMIT_S
        while sys._current_frames()[here].f_code.co_name != "_end_step":
            assert time.monotonic() < give_up_s

    def interrupt() -> None:
        asked.wait(LIMIT_S)
        assert steps.interrupt(here, until_the_step_ends)

    def begin() -> None:
        asked.set()
        assert is_locked.wait(LIMIT_S)

    threading.Thread(target=interrupt).start()
    return begin


@pytest.mark.parametrize("before", [False, True])
def test_code_is_told_of_an_interruption_that_arrives_as_its_step_ends(before: bool):
    seen: list[str] = []

    async def work() -> str:
        if before:  # it has had another interruption in this step
            try:
                steps.interrupt(threading.get_ident(), nothing)
                is_calm()
            except InterruptedStep:
                seen.append("first")
        begin()
        try:
            await asyncio.sleep(0)
        except InterruptedStep:
            seen.append("told")
        await asyncio.sleep(0)
        return "done"

    steps = Steps(work())
    begin = as_the_step_ends(steps)
    running = steps.__await__()
    next(running)
    is_calm()
    assert seen == ["first", "told"][not before :], "and it waits again"
    with pytest.raises(StopIteration) as end:
        next(running)
    assert end.value.value == "done"


def test_code_that_has_had_its_interruption_is_not_told_again():
    seen: list[str] = []

    async def work() -> str:
        try:
            steps.interrupt(threading.get_ident(), nothing)
            is_calm()
        except InterruptedStep:
            seen.append("told")
        try:
            await asyncio.sleep(0)
        except InterruptedStep:
            seen.append("again")
        return "done"

    steps = Steps(work())
    running = steps.__await__()
    next(running)
    with pytest.raises(StopIteration):
        next(running)
    assert seen == ["told"]
    is_calm()


def test_an_interruption_as_the_last_step_ends_leaves_the_outcome_alone():
    async def work() -> str:
        begin()
        return "done"

    steps = Steps(work())
    begin = as_the_step_ends(steps)
    with pytest.raises(StopIteration) as end:
        next(steps.__await__())
    assert end.value.value == "done", "that it is late is known to its attempt"
    is_calm()


def test_an_error_that_ends_the_step_wins_against_an_interruption_that_arrives_then():
    async def work() -> str:
        begin()
        raise LookupError("planned")

    steps = Steps(work())
    begin = as_the_step_ends(steps)
    with pytest.raises(LookupError, match="planned"):
        next(steps.__await__())
    is_calm()


def test_code_that_has_just_ended_is_late():
    """Its result is lost; nothing is raised in what follows."""
    ours, theirs = socket.socketpair()
    ended: list[str] = []

    async def work() -> str:
        begin()
        await Awaits(filter(ours.recv, [1]))
        return "done"

    steps = Steps(work())
    begin = elsewhere(steps, theirs.close)
    try:
        next(steps.__await__())
    except (InterruptedStep, StopIteration) as error:
        ended.append(type(error).__name__)
    assert ended == ["InterruptedStep"]
    is_calm()
    assert not steps.interrupt(threading.get_ident(), nothing)
    ours.close()
