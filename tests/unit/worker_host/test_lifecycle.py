"""Teardown, pinned asyncio functions, batch modes."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.core.loop import DeterministicLoop, LoopTimer, UnsupportedCall
from perdure.replay import commands
from perdure.worker.host import HostOptions
from perdure.worker.host.options import WaitForProfile
from perdure.worker.host.state import SINGLE_BATCH
from perdure.worker.host.teardown import graveyard
from tests.unit.worker_host.doing import TO_ASK, doing
from tests.unit.worker_host.driver import Driver, names, result
from tests.unit.worker_host.programs import in_process

SECOND = timedelta(seconds=1)
JOURNAL: list[str] = []


@activity.defn
async def act() -> None: ...


@workflow.defn
class CleansUp:
    def __init__(self) -> None:
        self.tasks: list[Any] = []

    @workflow.run
    async def run(self) -> None:
        self.tasks.append(asyncio.create_task(self.child()))
        try:
            await workflow.sleep(10)
        finally:
            JOURNAL.append("run")
            await workflow.execute_activity(act, start_to_close_timeout=SECOND)
            JOURNAL.append("not reached")

    async def child(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.grandchild())
                await asyncio.Event().wait()
        finally:
            JOURNAL.append("child")

    async def grandchild(self) -> None:
        try:
            async for _ in self.numbers():
                await workflow.sleep(5)
        finally:
            JOURNAL.append("grandchild")

    async def numbers(self) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            JOURNAL.append("numbers")


def test_teardown_closes_the_youngest_first_and_issues_nothing() -> None:
    JOURNAL.clear()
    run = Driver(CleansUp)
    assert names(run.start()) == ["StartTimer", "StartTimer"]
    buried = len(graveyard)
    run.host.close()
    assert JOURNAL == ["numbers", "grandchild", "child", "run"]
    assert len(graveyard) == buried
    run.host.close()
    assert len(JOURNAL) == 4


@workflow.defn
class NeverEnds:
    @workflow.run
    async def run(self) -> None:
        while True:
            try:
                await workflow.wait_condition(lambda: False)
            except BaseException:  # noqa: BLE001  # the bug that is tested
                JOURNAL.append("swallowed")


def test_a_coroutine_that_refuses_to_end_is_buried() -> None:
    JOURNAL.clear()
    run = Driver(NeverEnds)
    run.start()
    buried = len(graveyard)
    run.host.close()
    assert "swallowed" in JOURNAL
    assert len(graveyard) == buried + 1
    del run
    Driver.opened.clear()
    count = len(JOURNAL)
    gc.collect()
    assert len(JOURNAL) == count


def test_a_closed_run_leaves_memory() -> None:
    run = Driver(CleansUp)
    run.start()
    state = weakref.ref(run.host._state)
    run.host.close()
    Driver.opened.clear()
    del run
    gc.collect()
    assert state() is None


PENDING: dict[str, Callable[[], Any]] = {
    "activity": lambda: workflow.start_activity(act, start_to_close_timeout=SECOND),
    "child": lambda: workflow.start_child_workflow("C", id="c"),
    "signal": lambda: workflow.get_external_workflow_handle("o").signal("s"),
    "cancel request": lambda: workflow.get_external_workflow_handle("o").cancel(),
    "condition": lambda: workflow.wait_condition(lambda: False),
    "condition with a time-out": lambda: workflow.wait_condition(lambda: False, timeout=5),
    "timer": lambda: workflow.sleep(5),
    "random numbers": lambda: (workflow.new_random("own"), asyncio.Event().wait())[1],
    "handlers": lambda: (workflow.set_signal_handler("s", print), asyncio.Event().wait())[1],
}


@pytest.mark.parametrize("what", PENDING)
def test_a_closed_run_lets_go_of_whatever_it_waited_for(what: str) -> None:
    """What pointed back to the run would keep it, and what it holds, until the next garbage collection."""
    run, _ = doing(PENDING[what])
    state: Any = run.host._state
    assert state.activation is None, "it would keep a page of history"
    run.host.close()
    tables = (
        "activities", "children", "external_signals", "external_cancels", "conditions", "seed_callbacks",
        "unanswered_queries", "primary_task", "instance", "workflow_input",
    )  # fmt: skip
    assert {name: getattr(state, name) for name in tables if getattr(state, name)} == {}
    assert [name for name in ("loop", "converters", "outbound") if hasattr(state, name)] == []


STUBBORN = """
from perdure import workflow
from perdure.worker.host import HostOptions
from tests.unit.worker_host.driver import Driver

@workflow.defn(sandboxed=False)
class Stubborn:
    @workflow.run
    async def run(self) -> None:
        while True:
            try:
                await workflow.sleep(10)
            except:
                pass

