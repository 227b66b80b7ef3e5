"""The watchdog: workflow code that never gives up control is stopped, and nothing else is."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import ClassVar

import pytest

from perdure import workflow
from perdure.worker.host import HostOptions
from perdure.worker.host import watchdog as watchdog_module
from perdure.worker.host.host import DeadlockError
from perdure.worker.host.watchdog import Watch, Watchdog, WorkflowDeadlock, place_of, watchdog
from tests.unit.worker_host.driver import Driver
from tests.unit.worker_host.programs import in_process


@workflow.defn
class Spins:
    reached: ClassVar[bool] = False

    @workflow.run
    async def run(self) -> None:
        try:
            while True:
                pass
        except Exception:  # noqa: BLE001  # users write this
            Spins.reached = True


def test_a_workflow_that_spins_is_stopped(caplog: pytest.LogCaptureFixture) -> None:
    run = Driver(Spins, HostOptions(deadlock_budget_ns=100_000_000))
    # On a machine that gives it little CPU time, five times as much of the wall's comes first.
    with pytest.raises(DeadlockError, match=r"\[TMPRL1101\].*(CPU time|blocked for)"):
        run.start()
    assert not Spins.reached
    said = caplog.messages[-1]  # perhaps after a report, where the machine gives it little CPU time
    assert said.startswith("Workflow Spins (id w, run r) is stopped: it ")
    assert __file__ in said.partition("Its stack:")[2]


@workflow.defn
class SpinsInTasks:
    """Gives way to itself forever: the watchdog's exception may arrive in asyncio's own code."""

    @workflow.run
    async def run(self) -> None:
        while True:
            await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0), return_exceptions=True)


@workflow.defn
class SpinsThroughEverything:
    caught: ClassVar[int] = 0

    @workflow.run
    async def run(self) -> None:
        while SpinsThroughEverything.caught < 3:
            try:
                while True:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            except BaseException:  # noqa: BLE001  # users write this
                SpinsThroughEverything.caught += 1
        await workflow.wait_condition(lambda: False)


@pytest.mark.parametrize("kind", [SpinsInTasks, SpinsThroughEverything])
def test_a_workflow_that_awaits_nothing_that_waits_is_stopped(kind: type) -> None:
    run = Driver(kind, HostOptions(deadlock_budget_ns=100_000_000))
    with pytest.raises(DeadlockError, match=r"\[TMPRL1101\]"):
        run.start()


@workflow.defn
class SpinsAndSwallows:
    """Would go on forever, but for the test's own limit."""

    caught: ClassVar[int] = 0

    @workflow.run
    async def run(self) -> None:
        while SpinsAndSwallows.caught < 20:
            try:
                while True:
                    for _ in range(10_000):  # nearly all of the time is spent here
                        pass
                    await asyncio.sleep(0)
            except BaseException:  # noqa: BLE001  # users write this
                SpinsAndSwallows.caught += 1


SWALLOWED = """
from perdure.worker.host import HostOptions
from tests.unit.worker_host.driver import Driver
from tests.unit.worker_host.test_watchdog import SpinsAndSwallows

try:
    Driver(SpinsAndSwallows, HostOptions(deadlock_budget_ns=20_000_000)).start()
except Exception as error:
    assert "TMPRL1101" in str(error)
    print("in between" if SpinsAndSwallows.caught < 20 else "in the middle")
"""


def test_nobody_can_swallow_the_end_of_code_that_awaits() -> None:
    """The loop ends between two steps. In a process of its own, whose watchdog looks as often as the budget says."""
    assert in_process(SWALLOWED) == ("in between\n", 0)


@workflow.defn
class Blocks:
    @workflow.run
    async def run(self) -> None:
        with workflow.unsafe.sandbox_unrestricted():
            for _ in range(300):
                time.sleep(0.01)  # noqa: ASYNC251


def test_a_workflow_that_blocks_is_stopped() -> None:
    run = Driver(Blocks, HostOptions(deadlock_budget_ns=50_000_000))
    with pytest.raises(DeadlockError, match=r"blocked|CPU time"):
        run.start()


TRACED = """
import sys
from perdure.worker.host import HostOptions
from tests.unit.worker_host.driver import Driver
from tests.unit.worker_host.test_watchdog import Spins, SpinsInTasks

for kind in (Spins, SpinsInTasks):
    try:
        Driver(kind, HostOptions(deadlock_budget_ns=100_000_000)).start()
    except Exception as error:
        assert "TMPRL1101" in str(error)

def traced() -> None: ...

sys.settrace(lambda *_: None)
traced()
print("traced")
"""


