"""When a simulation gives up, several faults at one moment, and what breaks a simulation off."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from perdure import activity, workflow
from perdure.common import RawValue
from perdure.core.ids import EntityKind
from perdure.testing import Outcome, simulate
from perdure.testing.simulation import world
from perdure.testing.simulation.loop import Impossible
from perdure.testing.simulation.outcome import NeverFinished
from perdure.testing.simulation.scenario import WORKFLOW_ID, Scenario
from perdure.testing.simulation.world import ATTEMPTS_MAX, Universe
from perdure.testing.simulator import (
    ActivityFails,
    DiesAfterExecuting,
    Fault,
    ServerDies,
    WorkerDies,
)

if TYPE_CHECKING:
    from perdure.server.shards.group import Group

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SECOND_NS = 10**9


class Site:
    """A fake of the outside world that remembers when it was asked, in the loop's time."""

    def __init__(self) -> None:
        self.asked_at_s: list[float] = []
        self.failures_left = 0

    @activity.defn
    async def do(self) -> str:
        self.asked_at_s.append(asyncio.get_running_loop().time())
        return "done"

    @activity.defn
    async def in_a_thread(self) -> None:
        await asyncio.to_thread(print)


@workflow.defn
class Does:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(name, start_to_close_timeout=HOUR)


_failures_left: list[int] = [0]


@workflow.defn
class FailsAtFirst:
    """Its task fails as often as `_failures_left` says."""

    @workflow.run
    async def run(self) -> str:
        if _failures_left[0] > 0:
            _failures_left[0] -= 1
            raise ValueError("not yet")
        return "done"


def activities(site: Site) -> Sequence[Callable[..., Any]]:
    return [site.do, site.in_a_thread]


def scenario(cls: type, *args: Any, patience: timedelta = DAY) -> Scenario:
    run: Any = cls
    return Scenario(run.run, args, (cls,), activities, (), Site, patience)


def play(*faults: Fault, name: str = "do") -> Outcome:
    return Universe(scenario(Does, name), 1, faults).run()


def words(outcome: Outcome) -> list[str]:
    return [note.split(" s  ")[1] for note in outcome.notes]


# Limits.


class Counting(Universe):
    """Counts the steps until the workflow has ended."""

    def __init__(self) -> None:
        super().__init__(scenario(Does, "do"), 1, ())
        self.steps = 0
        self.is_ended = False

    def _stepped(self, group: Group) -> None:
        if not self.is_ended:
            self.steps += 1
        for entry in group.entries:
            is_it = entry.key.kind == EntityKind.RUN and entry.key.name == WORKFLOW_ID
            if is_it and not entry.state.is_running:
                self.is_ended = True
        super()._stepped(group)


def test_a_run_may_take_exactly_the_greatest_number_of_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counting = Counting()
    assert counting.run().result == "done"
    monkeypatch.setattr(world, "STEPS_MAX", counting.steps)
    assert play().result == "done"
    monkeypatch.setattr(world, "STEPS_MAX", counting.steps - 1)
    error = play().error
    assert isinstance(error, NeverFinished)
    assert str(error).startswith(f"{counting.steps - 1} steps, and no end")


@pytest.mark.parametrize("failures", [ATTEMPTS_MAX - 2, ATTEMPTS_MAX - 1])
def test_a_workflow_task_that_fails_too_often_is_stuck(failures: int) -> None:
    _failures_left[0] = failures
    outcome = Universe(scenario(FailsAtFirst), 1, ()).run()
    if failures == ATTEMPTS_MAX - 2:
        assert (outcome.result, outcome.error) == ("done", None)
    else:
        assert str(outcome.error) == "its workflow task fails again and again"
        assert isinstance(outcome.error, NeverFinished)
        assert not outcome.is_completed


# Faults.


