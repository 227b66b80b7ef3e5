"""Threads for workflow code: one is enough while none is blocked, and what does not come back is given up."""

from __future__ import annotations

import asyncio
import contextvars
import re
import threading
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure.core.units import MS_NS, SECOND_NS
from perdure.core.user_code import EscapedError
from perdure.worker.host.watchdog import DeadlockError, Watch, WorkflowDeadlock, watchdog
from perdure.worker.polling.slots import Slots
from perdure.worker.workflow.callbacks import EventLoopExecution
from perdure.worker.workflow.threads import ThreadExecution
from tests.unit.worker import gates
from tests.unit.worker.gates import LIMIT_S, Gate

pytestmark = pytest.mark.interrupts

BUDGET_NS = 100 * MS_NS


class Run:
    """Stands for a run in memory."""

    def __init__(self, run_id: str = "r") -> None:
        self.run_id = run_id


class WatchedGate(Gate):
    def watched(self) -> str:
        """Blocks, with the watchdog looking on, like an activation."""
        watch = watchdog.begin(BUDGET_NS, lambda: "the code of this test")
        assert watch is not None
        try:
            return self.block()
        except WorkflowDeadlock:
            return "interrupted"
        finally:
            watchdog.end(watch)


@pytest.fixture
async def gate() -> AsyncIterator[WatchedGate]:
    gate = WatchedGate()
    yield gate
    gate.open()


@pytest.fixture
async def slots() -> Slots:
    return Slots(3)


@pytest.fixture
async def threads(slots: Slots) -> AsyncIterator[ThreadExecution]:
    threads = ThreadExecution(slots)
    yield threads
    await threads.close()


def void(_: object) -> None:
    """Teardowns return nothing."""


