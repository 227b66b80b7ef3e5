"""`simulate` finds what a plain test misses: three planted bugs, each of which passes an ordinary test first."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.testing import Outcome, Signal, SimulationFailed, WorkflowEnvironment, simulate
from perdure.testing.simulator import (
    ActivityFails,
    AnswerLate,
    DiesAfterExecuting,
    ServerDies,
    SignalOvertakes,
    SignalTwice,
    WorkerDies,
)
from perdure.worker import Worker

HOUR = timedelta(hours=1)


class Shop:
    """A fake of the outside world. `charge_once` has an idempotency key, `charge` has none."""

    def __init__(self) -> None:
        self.charges: list[str] = []
        self.keys: set[str] = set()

    @activity.defn
    async def charge(self, order: str) -> str:
        self.charges.append(order)
        return "paid"

    @activity.defn
    def charge_once(self, order: str) -> str:
        key = activity.info().activity_id
        if key not in self.keys:
            self.keys.add(key)
            self.charges.append(order)
        return "paid"

    @property
    def activities(self) -> Sequence[Callable[..., Any]]:
        return [self.charge, self.charge_once]


@workflow.defn
class Careless:
    """Planted bug 1: the charge has no idempotency key."""

    @workflow.run
    async def run(self, order: str) -> str:
        return await workflow.execute_activity_method(
            Shop.charge, order, start_to_close_timeout=HOUR
        )


@workflow.defn
class Careful:
    """The same, put right; with a long wait in the middle."""

    def __init__(self) -> None:
        self.approved = False

    @workflow.signal
    def approve(self) -> None:
        self.approved = True

    @workflow.run
    async def run(self, order: str) -> str:
        await workflow.wait_condition(lambda: self.approved)
        await workflow.sleep(timedelta(days=30))
        return await workflow.execute_activity_method(
            Shop.charge_once, order, start_to_close_timeout=HOUR
        )


_calls = itertools.count()


@workflow.defn
class Forgetful:
    """Planted bug 2: what it does depends on a global of its module, which a replay finds changed."""

    @workflow.run
    async def run(self, order: str) -> str:
        if next(_calls) % 2 == 0:
            await workflow.sleep(60)
        await workflow.sleep(60)
        return await workflow.execute_activity_method(
            Shop.charge_once, order, start_to_close_timeout=HOUR
        )


@workflow.defn
class Impatient:
    """Planted bug 3: a signal that comes before its time is dropped."""

    def __init__(self) -> None:
        self.is_open = self.is_shipped = False

    @workflow.signal
    def opened(self) -> None:
        self.is_open = True

    @workflow.signal
    def ship(self) -> None:
        if self.is_open:
            self.is_shipped = True

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.is_shipped)
        return "shipped"


@workflow.defn
class Counting:
    """Breaks only under two faults at once: a repeated signal and a repeated activity."""

    def __init__(self) -> None:
        self.count = 0

    @workflow.signal
    def add(self) -> None:
        self.count += 1

    @workflow.run
    async def run(self, order: str) -> int:
        await workflow.sleep(HOUR)
        await workflow.execute_activity_method(Shop.charge, order, start_to_close_timeout=HOUR)
        return self.count


def paid(outcome: Outcome) -> None:
    assert outcome.result == "paid", f"ended with {outcome.error!r}"


def charged_once(outcome: Outcome) -> None:
    count = len(outcome.world.charges)
    assert count == 1, f"charged {count} times"


async def plainly(run: Any, *args: Any, signals: Sequence[Any] = ()) -> tuple[Any, Shop]:
    """What an ordinary test does, and what it sees."""
    shop = Shop()
    cls = run.__globals__[run.__qualname__.partition(".")[0]]
    async with (
        await WorkflowEnvironment.start_time_skipping() as env,
        Worker(
            env.client,
            task_queue="q",
            workflows=[cls],
            activities=shop.activities,
            activity_executor=ThreadPoolExecutor(2),
        ),
    ):
        handle = await env.client.start_workflow(run, args=args, id="w", task_queue="q")
        for signal in signals:
            await handle.signal(signal)
        return await handle.result(), shop


def failure_of(*args: Any, **options: Any) -> SimulationFailed:
    with pytest.raises(SimulationFailed) as caught:
        simulate(*args, world=Shop, activities=lambda shop: shop.activities, **options)
    return caught.value


def test_bug_1_a_charge_without_a_key() -> None:
    result, shop = asyncio.run(plainly(Careless.run, "order-7"))
    assert (result, shop.charges) == ("paid", ["order-7"]), "the plain test passes"

    error = failure_of(Careless.run, "order-7", invariants=[paid, charged_once], seeds=5)
    failure = error.failure
    assert failure.promise == "charged_once"
    assert failure.message.startswith("charged 2 times")
    assert len(failure.faults) == 1
    text = str(error)
    assert f"with seed {failure.seed}" in text
    assert failure.faults[0].words() in text
    again = failure_of(
        Careless.run,
        "order-7",
        invariants=[charged_once],
        seeds=[failure.seed],
        schedule=failure.faults,
    )
    assert again.failure.outcome.notes == failure.outcome.notes


def test_bug_2_code_that_is_not_deterministic() -> None:
    result, _ = asyncio.run(plainly(Forgetful.run, "order-7"))
    assert result == "paid", "the plain test passes"

    failure = failure_of(Forgetful.run, "order-7", invariants=[paid], seeds=5).failure
    assert failure.promise == "no workflow task fails"
    assert len(failure.faults) == 1
    assert isinstance(failure.faults[0], WorkerDies)


def test_bug_3_a_signal_before_its_time() -> None:
    result, _ = asyncio.run(plainly(Impatient.run, signals=[Impatient.opened, Impatient.ship]))
    assert result == "shipped", "the plain test passes"

    signals = [Signal(Impatient.opened, after=HOUR), Signal(Impatient.ship, after=2 * HOUR)]
    error = failure_of(Impatient.run, signals=signals, seeds=5)
    assert error.failure.promise == "the workflow ends"
    (fault,) = error.failure.faults
    assert isinstance(fault, SignalOvertakes)
    assert "the 2nd signal (ship) arrives before the one before it" in str(error)


def test_a_workflow_that_keeps_its_promises_survives_everything() -> None:
    report = simulate(
        Careful.run,
        "order-7",
        world=Shop,
        activities=lambda shop: shop.activities,
        signals=[Signal(Careful.approve, after=timedelta(days=2))],
        invariants=[paid, charged_once],
        seeds=8,
    )
    kinds = {
        "WorkerDies", "ServerDies", "DiesAfterExecuting", "ActivityFails", "ActivityLate",
        "AnswerLate", "SignalLate", "SignalTwice",
    }  # fmt: skip
    assert report.tried.keys() == kinds
    assert report.runs > 20
    assert report.events > 10


def test_two_faults_at_once_are_found_and_nothing_else_is_blamed() -> None:
    def not_both(outcome: Outcome) -> bool:
        return not (len(outcome.world.charges) > 1 and outcome.result == 2)

    error = failure_of(
        Counting.run,
        "order-7",
        signals=[Signal(Counting.add)],
        invariants=[not_both],
        seeds=40,
        faults=[SignalTwice, DiesAfterExecuting, ActivityFails],
    )
    kinds = {type(fault) for fault in error.failure.faults}
    assert kinds == {SignalTwice, DiesAfterExecuting}


@pytest.mark.parametrize(
    "fault",
    [
        DiesAfterExecuting(activity="charge"),
        AnswerLate(activity="charge", delay_ns=2 * 3_600 * 10**9),
    ],
    ids=["dies", "late"],
)
def test_an_activity_is_executed_twice_by(fault: Any) -> None:
    failure = failure_of(
        Careless.run, "o", invariants=[charged_once], seeds=[3], schedule=[fault]
    ).failure
    assert [each.attempt for each in failure.outcome.executed("charge")] == [1, 2]


def test_the_same_seed_and_schedule_give_the_same_run() -> None:
    seen: list[tuple[Any, ...]] = []

    def remember(outcome: Outcome) -> None:
        events = [(event.event_type, event.event_time.ToNanoseconds()) for event in outcome.events]
        seen.append((events, outcome.notes, outcome.result))

    for _ in range(2):
        simulate(
            Careful.run,
            "order-7",
            world=Shop,
            activities=lambda shop: shop.activities,
            signals=[Signal("approve", after=HOUR)],
            invariants=[remember],
            seeds=[11],
            schedule=[ServerDies(after_event=5), DiesAfterExecuting(activity="charge_once")],
        )
    assert seen[0] == seen[1]
    assert any("the server is back" in note for note in seen[0][1])


async def test_it_needs_a_thread_without_a_loop() -> None:
    with pytest.raises(RuntimeError, match="plain function"):
        simulate(Careful.run, "order-7")


@workflow.defn
class LastWord:
    """Ends at once when it hears a word; a second one may come while it ends, which is nobody's fault."""

    def __init__(self) -> None:
        self.word = ""

    @workflow.signal
    def say(self, word: str) -> None:
        self.word = self.word or word

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: bool(self.word))
        return self.word