def test_debuggers_work_after_a_workflow_was_stopped() -> None:
    """An exception that is raised in a thread and then taken back makes CPython 3.11 loop in traced functions."""
    assert in_process(TRACED) == ("traced\n", 0)


@workflow.defn
class SpinsForAWhile:
    """Ends by itself, so that a watchdog that does not come fails the test instead of hanging it."""

    @workflow.run
    async def run(self) -> None:
        for _ in range(300_000_000):
            pass


def test_a_new_watchdog_begins_to_look() -> None:
    fresh = Watchdog()
    watch = fresh.begin(100_000_000, lambda: "this test")
    assert watch is not None
    try:
        with pytest.raises(WorkflowDeadlock):
            for _ in range(300_000_000):
                pass
    finally:
        fresh.end(watch)


def test_a_workflow_is_stopped_although_another_thread_is_at_work_since_before() -> None:
    began, over = threading.Event(), threading.Event()

    def work() -> None:
        watch = watchdog.begin(3_600_000_000_000, lambda: "the other thread")
        assert watch is not None
        began.set()
        over.wait(60)
        watchdog.end(watch)

    other = threading.Thread(target=work)
    other.start()
    try:
        began.wait(60)
        with pytest.raises(DeadlockError):
            Driver(SpinsForAWhile, HostOptions(deadlock_budget_ns=100_000_000)).start()
    finally:
        over.set()
        other.join()


# Verdicts -----------------------------------------------------------------------------------------

HOUR_NS = 3_600_000_000_000


def verdict(*, wall_h: int = 0, cpu_h: int = 0, budget_h: int = 1) -> str:
    """What is said of an activation that began this long ago."""
    watch = Watch(budget_h * HOUR_NS, lambda: "this test")
    watch.started_ns -= wall_h * HOUR_NS
    watch.started_cpu_ns -= cpu_h * HOUR_NS
    return watch.verdict() or ""


def test_cpu_time_counts_at_once_and_other_time_after_five_budgets() -> None:
    assert verdict() == ""
    assert verdict(wall_h=4) == "", "it may wait for its turn"
    assert verdict(wall_h=6).startswith("it has been blocked for 21600.")
    assert verdict(wall_h=9, budget_h=2) == ""
    assert verdict(cpu_h=2).startswith("it used 7200.")
    assert verdict(cpu_h=2, wall_h=6).startswith("it used 7200."), "which says more"
    assert verdict(cpu_h=2, budget_h=3) == ""


def test_all_time_counts_where_there_is_no_clock_for_cpu_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(time, "pthread_getcpuclockid", raising=False)
    assert verdict() == ""
    assert verdict(wall_h=2).startswith("it used 7200.")
    assert verdict(wall_h=2, budget_h=3) == ""


def test_without_a_budget_nothing_is_watched() -> None:
    fresh = Watchdog()
    assert fresh.begin(0, lambda: "this test") is None
    assert fresh.begin(-1, lambda: "this test") is None
    watch = fresh.begin(1_000_000_000_000, lambda: "this test")
    assert watch is not None
    fresh.end(watch)
    assert not fresh._watches, "what has ended is forgotten"


def test_a_thread_that_stands_still_is_stopped_after_two_budgets() -> None:
    watch = Watch(HOUR_NS, lambda: "this test")
    watch.started_ns -= 2 * HOUR_NS
    watch._still_since_ns -= 2 * HOUR_NS
    # A thread that has used CPU time since the last look does not stand still.
    watch._still_cpu_ns = -HOUR_NS
    assert watch.verdict() is None
    watch._still_since_ns -= 2 * HOUR_NS
    watch._still_cpu_ns += HOUR_NS // 2
    assert (watch.verdict() or "").startswith("it has been blocked for 7200.")


def test_what_came_back_is_neither_late_nor_overdue() -> None:
    watch = Watch(HOUR_NS, lambda: "this test")
    assert not watch.is_late
    watch.started_ns -= 2 * HOUR_NS
    assert watch.is_late
    watch.tripped_ns = watch.started_ns
    assert not watch.is_overdue, "nothing was raised in it"
    watch.why = "it was late"
    assert watch.is_overdue
    watch.tripped_ns += 2 * HOUR_NS
    assert not watch.is_overdue