async def soon(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - what another thread does
            await asyncio.sleep(0.005)


async def lose(threads: ThreadExecution, gate: WatchedGate, run: Run) -> DeadlockError:
    """Block a thread until it is given up."""
    with pytest.raises(DeadlockError) as caught:
        async with asyncio.timeout(LIMIT_S):
            await threads.run(run, gate.watched)
    return caught.value


async def test_work_is_done_in_one_other_thread_with_the_callers_context(
    threads: ThreadExecution,
) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("of the caller")

    def work() -> tuple[int, str, bool]:
        value = variable.get()
        variable.set("of the work")
        return threading.get_ident(), value, threading.current_thread().daemon

    seen = await asyncio.gather(*(threads.run(Run(str(n)), work) for n in range(20)))
    assert len({each[0] for each in seen}) == 1
    assert threading.get_ident() not in {each[0] for each in seen}
    assert {each[1:] for each in seen} == {("of the caller", True)}
    assert variable.get() == "of the caller"


@pytest.mark.parametrize(
    ("error", "arrives"),
    [
        (ValueError("no"), ValueError),
        (StopIteration("no"), EscapedError),
        (SystemExit("no"), EscapedError),
        (GeneratorExit("no"), EscapedError),
        (KeyboardInterrupt("no"), EscapedError),
        (asyncio.CancelledError("no"), EscapedError),
    ],
)
async def test_whatever_is_raised_reaches_the_caller_and_the_thread_goes_on(
    threads: ThreadExecution, error: BaseException, arrives: type[Exception]
) -> None:
    def work() -> None:
        raise error

    with pytest.raises(arrives) as caught:
        await threads.run(Run(), work)
    assert getattr(caught.value, "error", caught.value) is error
    assert await threads.run(Run(), lambda: "next") == "next"
    assert threads._threads == 1


async def test_what_is_blocked_keeps_nobody_waiting(
    threads: ThreadExecution, gate: WatchedGate
) -> None:
    blocked = [asyncio.create_task(threads.run(Run(str(n)), gate.block)) for n in range(3)]
    async with asyncio.timeout(LIMIT_S):
        await gate.is_entered(3)
        assert await threads.run(Run("other"), lambda: "done") == "done"
    assert not any(each.done() for each in blocked)
    assert threads._slots.withheld == 0, "nothing is given up yet"
    gate.open()
    assert await asyncio.gather(*blocked) == ["late"] * 3


async def test_a_thread_that_does_not_come_back_is_given_up(
    threads: ThreadExecution, gate: WatchedGate, slots: Slots, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run("lost")
    error = await lose(threads, gate, run)
    assert str(error).startswith(
        "[TMPRL1101] Potential deadlock: the code of this test was stopped: it "
    )
    assert f"{gates.__file__}:" in str(error)
    assert "in Gate.block: `select.select([self._reading], [], [], LIMIT_S)`" in str(error)
    assert slots.withheld == 1
    said = threads.blocked("lost")
    assert said is not None
    assert "code of run lost has been blocked since 20" in said
    assert "in Gate.block: `select.select([self._reading], [], [], LIMIT_S)`" in said
    assert threads.blocked("other") is None
    assert await threads.run(Run("other"), lambda: "done") == "done"
    assert [each for each in caplog.messages if "(1 of 3 slots are kept)" in each]

    torn_down: list[int] = []
    threads.release(run, lambda: torn_down.append(threading.get_ident()))
    await threads.run(Run("other"), lambda: None)
    assert torn_down == [], "its code is still at work"
    gate.open()
    await soon(lambda: bool(torn_down))
    assert torn_down != [threading.get_ident()]
    assert slots.withheld == 0
    assert threads.blocked("lost") is None
    assert [each for each in caplog.messages if each.startswith("Code of run lost came back after")]


async def test_the_end_does_not_wait_for_what_was_given_up(
    slots: Slots, gate: WatchedGate, caplog: pytest.LogCaptureFixture
) -> None:
    threads = ThreadExecution(slots)
    run = Run("lost")
    await lose(threads, gate, run)
    async with asyncio.timeout(LIMIT_S):
        await threads.close()
    assert [
        each
        for each in caplog.messages
        if each.startswith("The worker ends although code of run lost")
    ]
    ended = threading.Event()
    threads.release(run, ended.set)
    assert not ended.is_set()
    gate.open()
    await soon(ended.is_set)


async def test_the_end_waits_for_teardowns(slots: Slots) -> None:
    threads = ThreadExecution(slots)
    ended: list[int] = []
    for number in range(5):
        threads.release(Run(str(number)), lambda number=number: ended.append(number))
    await threads.close()
    assert ended == [0, 1, 2, 3, 4]


async def test_the_end_waits_a_moment_only_for_a_teardown_that_blocks(
    slots: Slots,
    gate: WatchedGate,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("perdure.worker.workflow.threads.CLOSE_S", 0.01)
    threads = ThreadExecution(slots)
    threads.release(Run("slow"), lambda: void(gate.block()))
    await gate.is_entered()
    async with asyncio.timeout(LIMIT_S):
        await threads.close()
    assert [each for each in caplog.messages if "without waiting for code of run slow" in each]


async def test_a_teardown_that_blocks_costs_a_slot_but_not_its_run(
    threads: ThreadExecution, gate: WatchedGate, slots: Slots
) -> None:
    threads.release(Run("r"), lambda: void(gate.watched()))
    await soon(lambda: slots.withheld == 1)
    assert threads.blocked("r") is None
    assert await threads.run(Run("r"), lambda: "done") == "done"
    gate.open()
    await soon(lambda: slots.withheld == 0)


async def test_a_teardown_that_fails_is_logged(
    threads: ThreadExecution, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> None:
        raise LookupError("a bug")

    threads.release(Run(), fails)
    await threads.run(Run("next"), lambda: None)
    assert caplog.messages == ["A run was not torn down"]


async def test_a_run_whose_caller_left_is_torn_down_when_its_code_has_come_back(
    threads: ThreadExecution, gate: WatchedGate
) -> None:
    run = Run()
    caller = asyncio.create_task(threads.run(run, gate.block))
    await gate.is_entered()
    caller.cancel()
    await asyncio.wait([caller])
    ended = threading.Event()
    threads.release(run, ended.set)
    assert await threads.run(Run("other"), lambda: "done") == "done"
    assert not ended.is_set()
    gate.open()
    await soon(ended.is_set)


@pytest.mark.parametrize("is_released", [True, False])
def test_code_that_comes_back_after_the_loop_has_ended_tears_its_run_down(
    is_released: bool,
) -> None:
    gate, ended = WatchedGate(), threading.Event()
    before = set(threading.enumerate())

    async def program() -> None:
        threads = ThreadExecution(Slots(1))
        run = Run()
        await lose(threads, gate, run)
        if is_released:
            threads.release(run, ended.set)
        await threads.close()

    asyncio.run(program())
    assert not ended.is_set()
    gate.open()
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("perdure-workflows"):
            thread.join(LIMIT_S)
    assert ended.is_set() is is_released


async def test_threads_end_with_their_worker(slots: Slots) -> None:
    threads = ThreadExecution(slots)
    mine: Any = await threads.run(Run(), threading.current_thread)
    await threads.close()
    await asyncio.to_thread(mine.join, LIMIT_S)
    assert not mine.is_alive()
    assert mine.ident not in watchdog.owners


async def test_how_long_code_has_been_blocked_is_said(
    threads: ThreadExecution,
    gate: WatchedGate,
    slots: Slots,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await lose(threads, gate, Run("lost"))
    later = "perdure.worker.workflow.threads._monotonic_ns"
    monkeypatch.setattr(later, lambda: time.monotonic_ns() + 3_600 * SECOND_NS)
    found = re.search(r"since (\S+) \((\d+)\.\d s\) at ", threads.blocked("lost") or "")
    assert found is not None
    assert int(found[2]) >= 3_600
    assert datetime.now(UTC) - datetime.fromisoformat(found[1]) >= timedelta(hours=1)
    gate.open()
    await soon(lambda: slots.withheld == 0)
    found = re.search(r"came back after (\d+)\.\d s", caplog.messages[-1])
    assert found is not None
    assert int(found[1]) >= 3_600


async def test_a_verdict_on_code_that_has_ended_meanwhile_concerns_no_other(
    threads: ThreadExecution, gate: WatchedGate, slots: Slots
) -> None:
    """The watchdog tells a thread's owner without a lock, so the next code may be at work by then."""

    def work() -> tuple[int, Watch]:
        watch = watchdog.begin(3_600 * SECOND_NS, lambda: "the code of this test")
        assert watch is not None
        watchdog.end(watch)
        return watch.thread, watch

    thread, watch = await threads.run(Run("first"), work)
    tell_owner = watchdog.owners[thread]
    following = asyncio.create_task(threads.run(Run("next"), gate.block))
    await gate.is_entered()
    tell_owner(watch)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert slots.withheld == 0
    watch.ended = False
    tell_owner(watch)
    tell_owner(watch)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert slots.withheld == 1, "given up once"
    gate.open()
    with pytest.raises(DeadlockError):
        await following
    await soon(lambda: slots.withheld == 0)
    tell_owner(watch)  # now nothing is at work


async def test_code_that_comes_back_just_before_it_would_be_given_up_is_not(
    threads: ThreadExecution, slots: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[Callable[[], None]] = []
    come_back = threading.Event()

    def hold(callback: Callable[[], None]) -> None:
        held.append(callback)
        if len(held) == 2:
            come_back.set()

    def work() -> str:
        watch = watchdog.begin(3_600 * SECOND_NS, lambda: "the code of this test")
        assert watch is not None
        watchdog.owners[watch.thread](watch)
        watchdog.end(watch)
        return "result"

    with monkeypatch.context() as patched:
        patched.setattr(asyncio.get_running_loop(), "call_soon_threadsafe", hold)
        running = asyncio.ensure_future(threads.run(Run(), work))
        await asyncio.sleep(0)
        assert come_back.wait(LIMIT_S)
    for each in reversed(held):
        each()
    assert await running == "result"
    assert slots.withheld == 0


async def test_on_the_event_loop_the_end_waits_for_teardowns() -> None:
    execution, ended = EventLoopExecution(), list[str]()
    execution.release(Run(), lambda: ended.append("r"))
    await execution.close()
    assert ended == ["r"]