def test_a_signal_that_comes_while_the_workflow_ends_is_no_failure() -> None:
    signals = [Signal(LastWord.say, "yes", after=HOUR)]
    report = simulate(LastWord.run, signals=signals, seeds=5)
    assert "SignalTwice" in report.tried


def test_an_invariant_that_raises_is_reported_with_its_schedule() -> None:
    def looks_at_the_result(outcome: Outcome) -> None:
        assert outcome.result.startswith("p")

    failure = failure_of(
        Careless.run,
        "o",
        invariants=[looks_at_the_result],
        execution_timeout=timedelta(seconds=1),
        seeds=1,
    ).failure
    assert failure.promise == "looks_at_the_result"
    assert "AttributeError" in failure.message
    assert "TimeoutError" in failure.message, "and why there was no result"


_memory: list[str] = []


@workflow.defn
class Remembering:
    """Planted bug: a cache in its module, which every run but the first finds filled."""

    @workflow.run
    async def run(self, order: str) -> str:
        if not _memory:
            _memory.append("asked")
            await workflow.sleep(60)
        return "paid"


def test_what_outlives_a_run_is_found() -> None:
    _memory.clear()
    failure = failure_of(Remembering.run, "o", seeds=1, faults=[ActivityFails]).failure
    assert failure.promise == "the same run happens again"
    assert "TIMER_STARTED in the first run" in failure.message


