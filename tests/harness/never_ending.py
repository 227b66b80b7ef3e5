"""Tests that never end by themselves. Only `test_time_limits` runs them; pytest does not collect this file.

Each of them fails at its time limit, except `test_z_passes`, which shows that the run goes on after them.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Generator

import pytest
import uvloop
from hypothesis import given, settings, strategies


def loop_for_ever() -> None:
    while True:
        pass


async def test_coroutine_that_never_gives_way() -> None:
    loop_for_ever()


async def test_coroutine_that_only_gives_way() -> None:
    while True:  # noqa: ASYNC110 -- the point
        await asyncio.sleep(0)


async def test_coroutine_that_waits() -> None:
    await asyncio.Event().wait()


async def test_task_whose_exception_nobody_sees() -> None:
    async def loops() -> None:
        loop_for_ever()

    await asyncio.wait([asyncio.create_task(loops())])
    await asyncio.Event().wait()


async def test_callback_of_the_loop() -> None:
    asyncio.get_running_loop().call_soon(loop_for_ever)
    await asyncio.Event().wait()


def test_another_event_loop() -> None:
    uvloop.run(asyncio.sleep(10_000))


def test_first_exception_is_caught() -> None:
    try:
        loop_for_ever()
    except BaseException:  # noqa: BLE001
        loop_for_ever()


def test_process_that_does_not_end() -> None:
    subprocess.run([sys.executable, "-c", "import time; time.sleep(10_000)"], check=True)


@settings(deadline=None, database=None)
@given(strategies.integers())
def test_of_hypothesis(number: int) -> None:
    loop_for_ever()


async def test_task_that_cannot_be_cancelled() -> None:
    """The test passes, but then its event loop waits for the task."""

    async def refuses() -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)

    refusing.add(asyncio.create_task(refuses()))
    await asyncio.sleep(0)


refusing: set[asyncio.Task[None]] = set()


@pytest.fixture
def slow_end() -> Generator[None]:
    yield
    loop_for_ever()


@pytest.mark.usefixtures("slow_end")
def test_teardown_after_a_failure() -> None:
    pytest.fail("the limit still holds")


@pytest.mark.timeout(60)
def test_z_passes() -> None:
    assert refusing, "the tests above have run"
