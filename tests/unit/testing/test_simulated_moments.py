"""What happens at the edges of a simulated run: at its last event, after its end, and while the server is away."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.testing import Outcome, Signal
from perdure.testing.simulation.scenario import Scenario
from perdure.testing.simulation.search import singles
from perdure.testing.simulation.world import Universe
from perdure.testing.simulator import (
    ActivityFails,
    ActivityLate,
    AnswerLate,
    DiesAfterExecuting,
    Execution,
    Fault,
    ServerDies,
    WorkerDies,
)
from perdure.wire.api import enums

HOUR = timedelta(hours=1)
HALF_S = 1_800.0
DAY = timedelta(days=1)
SECOND_NS = 10**9


class Site:
    """A fake of the outside world that counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    @activity.defn
    async def ask(self) -> str:
        self.asked += 1
        return "done"


@workflow.defn
class Asks:
    @workflow.signal
    def hear(self, word: str) -> None: ...

    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity_method(Site.ask, start_to_close_timeout=HOUR)


@workflow.defn
class Sleeps:
    @workflow.signal
    def hear(self, word: str) -> None: ...

    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(HOUR)


@workflow.defn
class Child:
    @workflow.run
    async def run(self) -> None:
        for _ in range(10):
            await workflow.sleep(HOUR)


@workflow.defn
class Parent:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_child_workflow(Child.run, id="child")


def activities(site: Site) -> Sequence[Callable[..., Any]]:
    return [site.ask]


def universe(
    cls: Any, *faults: Fault, signals: Sequence[Signal] = (), workflows: Sequence[type] = ()
) -> Universe:
    scenario = Scenario(
        cls.run, (), workflows or (cls,), activities, signals, Site, timedelta(days=30)
    )
    return Universe(scenario, 1, faults)


def play(cls: Any, *faults: Fault, **options: Any) -> Outcome:
    return universe(cls, *faults, **options).run()


def words(outcome: Outcome) -> list[str]:
    return [note.split(" s  ")[1] for note in outcome.notes]


def times_s(outcome: Outcome, event_type: int) -> list[float]:
    """When events of this type happened, in seconds after the start."""
    began_ns = outcome.events[0].event_time.ToNanoseconds()
    return [
        (event.event_time.ToNanoseconds() - began_ns) / SECOND_NS
        for event in outcome.events
        if event.event_type == event_type
    ]


@pytest.mark.parametrize("kind", [WorkerDies, ServerDies])
def test_a_death_after_the_last_event_happens_and_is_got_over(kind: Any) -> None:
    last = len(play(Asks).events)
    fault = kind(after_event=last)
    outcome = play(Asks, fault)
    assert len(outcome.events) == last
    assert words(outcome)[0] == fault.words()
    assert words(outcome)[1].endswith(("is back", "is up"))
    assert words(play(Asks, kind(after_event=last + 1))) == []


