"""What a schedule does to a simulated run, and what its outcome says about it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.testing import Outcome, Signal, SimulationFailed, WorkflowEnvironment, simulate
from perdure.testing.pytest_plugin import _Shown, _timelines
from perdure.testing.simulation.disk import DiskFaults, SimExecutor
from perdure.testing.simulation.loop import EPOCH_NS, SimClock, SimLoop
from perdure.testing.simulation.scenario import WORKFLOW_ID, Scenario, stuck
from perdure.testing.simulator import (
    ActivityLate,
    AnswerLate,
    DiesAfterExecuting,
    Fault,
    ServerDies,
    SignalLate,
    SignalTwice,
    WorkerDies,
    _Simulation,
)
from perdure.wire.api import enums, history

HOUR = timedelta(hours=1)
MINUTE_NS = 60 * 10**9


@activity.defn
async def do(name: str) -> str:
    return name


@workflow.defn
class Does:
    @workflow.signal
    def hear(self, word: str) -> None: ...

    @workflow.run
    async def run(self, name: str) -> str:
        await workflow.sleep(HOUR)
        return await workflow.execute_activity(do, name, start_to_close_timeout=HOUR)


def outcome_of(*schedule: Fault, signals: Sequence[Signal] = ()) -> Outcome:
    seen: list[Outcome] = []
    simulate(
        Does.run,
        "x",
        activities=[do],
        signals=signals,
        schedule=schedule,
        seeds=[1],
        invariants=[seen.append],
    )
    return seen[0]


@pytest.mark.parametrize("kind", [ActivityLate, AnswerLate])
def test_delays_of_one_execution_add_up(kind: Any) -> None:
    late = kind(activity="do", delay_ns=40 * MINUTE_NS)
    assert [each.attempt for each in outcome_of(late).executions] == [1]
    assert [each.attempt for each in outcome_of(late, late).executions] == [1, 2]


def test_an_outcome_says_whether_a_result_became_known() -> None:
    assert [each.is_known for each in outcome_of().executions] == [True]
    died = outcome_of(DiesAfterExecuting(activity="do"))
    assert [each.is_known for each in died.executions] == [False, True]


@pytest.mark.parametrize("kind", [WorkerDies, ServerDies])
def test_a_death_is_noted_once_and_before_what_follows(kind: Any) -> None:
    fault = kind(after_event=5)
    notes = [note.split(" s  ")[1] for note in outcome_of(fault).notes]
    assert len(notes) == 2
    assert notes[0] == fault.words()
    assert notes[1].endswith(("is back", "is up"))


def test_points_are_the_lengths_of_the_history() -> None:
    for outcome in (outcome_of(), outcome_of(WorkerDies(after_event=5))):
        assert outcome.points == sorted(set(outcome.points))
        assert outcome.points[-1] == len(outcome.events)


def test_signals_are_sent_at_their_times() -> None:
    signals = [Signal(Does.hear, "a", after=HOUR / 4), Signal(Does.hear, "b", after=HOUR / 2)]
    late = SignalLate(signal=2, delay_ns=5 * MINUTE_NS)
    notes = outcome_of(SignalTwice(signal=1), late, signals=signals).notes
    times_s = [float(note.split()[0]) for note in notes if "is sent" in note]
    assert times_s == pytest.approx([900, 900, 2_100], abs=1)


def test_a_single_possible_fault_is_combined_with_nothing() -> None:
    report = simulate(
        Does.run,
        "x",
        activities=[do],
        signals=[Signal(Does.hear, "a")],
        faults=[SignalTwice],
        seeds=5,
    )
    assert report.tried == {"SignalTwice": 1}
    assert report.runs == 3, "without it, with it, and without it again"


def test_the_hook_for_unraisable_errors_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def own(_: object) -> None: ...

    monkeypatch.setattr(sys, "unraisablehook", own)
    outcome_of()
    assert sys.unraisablehook is own


@pytest.mark.parametrize("lengths", [(1, 2), (2, 1)])
def test_a_run_that_goes_on_longer_is_not_the_same(lengths: tuple[int, int]) -> None:
    types = (
        enums.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
        enums.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
    )
    one, other = Outcome(0, ()), Outcome(0, ())
    for outcome, length in zip((one, other), lengths, strict=True):
        outcome.events = [history.HistoryEvent(event_type=each) for each in types[:length]]
    scenario = Scenario(Does.run, (), (Does,), (), (), None, HOUR, {})
    with pytest.raises(SimulationFailed) as caught:
        _Simulation(scenario, "Does", ())._check_same(one, other)
    event = "EVENT_TYPE_WORKFLOW_TASK_SCHEDULED"
    before, after = ("nothing", event) if lengths == (1, 2) else (event, "nothing")
    assert f"event 2 was {before} in the first run and {after} in" in caught.value.failure.message


def test_the_error_of_a_job_is_known_after_a_delay() -> None:
    loop = SimLoop()

    async def main() -> tuple[float, float]:
        executor = SimExecutor(DiskFaults(Random(0)))
        ran_at_s: list[float] = []

        def job() -> None:
            ran_at_s.append(loop.time())
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await executor.run(job)
        return ran_at_s[0], loop.time()

    ran_at_s, known_at_s = loop.run(main())
    assert known_at_s > ran_at_s > 0


@pytest.mark.parametrize("end", [SimExecutor.crash, SimExecutor.close])
def test_a_disk_that_has_ended_runs_nothing_and_answers_nobody(end: Any) -> None:
    loop = SimLoop()
    ran: list[int] = []

    async def main() -> None:
        executor = SimExecutor(DiskFaults(Random(0)))
        await executor.run(lambda: ran.append(1))
        end(executor)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(executor.run(lambda: ran.append(2)), 60)

    loop.run(main())
    assert ran == [1]


def test_which_workflow_is_stuck_is_said() -> None:
    assert stuck(WORKFLOW_ID) == "its workflow task fails again and again"
    assert stuck("child").startswith("the workflow task of child fails again")


async def test_timelines_that_cannot_be_had_are_said_to_be_missing() -> None:
    async with await WorkflowEnvironment.start_time_skipping() as env:
        shown = _Shown(env)
        assert "loop of the environment cannot be used" in _timelines(shown)
        shown.loop = asyncio.new_event_loop()
        shown.loop.close()
        assert "loop of the environment cannot be used" in _timelines(shown)


def test_how_often_an_activity_was_executed_in_words() -> None:
    assert "do has been executed once" in DiesAfterExecuting(activity="do").words()
    second = DiesAfterExecuting(activity="do", execution=2)
    assert "do has been executed 2 times" in second.words()


@pytest.mark.parametrize("skew_ns", [0, 5, -7])
def test_a_skewed_clock_differs_by_its_skew(skew_ns: int) -> None:
    loop = SimLoop()
    clock = SimClock(loop)

    async def main() -> tuple[int, int, int]:
        plain_ns = clock.now_ns()
        clock.skew_ns = skew_ns
        return plain_ns, clock.now_ns(), clock.monotonic_ns()

    plain_ns, skewed_ns, monotonic_ns = loop.run(main())
    assert skewed_ns - plain_ns == skew_ns
    assert monotonic_ns == plain_ns - EPOCH_NS


def test_only_errors_that_nobody_asked_for_are_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": "Future exception was never retrieved"})
        loop.call_exception_handler({"message": "something else"})

    SimLoop().run(main())
    assert [record.getMessage() for record in caplog.records] == ["something else"]
