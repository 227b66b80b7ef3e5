"""The deterministic event loop by itself: order, timers, what it refuses, and what it puts back."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import logging
import sys
import weakref
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from perdure.core import loop as loops
from perdure.core.loop import DeterministicLoop, LoopTimer, UnsupportedCall

CONTEXT: contextvars.ContextVar[str] = contextvars.ContextVar("context", default="outside")


class Steps(DeterministicLoop):
    """A loop that notes what is asked of it; its time stands still."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 5 * 10**9
        self.started: list[tuple[int, float, float]] = []
        self.cancelled: list[int] = []
        self.asked: list[str] = []
        self.forbidden = ""
        self.looked = 0

    def clock_ns(self) -> int:
        return self.now_ns

    def timer_started(self, timer: LoopTimer, delay: float) -> None:
        self.started.append((timer.seq, timer.when(), delay))

    def timer_cancelled(self, timer: LoopTimer) -> None:
        self.cancelled.append(timer.seq)

    def check_allowed(self, action: str) -> None:
        self.asked.append(action)
        if action == self.forbidden:
            raise PermissionError(action)

    def before_step(self) -> None:
        self.looked += 1

    def name_task(self, task: asyncio.Task[Any]) -> None:
        task.set_name(f"step-{len(self.tasks)}")


def drained(loop: DeterministicLoop) -> None:
    with loop.running():
        loop.drain()