def looking(monkeypatch: pytest.MonkeyPatch, now_ns: int, due_ns: int) -> Watchdog:
    """A watchdog that looks at the given time, when it had to look at another."""
    fresh = Watchdog()
    fresh._asleep, fresh._shortest_ns = False, 1  # no thread
    monkeypatch.setattr(watchdog_module, "_monotonic_ns", lambda: now_ns)
    fresh._due_ns = due_ns
    return fresh


MIN_NS = 60_000_000_000


@pytest.mark.parametrize(
    ("late_ns", "is_stopped"), [(0, True), (MIN_NS // 200, True), (5 * HOUR_NS, False)]
)
def test_time_in_which_the_whole_process_stood_still_does_not_count(
    late_ns: int, is_stopped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns = time.monotonic_ns()
    fresh = looking(monkeypatch, now_ns, now_ns - late_ns)
    watch = fresh.begin(HOUR_NS, lambda: "this test")
    assert watch is not None
    watch.started_ns = watch._still_since_ns = now_ns - 5 * HOUR_NS - MIN_NS
    try:
        assert fresh._look() == 1
        assert (watch.why is not None) is is_stopped
        if not is_stopped:
            assert watch.started_ns == watch._still_since_ns == now_ns - MIN_NS
            assert not watch.is_late
    except WorkflowDeadlock:
        assert is_stopped
    finally:
        fresh.end(watch)


def test_what_began_while_the_process_stood_still_begins_now() -> None:
    watch = Watch(HOUR_NS, lambda: "this test")
    watch.started_ns, watch._still_since_ns, watch.tripped_ns = 70, 10, 40
    watch.skip(50, 100)
    assert (watch.started_ns, watch._still_since_ns, watch.tripped_ns) == (100, 60, 90)
    watch.started_ns = 200
    watch.skip(50, 100)
    assert watch.started_ns == 200


def test_the_watchdog_knows_when_it_has_to_look() -> None:
    fresh = Watchdog()
    before_ns = time.monotonic_ns()
    watch = fresh.begin(HOUR_NS, lambda: "this test")
    assert watch is not None
    end_s = time.monotonic() + 60
    while fresh._due_ns < before_ns + 500_000_000:
        assert time.monotonic() < end_s
        time.sleep(0.001)
    fresh.end(watch)


@workflow.defn
class BlocksAtItsEnd:
    opened: ClassVar[threading.Event] = threading.Event()
    ended: ClassVar[list[str]] = []

    @workflow.run
    async def run(self) -> None:
        try:
            await workflow.wait_condition(lambda: False)
        finally:
            try:
                while True:
                    pass
            finally:
                BlocksAtItsEnd.ended.append("ended")


def test_a_teardown_that_does_not_end_is_stopped(caplog: pytest.LogCaptureFixture) -> None:
    run = Driver(BlocksAtItsEnd, HostOptions(deadlock_budget_ns=100_000_000))
    run.start()
    run.host.close()
    assert BlocksAtItsEnd.ended == ["ended"]
    assert caplog.messages[-1].startswith(
        "The eviction of Workflow BlocksAtItsEnd (id w, run r) is"
    )


def test_a_smaller_budget_is_looked_at_more_often() -> None:
    fresh = Watchdog()
    for budget_ns, period_s in ((HOUR_NS, 0.5), (40_000_000, 0.01), (HOUR_NS, 0.01)):
        watch = fresh.begin(budget_ns, lambda: "this test")
        assert watch is not None
        fresh.end(watch)
        assert fresh._period == period_s


def test_a_place_without_source_is_its_line_alone() -> None:
    names: dict[str, Callable[..., object]] = {}
    source = "def go(ready, go_on):\n    ready.set()\n    go_on.wait(60)\n"
    exec(compile(source, "/nowhere/made.py", "exec"), names)
    ready, go_on = threading.Event(), threading.Event()
    thread = threading.Thread(target=names["go"], args=(ready, go_on))
    thread.start()
    assert ready.wait(60)
    place, stack = place_of(thread.ident or 0)
    go_on.set()
    thread.join()
    assert place.startswith("/nowhere/made.py:")
    assert place.endswith(" in go")
    assert "made.py" in stack
    assert place_of(0) == ("an unknown place", "")