run = Driver(Stubborn, HostOptions())
run.start()
run.host.close()
print("closed")
"""


def test_a_process_ends_although_a_coroutine_refused_to() -> None:
    assert in_process(STUBBORN) == ("closed\n", 0)


# wait_for profiles --------------------------------------------------------------------------------


@workflow.defn
class WaitFor:
    @workflow.run
    async def run(self) -> None:
        await asyncio.gather(asyncio.wait_for(self.activity("a"), 5), self.activity("b"))

    async def activity(self, name: str) -> None:
        await workflow.execute_activity(name, start_to_close_timeout=SECOND)


@pytest.mark.parametrize(
    ("profile", "order"), [(WaitForProfile.PY311, "ba"), (WaitForProfile.PY312, "ab")]
)
def test_wait_for_starts_coroutines_as_the_profile_says(
    profile: WaitForProfile, order: str
) -> None:
    run = Driver(WaitFor, HostOptions(wait_for_profile=profile))
    found = run.start()
    assert names(found) == ["StartTimer", "ScheduleActivity", "ScheduleActivity"]
    scheduled = [c for c in found if isinstance(c, commands.ScheduleActivity)]
    assert [command.activity_type for command in scheduled] == list(order)
    assert run.host.wait_for_profile_matters


@workflow.defn
class WaitForOutcomes:
    @workflow.run
    async def run(self) -> list[str]:
        seen: list[str] = []
        for timeout in (None, 0, 5, 6):
            try:
                seen.append(await asyncio.wait_for(self.work(timeout), timeout))
            except TimeoutError:
                seen.append("timeout")
        return seen

    async def work(self, timeout: float | None) -> str:
        if timeout == 6:
            await workflow.wait_condition(lambda: False)
        return f"done {timeout}"


@pytest.mark.parametrize("profile", list(WaitForProfile))
def test_both_profiles_have_the_same_outcomes(profile: WaitForProfile) -> None:
    run = Driver(WaitForOutcomes, HostOptions(wait_for_profile=profile))
    assert names(run.start()) == ["StartTimer", "CancelTimer", "StartTimer"]
    assert result(run.fire_timer(2)) == ["done None", "timeout", "done 5", "timeout"]


@pytest.mark.parametrize("profile", list(WaitForProfile))
def test_a_cancelled_wait_for_cancels_what_it_waits_for(profile: WaitForProfile) -> None:
    run = Driver(CancelledWait, HostOptions(wait_for_profile=profile))
    assert names(run.start()) == ["StartTimer", "ScheduleActivity"]
    assert names(run.cancel())[:1] == ["RequestCancelActivity"]


@workflow.defn
class CancelledWait:
    @workflow.run
    async def run(self) -> None:
        await asyncio.wait_for(
            workflow.execute_activity("a", start_to_close_timeout=SECOND), timeout=5
        )


async def test_outside_workflows_asyncio_is_its_own() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 1

    assert await asyncio.wait_for(work(), 5) == 1
    done, pending = await asyncio.wait([asyncio.create_task(work())])
    assert isinstance(done, set)
    assert not pending
    assert [await earliest for earliest in asyncio.as_completed([work()])] == [1]


# Batch modes --------------------------------------------------------------------------------------


@workflow.defn
class Batches:
    def __init__(self) -> None:
        self.seen: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        self.seen.append("run")
        await workflow.sleep(1)
        return self.seen

    @workflow.signal
    async def put(self) -> None:
        self.seen.append("sync")
        await asyncio.sleep(0)
        self.seen.append("after a tick")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (frozenset[int](), ["sync", "after a tick", "run"]),
        (frozenset({SINGLE_BATCH}), ["sync", "run", "after a tick"]),
    ],
)
def test_batch_modes(flags: frozenset[int], expected: list[str]) -> None:
    run = Driver(Batches, HostOptions(default_flags=flags))
    run.start(also=(run.signal_job("put"),))
    assert set(run.used_flags) == flags
    assert result(run.fire_timer(1)) == expected


# The loop alone -----------------------------------------------------------------------------------


class Steps(DeterministicLoop):
    now_ns = 0

    def __init__(self) -> None:
        super().__init__()
        self.started: list[tuple[int, float]] = []

    def clock_ns(self) -> int:
        return self.now_ns

    def timer_started(self, timer: LoopTimer, delay: float) -> None:
        self.started.append((timer.seq, delay))

    def timer_cancelled(self, timer: LoopTimer) -> None:
        self.started.append((-timer.seq, 0))


def test_the_loop_runs_in_order_and_keeps_the_outer_loop() -> None:
    loop = Steps()
    seen: list[int] = []

    async def step(n: int) -> None:
        seen.append(n)
        await asyncio.sleep(0)
        seen.append(n + 10)

    async def outer() -> None:
        before = asyncio.get_running_loop()
        with loop.running():
            assert asyncio.get_running_loop() is loop
            for n in range(3):
                loop.create_task(step(n))
            loop.drain()
        assert asyncio.get_running_loop() is before

    asyncio.run(outer())
    assert seen == [0, 1, 2, 10, 11, 12]
    assert loop.tasks == ()


def test_timers_of_the_loop() -> None:
    loop = Steps()
    loop.now_ns = 1_700_000_000_123_456_789
    with loop.running():
        timer = loop.call_later(1.5, print)
        loop.call_at(loop.time() + 0.1, print)
        timer.cancel()
    assert loop.started == [(1, 1.5), (2, 0.1), (-1, 0)]
    with pytest.raises(RuntimeError, match="in the past"):
        loop.call_later(-1, print)


@pytest.mark.parametrize("call", ["run_in_executor", "create_connection", "add_signal_handler"])
def test_the_loop_refuses_what_is_not_deterministic(call: str) -> None:
    with pytest.raises(UnsupportedCall, match=call):
        getattr(Steps(), call)()


def test_a_query_evaluates_no_conditions() -> None:
    """It is not repeated on replay, so what a condition finds then, such as the time, must not count."""
    evaluated: list[int] = []

    async def wait() -> None:
        await workflow.wait_condition(lambda: evaluated.append(workflow.time_ns()) is not None)

    run, _ = doing(wait, lambda: None)
    TO_ASK[:] = [lambda: "answer"]
    before = list(evaluated)
    assert run.ask("ask") == "answer"
    assert evaluated == before
    run.signal("hear")
    assert evaluated[-1] == run.now_ns