def test_handles_run_in_the_order_in_which_they_became_ready(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop, done = Steps(), list[str]()
    assert not loop.has_ready
    loop.call_soon(done.append, "a")
    skipped = loop.call_soon(done.append, "skipped")
    loop.call_soon(lambda: loop.call_soon(done.append, "c"))
    loop.call_soon(done.append, "b")
    assert loop.has_ready
    skipped.cancel()
    drained(loop)
    assert done == ["a", "b", "c"]
    assert loop.looked == 5, "also before a handle that was cancelled"
    assert loop.steps == 4, "and that did not run"
    assert caplog.records == [], "which did not run and fail"
    assert not loop.has_ready


def test_callbacks_run_in_their_context() -> None:
    loop, seen = Steps(), list[str]()
    inside = contextvars.copy_context()
    inside.run(CONTEXT.set, "inside")

    def note() -> None:
        seen.append(CONTEXT.get())

    loop.call_soon(note, context=inside)
    loop.call_soon(note)
    timer = loop.start_timer(1, note, context=inside)
    loop.make_ready(timer)
    loop.make_ready(loop.call_later(1, note, context=inside))
    loop.make_ready(loop.call_at(7, note, context=inside))

    async def work() -> None:
        note()

    with loop.running():
        loop.create_task(work(), context=inside)
        loop.drain()
    assert seen == ["inside", "outside", *["inside"] * 4]


def test_timers_are_numbered_and_told_to_the_subclass() -> None:
    loop, done = Steps(), list[str]()
    first = loop.call_later(1.5, done.append, "first")
    second = loop.call_at(loop.time() + 2.0004, done.append, "second")
    third = loop.start_timer(0, done.append, "third")
    assert loop.started == [(1, 6.5, 1.5), (2, 7.0, 2.0), (3, 5.0, 0)]
    assert loop.asked == ["schedule timer"] * 3
    first.cancel()
    first.cancel()
    assert loop.cancelled == [1]
    loop.make_ready(third)
    loop.make_ready(second)
    drained(loop)
    assert done == ["third", "second"]


def test_a_timer_of_another_kind_is_not_told() -> None:
    loop = Steps()
    asyncio.TimerHandle(1, print, (), loop).cancel()
    assert loop.cancelled == []


def test_no_timer_in_the_past() -> None:
    loop = Steps()
    with pytest.raises(RuntimeError, match=r"in the past: the delay is -0\.5 seconds"):
        loop.call_later(-0.5, print)
    with pytest.raises(RuntimeError, match="in the past"):
        loop.call_at(4, print)
    assert loop.started == []


def test_what_is_forbidden_leaves_no_trace() -> None:
    loop = Steps()
    loop.forbidden = "schedule timer"
    with pytest.raises(PermissionError):
        loop.call_later(1, print)
    assert loop.started == []
    loop.forbidden = "create task"

    async def work() -> None: ...

    coroutine = work()
    with loop.running(), pytest.raises(PermissionError):
        loop.create_task(coroutine)
    assert loop.tasks == ()
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED, "no warning about it"
    loop.forget_everything()


def test_tasks_are_kept_until_they_are_done_in_the_order_of_their_creation() -> None:
    loop = Steps()

    async def wait(future: asyncio.Future[int]) -> int:
        return await future

    with loop.running():
        futures = [loop.create_future() for _ in range(3)]
        tasks = [loop.create_task(wait(each), name="ignored") for each in futures]
        loop.drain()
        assert loop.tasks == tuple(tasks)
        assert [task.get_name() for task in tasks] == ["step-1", "step-2", "step-3"]
        futures[1].set_result(7)
        loop.drain()
        assert loop.tasks == (tasks[0], tasks[2])
        assert tasks[1].result() == 7
        assert loop.asked == ["create task"] * 3


def test_a_task_belongs_to_the_loop_that_made_it() -> None:
    mine, other = Steps(), Steps()

    async def work() -> None: ...

    with other.running():
        task = mine.create_task(work())
    assert task.get_loop() is mine
    assert (mine.tasks, other.tasks) == ((task,), ())
    drained(mine)
    assert task.done()


def test_a_forgotten_task_may_still_come_to_its_end(caplog: pytest.LogCaptureFixture) -> None:
    loop = Steps()

    async def wait(future: asyncio.Future[int]) -> int:
        return await future

    with loop.running():
        future = loop.create_future()
        task = loop.create_task(wait(future))
        loop.drain()
        loop.forget_everything()
        future.set_result(7)
        loop.drain()
    assert task.result() == 7
    assert caplog.records == []


def test_the_base_names_tasks_as_they_ask() -> None:
    class Plain(DeterministicLoop):
        def clock_ns(self) -> int:
            return 0

    loop = Plain()

    async def work() -> None: ...

    with loop.running():
        task = loop.create_task(work(), name="mine")
        loop.drain()
    assert task.get_name() == "mine"
    for call in (lambda: loop.start_timer(1, print), lambda: DeterministicLoop().clock_ns()):
        with pytest.raises(NotImplementedError):
            call()
    with pytest.raises(NotImplementedError):
        loop.timer_cancelled(LoopTimer(1, 1, print, (), loop))


def test_a_dropped_loop_warns_of_no_pending_task(caplog: pytest.LogCaptureFixture) -> None:
    loop = Steps()

    async def wait() -> None:
        await loop.create_future()

    with loop.running():
        reference = weakref.ref(loop.create_task(wait()))
        loop.drain()
    loop.forget_everything()
    assert loop.tasks == ()
    gc.collect()
    assert reference() is None
    assert caplog.records == []


def test_forgotten_handles_do_not_run() -> None:
    loop, done = Steps(), list[str]()
    loop.call_soon(done.append, "never")
    loop.forget_everything()
    assert not loop.has_ready
    drained(loop)
    assert done == []


async def test_the_outer_loop_comes_back_with_its_hooks() -> None:
    outer, hooks = asyncio.get_running_loop(), sys.get_asyncgen_hooks()
    loop = Steps()
    with loop.running():
        assert asyncio.get_running_loop() is loop
        assert sys.get_asyncgen_hooks() != hooks
        assert sys.get_asyncgen_hooks().finalizer is None
    assert asyncio.get_running_loop() is outer
    assert sys.get_asyncgen_hooks() == hooks
    with pytest.raises(ValueError, match="inside"), loop.running():
        raise ValueError("inside")
    assert asyncio.get_running_loop() is outer
    assert sys.get_asyncgen_hooks() == hooks


def test_an_idle_loop_keeps_no_queue_and_a_busy_one_keeps_its_handles() -> None:
    loop, done = Steps(), list[str]()
    loop.call_soon(done.append, "a")
    with loop.running():
        pass
    assert loop.has_ready
    drained(loop)
    assert done == ["a"]
    assert loop._ready is None


def test_unfinished_async_generators_are_closed_as_far_as_they_do_not_wait() -> None:
    loop, done = Steps(), list[str]()

    async def numbers(name: str, *, waits: bool) -> AsyncGenerator[int]:
        try:
            yield 1
            yield 2
        finally:
            done.append(name)
            if waits:
                await loop.create_future()
                done.append("never")

    kept: list[AsyncGenerator[int]] = []

    async def work() -> None:
        for name, waits in (("a", False), ("b", True), ("c", False)):
            kept.append(numbers(name, waits=waits))
            await anext(kept[-1])

    with loop.running():
        loop.create_task(work())
        loop.drain()
        loop.close_async_generators()
    assert sorted(done) == ["a", "b", "c"]
    Steps().close_async_generators()


def test_what_reaches_outside_is_refused_with_advice() -> None:
    for name, advice in loops._UNSUPPORTED.items():
        with pytest.raises(UnsupportedCall, match=rf"^loop\.{name} is not available in") as caught:
            getattr(Steps(), name)(1, 2, third=3)
        assert str(caught.value).endswith(advice)
        method = getattr(DeterministicLoop, name)
        assert (method.__name__, method.__doc__) == (name, f"Refused: {advice}.")


def test_it_refuses_all_of_the_interface_that_it_does_not_offer() -> None:
    offered = {name for name in vars(asyncio.AbstractEventLoop) if not name.startswith("_")}
    own = set(vars(DeterministicLoop))
    assert offered - own == set()
    assert set(loops._UNSUPPORTED) <= offered
    network = {name for name in offered if name.startswith(("sock_", "create_unix", "connect_"))}
    for name in sorted(network | {"add_reader", "add_writer", "getaddrinfo", "run_in_executor"}):
        with pytest.raises(UnsupportedCall, match=rf"^loop\.{name} "):
            getattr(Steps(), name)()


def test_small_answers() -> None:
    loop = Steps()
    loop.set_debug(enabled=True)
    assert (loop.get_debug(), loop.is_running(), loop.is_closed()) == (False, True, False)
    assert loop.get_task_factory() is None
    assert loop.time() == 5.0
    assert loop.create_future().get_loop() is loop


def test_errors_go_to_the_handler_or_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    loop, seen = Steps(), list[tuple[Any, dict[str, Any]]]()
    assert loop.get_exception_handler() is None
    error = ValueError("lost")
    loop.call_exception_handler({"message": "what", "exception": error})
    loop.call_exception_handler({})
    assert [record.getMessage() for record in caplog.records] == [
        "what",
        "Unhandled exception in event loop",
    ]
    first = caplog.records[0].exc_info
    assert first is not None
    assert first[1] is error
    assert caplog.records[0].levelno == logging.ERROR

    def handler(of: Any, context: dict[str, Any]) -> None:
        seen.append((of, context))
        raise RuntimeError("the handler is broken")

    loop.set_exception_handler(handler)
    assert loop.get_exception_handler() is handler
    context = {"message": "again"}
    loop.call_exception_handler(context)
    assert seen == [(loop, context)]
    assert caplog.records[-1].getMessage() == "The loop's exception handler failed"
    assert len(caplog.records) == 3