@pytest.mark.parametrize(
    "faults",
    [
        (ServerDies(after_event=5), ServerDies(after_event=5), WorkerDies(after_event=5)),
        (WorkerDies(after_event=5), WorkerDies(after_event=5), ServerDies(after_event=5)),
    ],
    ids=["server", "worker"],
)
def test_what_is_dead_dies_no_second_time(
    faults: tuple[Fault, ...], caplog: pytest.LogCaptureFixture
) -> None:
    outcome = play(*faults)
    assert outcome.result == "done"
    assert words(outcome)[:3] == [fault.words() for fault in faults]
    assert sorted(words(outcome)[3:]) == ["another worker is up", "the server is back"]
    assert [record for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.parametrize("kind", [ServerDies, WorkerDies])
def test_each_of_two_deaths_strikes_once(kind: Any) -> None:
    faults = (kind(after_event=3), kind(after_event=6))
    outcome = play(*faults)
    assert outcome.result == "done"
    assert words(outcome)[::2] == [fault.words() for fault in faults]
    assert len(words(outcome)) == 4


def test_what_a_dead_worker_had_is_not_waited_for_once_another_is_up() -> None:
    before_s, after_s = play(DiesAfterExecuting(activity="do")).world.asked_at_s
    assert after_s - before_s < 2, "the time-out is skipped to at once"


def test_a_time_out_passes_before_what_a_dead_worker_had_is_tried_again() -> None:
    outcome = play(DiesAfterExecuting(activity="do"))
    taken_ns = (
        outcome.events[-1].event_time.ToNanoseconds() - outcome.events[0].event_time.ToNanoseconds()
    )
    assert 3_600 <= taken_ns / SECOND_NS < 3_700


@pytest.mark.parametrize("down_s", [1, 7_200])
def test_a_worker_stays_down_for_its_time(down_s: int) -> None:
    outcome = play(WorkerDies(after_event=2, down_ns=down_s * SECOND_NS))
    died_s, back_s = (float(note.split()[0]) for note in outcome.notes)
    assert back_s - died_s == pytest.approx(down_s, abs=0.5)
    assert outcome.result == "done"


# The evidence.


def test_a_quiet_run_logs_nothing_of_its_loop(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        play()
        play(ServerDies(after_event=3), WorkerDies(after_event=5))
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def test_executions_are_found_by_name_and_by_function() -> None:
    outcome = play(ActivityFails(activity="do"))
    outcome.executions.append(world.Execution("other", (), 1, 1, 0))
    assert [each.number for each in outcome.executed("do")] == [1, 2]
    assert outcome.executed(Site.do) == outcome.executed("do")
    assert [each.activity for each in outcome.executed("other")] == ["other"]
    assert outcome.executed("nobody") == []


def test_an_execution_says_what_it_got_and_may_take() -> None:
    (record,) = play().executions
    assert (record.activity, record.args, record.attempt, record.number) == ("do", (), 1, 1)
    assert (record.timeout_ns, record.result, record.error) == (3_600 * SECOND_NS, "done", None)


# What breaks a simulation off.


def test_what_is_impossible_is_the_error_of_the_execution_and_of_the_simulation() -> None:
    universe = Universe(scenario(Does, "in_a_thread"), 1, ())
    with pytest.raises(Impossible):
        universe.run()
    (record,) = universe.outcome.executions
    assert isinstance(record.error, Impossible)


def test_a_node_that_cannot_open_ends_the_simulation() -> None:
    universe = Universe(scenario(Does, "do"), 1, ())
    universe._database.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        universe.run()


@workflow.defn(name="named")
class Named:
    @workflow.run
    async def run(self) -> None: ...


@workflow.defn(dynamic=True)
class Dynamic:
    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> None: ...


def test_a_report_names_the_workflow() -> None:
    def breaks(_: Outcome) -> bool:
        return False

    with pytest.raises(AssertionError, match=r"^named breaks a promise: breaks"):
        simulate(Named.run, seeds=1, invariants=[breaks])


def test_a_dynamic_workflow_has_no_name_to_be_started_by() -> None:
    with pytest.raises(ValueError, match="dynamic workflow"):
        simulate(Dynamic, seeds=1)
