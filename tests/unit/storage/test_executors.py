"""One thread: jobs of one turn share a trip, in order; each caller hears of his own job."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from perdure.storage import executors
from perdure.storage.executors import ThreadExecutor


async def test_jobs_run_in_order_on_one_thread_and_each_caller_hears_of_his_own() -> None:
    executor = ThreadExecutor("test")
    ran: list[int] = []

    def job(number: int) -> Callable[[], tuple[int, int]]:
        def run() -> tuple[int, int]:
            ran.append(number)
            if number == 3:
                raise LookupError(number)
            return number, threading.get_ident()

        return run

    answers: list[Any] = await asyncio.gather(
        *(executor.run(job(number)) for number in range(6)), return_exceptions=True
    )
    assert ran == list(range(6))
    assert isinstance(answers[3], LookupError)
    told: list[tuple[int, int]] = [each for each in answers if isinstance(each, tuple)]
    assert [number for number, _ in told] == [0, 1, 2, 4, 5]
    assert len({thread for _, thread in told} - {threading.get_ident()}) == 1
    executor.close()


async def test_jobs_of_one_turn_share_a_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = ThreadExecutor("test")
    trips: list[int] = []
    real = executors.run_jobs

    def counted(jobs: list[Any], loop: asyncio.AbstractEventLoop) -> None:
        trips.append(len(jobs))
        real(jobs, loop)

    monkeypatch.setattr(executors, "run_jobs", counted)
    await asyncio.gather(*(executor.run(lambda: None) for _ in range(20)))
    await executor.run(lambda: None)
    assert trips == [20, 1]
    executor.close()


async def test_a_caller_who_leaves_stops_neither_his_job_nor_the_others() -> None:
    executor = ThreadExecutor("test")
    gate, ran = threading.Event(), list[str]()

    def slow() -> str:
        gate.wait(10)
        ran.append("slow")
        return "slow"

    leaving = asyncio.ensure_future(executor.run(slow))
    staying = asyncio.ensure_future(executor.run(lambda: "quick"))
    await asyncio.sleep(0)
    leaving.cancel()
    gate.set()
    assert await staying == "quick"
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert ran == ["slow"]
    executor.close()


async def test_a_long_job_does_not_keep_what_was_done_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executors, "_TELL_AFTER_NS", -1)  # every job is a long one
    executor = ThreadExecutor("test")
    gate = threading.Event()
    first = asyncio.ensure_future(executor.run(lambda: "first"))
    second = asyncio.ensure_future(executor.run(lambda: gate.wait(10)))
    assert await first == "first"
    assert not second.done()
    gate.set()
    assert await second
    executor.close()


def test_who_closed_his_loop_is_told_nothing() -> None:
    executor = ThreadExecutor("test")
    gate = threading.Event()
    loop = asyncio.new_event_loop()
    task = loop.create_task(executor.run(lambda: gate.wait(10)))
    loop.run_until_complete(asyncio.sleep(0.01))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
    gate.set()
    executor.close()
