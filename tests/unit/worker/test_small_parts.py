"""A worker's small parts: callbacks, slots, the cache of runs, first tasks, polls that pause."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING, Any, cast

import pytest

from perdure.core.user_code import EscapedError
from perdure.wire import errors
from perdure.wire.api import workflowservice
from perdure.worker.polling import pollers
from perdure.worker.polling.eager import EagerFirstTasks
from perdure.worker.polling.slots import Slots
from perdure.worker.workflow.cache import RunCache
from perdure.worker.workflow.callbacks import from_callback
from tests.unit.worker.test_eager import Eager, schedule
from tests.unit.worker.test_pollers import Lines

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from perdure.worker.workflow.run import CachedRun


async def turns(number: int = 20) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


# Callbacks ----------------------------------------------------------------------------------------


class Stop(BaseException):
    """Not an `Exception`."""


def fails(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


async def test_what_a_callback_raises_reaches_its_caller() -> None:
    error = LookupError("no")
    assert await from_callback(lambda: 7) == 7
    with pytest.raises(LookupError) as caught:
        await from_callback(fails(error))
    assert caught.value is error


@pytest.mark.parametrize("error", [Stop(), StopIteration(), SystemExit()], ids=repr)
async def test_an_error_that_would_end_the_loop_reaches_its_caller_sealed(
    error: BaseException,
) -> None:
    with pytest.raises(EscapedError) as caught:
        await from_callback(fails(error))
    assert caught.value.error is error


def test_ctrl_c_in_a_callback_ends_the_loop_and_cancels_the_caller() -> None:
    ended: list[str] = []

    async def call() -> None:
        try:
            await from_callback(lambda: signal.raise_signal(signal.SIGUSR1))
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(call())
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ended == ["cancelled"]


@pytest.mark.parametrize("work", [lambda: 7, fails(LookupError("no"))], ids=["returns", "raises"])
async def test_a_callback_whose_caller_left_is_quiet(work: Callable[[], Any]) -> None:
    reported: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    caller = asyncio.create_task(from_callback(work))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    await turns()
    assert caller.cancelled()
    assert reported == []


# Slots --------------------------------------------------------------------------------------------


async def test_who_left_is_not_waited_for() -> None:
    slots = Slots(1)
    assert slots.try_take()
    taker = asyncio.create_task(slots.take())
    await turns()
    assert slots.is_wanted
    taker.cancel()
    await asyncio.gather(taker, return_exceptions=True)
    assert not slots.is_wanted
    assert slots.used == 1


async def test_a_slot_that_comes_after_its_taker_left_is_free() -> None:
    slots = Slots(1)
    assert slots.try_take()
    taker = asyncio.create_task(slots.take())
    await turns()
    taker.cancel()
    slots.release()
    (outcome,) = await asyncio.gather(taker, return_exceptions=True)
    assert isinstance(outcome, asyncio.CancelledError)
    assert slots.used == 0
    await slots.wait_idle()


# The cache ----------------------------------------------------------------------------------------


class Run:
    """What the cache needs of a run."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.is_idle = True
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def cache_of(maximum: int, *run_ids: str) -> tuple[RunCache, list[Run]]:
    cache, runs = RunCache(maximum), [Run(run_id) for run_id in run_ids]
    for run in runs:
        cache.add(cast("CachedRun", run))
    return cache, runs


def kept(cache: RunCache) -> list[str]:
    return [run.run_id for run in cache]


def test_the_least_recently_used_are_evicted_until_the_bound() -> None:
    cache, runs = cache_of(2, "a", "b", "c", "d")
    assert cache.get("a") is cast("CachedRun", runs[0])
    cache.trim()
    assert kept(cache) == ["d", "a"]
    assert len(cache) == 2
    assert [run.closed for run in runs] == [0, 1, 1, 0]
    cache.trim()
    assert kept(cache) == ["d", "a"]
    assert cache.get("b") is None


def test_a_run_at_work_is_not_evicted() -> None:
    cache, runs = cache_of(0, "a", "b")
    runs[0].is_idle = False
    cache.trim()
    assert kept(cache) == ["a"]
    runs[0].is_idle = True
    cache.trim()
    assert kept(cache) == []