@activity.defn
async def in_a_thread() -> None:
    await asyncio.to_thread(print)


@activity.defn
async def over_the_network() -> None:
    await asyncio.open_connection("localhost", 1)


@workflow.defn
class Outside:
    @workflow.run
    async def run(self, name: str) -> None:
        await workflow.execute_activity(name, start_to_close_timeout=HOUR)


@pytest.mark.parametrize(
    ("name", "words"), [("in_a_thread", "no threads"), ("over_the_network", "no sockets")]
)
def test_what_does_not_exist_on_a_virtual_clock_is_said(name: str, words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        simulate(Outside.run, name, activities=[in_a_thread, over_the_network], seeds=1)


def test_wrong_use_is_told() -> None:
    for signals in ([LastWord.say], [Signal("say"), "say"], ["say", Signal("say")]):
        with pytest.raises(TypeError, match="signals are Signal"):
            simulate(LastWord.run, signals=signals)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="id itself"):
        simulate(LastWord.run, id="mine")


@activity.defn
def always_fails() -> None:
    raise ValueError("again")


def test_a_long_report_shows_the_last_executions() -> None:
    with pytest.raises(SimulationFailed) as caught:
        simulate(
            Outside.run,
            "always_fails",
            activities=[always_fails],
            run_timeout=timedelta(days=3),
            invariants=[paid],
            seeds=1,
        )
    assert "before these" in str(caught.value)


@workflow.defn
class WithChild:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_child_workflow(LastWord.run, id="child")


def test_a_child_that_no_worker_knows_ends_the_simulation() -> None:
    with pytest.raises(SimulationFailed, match=r"task of child fails.*is its class in `workflows`"):
        simulate(WithChild.run, seeds=1)


def test_what_the_worker_refuses_is_the_tests_mistake() -> None:
    async def undecorated() -> None: ...

    with pytest.raises(Exception, match="undecorated"):
        simulate(Careless.run, "o", activities=[undecorated], seeds=1)