@pytest.mark.parametrize(
    "fault",
    [
        ActivityFails(activity="ask"),
        ActivityLate(activity="ask", delay_ns=SECOND_NS),
        AnswerLate(activity="ask", delay_ns=SECOND_NS),
        DiesAfterExecuting(activity="ask"),
        ServerDies(after_event=5),
        WorkerDies(after_event=5),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_a_fault_that_strikes_is_noted_once(fault: Fault) -> None:
    outcome = play(Asks, fault)
    assert outcome.result == "done"
    backs = [text for text in words(outcome) if text.endswith(("is back", "is up"))]
    is_death = isinstance(fault, DiesAfterExecuting | ServerDies | WorkerDies)
    assert words(outcome) == [fault.words(), *backs]
    assert len(backs) == is_death


def test_what_is_late_still_happens_after_the_end() -> None:
    outcome = play(Asks, ActivityLate(activity="ask", delay_ns=7_200 * SECOND_NS))
    assert outcome.result == "done"
    assert outcome.world.asked == 2
    assert [each.attempt for each in outcome.executions] == [1, 2]
    assert times_s(outcome, enums.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED)[0] < 3_700


def test_no_signal_is_sent_after_the_end() -> None:
    signals = [Signal(Asks.hear, "a", after=timedelta(seconds=2))]
    assert words(play(Asks, signals=signals)) == []


def test_time_stands_while_a_signal_is_on_its_way_to_a_server_that_is_away() -> None:
    signals = [Signal(Sleeps.hear, word, after=HOUR / 2) for word in ("a", "b")]
    fault = ServerDies(after_event=6)
    outcome = play(Sleeps, fault, signals=signals)
    assert fault.words() in words(outcome)
    signaled_s = times_s(outcome, enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
    assert signaled_s == pytest.approx([HALF_S, HALF_S], abs=60)


def test_the_polls_of_a_dead_worker_get_no_task() -> None:
    outcome = play(Sleeps, WorkerDies(after_event=5))
    assert words(outcome)[1] == "another worker is up"
    timed_out = [
        event.workflow_task_timed_out_event_attributes.timeout_type
        for event in outcome.events
        if event.event_type == enums.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT
    ]
    # The task waits for the dead worker in its own queue first; nobody fetches it there.
    assert timed_out == [enums.TIMEOUT_TYPE_SCHEDULE_TO_START]


def test_points_are_those_of_the_workflow_and_not_of_its_children() -> None:
    outcome = play(Parent, workflows=(Parent, Child))
    assert outcome.points == sorted(set(outcome.points))
    assert outcome.points[-1] == len(outcome.events) < 25


def test_ids_are_those_of_the_seed() -> None:
    one, other = (play(Asks).events[0] for _ in range(2))
    attributes = one.workflow_execution_started_event_attributes
    assert attributes.original_execution_run_id
    assert one == other


def test_a_world_is_buried_with_its_database() -> None:
    made = universe(Asks, WorkerDies(after_event=5))
    made.run()
    assert len(made._processes) == 3
    assert all(not each.is_alive and not each.tasks for each in made._processes)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        made._database.execute("SELECT 1")


def test_a_worker_that_cannot_start_ends_the_simulation_at_once() -> None:
    async def undecorated() -> None: ...

    scenario = Scenario(Asks.run, (), (Asks,), [undecorated], (), None, DAY)
    made = Universe(scenario, 1, ())
    began_ns = made._time.clock.now_ns()
    with pytest.raises(TypeError, match="undecorated"):
        made.run()
    assert made._time.clock.now_ns() - began_ns < 60 * SECOND_NS


def test_a_run_without_a_world_has_none() -> None:
    scenario = Scenario(Sleeps.run, (), (Sleeps,), (), (), None, DAY)
    outcome = Universe(scenario, 1, ()).run()
    assert (outcome.world, outcome.error) == (None, None)


def test_nothing_of_a_dead_server_runs_while_it_is_away() -> None:
    """Its timer is due in an hour of test time, which nobody skips."""
    outcome = play(Sleeps, ServerDies(after_event=5, down_ns=5 * SECOND_NS))
    died_s, back_s = (float(note.split()[0]) for note in outcome.notes)
    assert back_s - died_s == pytest.approx(5, abs=0.5)
    assert times_s(outcome, enums.EVENT_TYPE_TIMER_FIRED) == pytest.approx([3_600], abs=1)


def test_each_execution_has_each_fault_of_an_activity() -> None:
    calm = Outcome(0, ())
    calm.executions = [Execution("ask", (), 1, number, 0) for number in (1, 2, 3)]
    kinds = (DiesAfterExecuting, ActivityFails, ActivityLate, AnswerLate)
    found = [(type(fault), getattr(fault, "execution", 0)) for fault in singles(calm, (), kinds)]
    assert found == [(kind, number) for number in (1, 2, 3) for kind in kinds]