def test_evicting_a_run_does_not_evict_its_successor() -> None:
    cache, (old,) = cache_of(2, "a")
    new = Run("a")
    cache.add(cast("CachedRun", new))
    cache.evict(cast("CachedRun", old))
    assert cache.get("a") is cast("CachedRun", new)
    assert (old.closed, new.closed) == (1, 0)
    cache.evict(cast("CachedRun", new))
    assert cache.get("a") is None
    assert new.closed == 1


# Tasks that come with an answer -------------------------------------------------------------------


async def test_all_slots_that_no_task_came_for_are_free_again() -> None:
    eager = Eager(slots=3)
    assert eager.reserve([schedule() for _ in range(3)]) == 3
    eager.start(3)
    assert eager.slots.used == 0


async def test_first_tasks_are_run_in_their_slot() -> None:
    slots = Slots(1)
    handled: list[bytes] = []
    running: list[asyncio.Task[Any]] = []
    stopping = False

    async def handle(task: Any) -> None:
        handled.append(task.task_token)
        if task.task_token == b"bad":
            raise LookupError

    def spawn(work: Coroutine[Any, Any, None], name: str) -> None:
        running.append(asyncio.create_task(work, name=name))

    first = EagerFirstTasks(slots, handle, spawn, is_stopping=lambda: stopping)
    for token in (b"good", b"bad"):
        settle = first.reserve()
        assert settle is not None
        assert first.reserve() is None, "no slot is free"
        settle(workflowservice.PollWorkflowTaskQueueResponse(task_token=token))
        assert slots.used == 1
        await asyncio.gather(*running, return_exceptions=True)
        assert slots.used == 0
    assert handled == [b"good", b"bad"]
    settle = first.reserve()
    assert settle is not None
    settle(None)
    assert slots.used == 0
    stopping = True
    assert first.reserve() is None
    assert slots.used == 0


# Polls that pause, and that end -------------------------------------------------------------------


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []

    def note(attempt: int) -> float:
        found.append(attempt)
        return 0.0

    monkeypatch.setattr(pollers, "pause_s", note)
    return found


async def test_polls_pause_longer_until_one_comes_through(
    pauses: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "perdure.worker")
    down = errors.Unavailable("down")
    lines = Lines(1, 1, 1, [down, down, down, None, down, "one"])
    lines.start()
    await lines.turns()
    assert lines.handled == ["one"]
    assert pauses == [1, 2, 3, 1]
    failed = "test: poll failed (UNAVAILABLE: down), trying again"
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", failed),
        ("DEBUG", failed),
        ("DEBUG", failed),
        ("INFO", "test: connected again after 3 failed polls"),
        ("WARNING", failed),
        ("INFO", "test: connected again after 1 failed polls"),
    ]
    await lines.end()


async def test_a_line_that_pauses_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def an_hour(_: int) -> float:
        return 3600.0

    monkeypatch.setattr(pollers, "pause_s", an_hour)
    lines = Lines(1, 1, 1, [errors.Unavailable("down")])
    lines.start()
    await lines.turns()
    lines.stop()
    withdrawn = asyncio.create_task(lines.withdraw(3600))
    await lines.turns()
    assert withdrawn.done()
    assert lines.parked == 0
    await lines.end()


async def test_lines_without_a_slot_end_at_once_and_polls_when_they_are_answered() -> None:
    lines = Lines(1, 3, 3, [None])
    lines.start()
    await lines.turns()
    assert (lines.parked, lines.polls) == (3, 2), "one polls, for the second time"
    lines.stop()
    withdrawn = asyncio.create_task(lines.withdraw(3600))
    await lines.turns()
    assert not withdrawn.done()
    assert lines.parked == 1
    lines.script.append("late")
    lines.more.set()
    await withdrawn
    assert lines.handled == ["late"]
    await lines.end()


async def test_polls_become_more_again_after_they_became_fewer() -> None:
    lines = Lines(10, 1, 4)
    lines.start()
    for _ in range(3):
        grown: list[int] = []
        for _ in range(3):
            lines.script.append("task")
            lines.more.set()
            await lines.turns()
            grown.append(lines.parked)
        assert grown == [2, 4, 4]
        lines.script.extend([None] * 10)
        lines.more.set()
        await lines.turns()
        assert lines.parked == 1
    await lines.end()
