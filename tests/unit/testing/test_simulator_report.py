"""What `simulate` counts, says, and leaves as it was."""

from __future__ import annotations

import inspect
import logging
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.testing import Outcome, Signal, SimulationFailed, simulate
from perdure.testing.simulator import (
    ALL_FAULTS,
    EXECUTIONS_SHOWN_MAX,
    ActivityFails,
    Execution,
    Failure,
    Fault,
    NeverFinished,
    SignalTwice,
    WorkerDies,
    _broken,
    _executed,
)
from perdure.wire.api import enums, history

HOUR = timedelta(hours=1)


class World:
    def __init__(self) -> None:
        self.done: list[str] = []

    @activity.defn
    async def do(self, name: str) -> str:
        self.done.append(name)
        return name


@workflow.defn
class Does:
    def __init__(self) -> None:
        self.heard: list[str] = []

    @workflow.signal
    def hear(self, word: str) -> None:
        self.heard.append(word)

    @workflow.run
    async def run(self, name: str) -> str:
        await workflow.sleep(HOUR)
        await workflow.execute_activity_method(World.do, name, start_to_close_timeout=HOUR)
        return name


@workflow.defn
class Waits:
    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)


def play(*args: Any, **options: Any) -> Any:
    return simulate(Does.run, "x", world=World, activities=lambda w: [w.do], **options)


def execution(number: int, **changes: Any) -> Execution:
    made = Execution("do", (f"n{number}",), 1, number, 0)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_a_schedule_is_played_once_for_each_seed() -> None:
    seen: list[tuple[int, int]] = []

    def look(outcome: Outcome) -> None:
        seen.append((outcome.seed, len(outcome.world.done)))

    fault = ActivityFails(activity="do")
    report = play(seeds=[4, 9, 4], schedule=[fault], invariants=[look])
    assert report.runs == 3
    assert report.tried == {"ActivityFails": 3}
    assert [seed for seed, _ in seen] == [4, 9, 4]
    assert play(seeds=[], schedule=[fault], invariants=[look]).runs == 1
    assert seen[-1][0] == 0
    assert play(seeds=[3], schedule=[]).tried == {}


def test_exploring_counts_what_was_tried() -> None:
    seen: list[tuple[int, tuple[str, ...]]] = []

    def look(outcome: Outcome) -> None:
        seen.append((outcome.seed, tuple(type(fault).__name__ for fault in outcome.faults)))

    report = play(seeds=[7, 8], faults=[ActivityFails, WorkerDies], invariants=[look])
    assert report.runs == len(seen)
    assert seen[0] == seen[-1] == (7, ()), "nothing wrong at first, and the same again at the end"
    singles = [faults for _, faults in seen if len(faults) == 1]
    assert {faults[0] for faults in singles} == {"ActivityFails", "WorkerDies"}
    several = [(seed, faults) for seed, faults in seen if len(faults) > 1]
    assert [seed for seed, _ in several] == [7, 8]
    assert report.tried == {
        kind: sum(kind in faults for _, faults in seen) for kind in ("WorkerDies", "ActivityFails")
    }
    assert report.events > 8
    assert play(seeds=1, faults=[]).runs == 2


def test_signals_arrive_when_they_should_with_their_arguments() -> None:
    heard: list[Any] = []

    def look(outcome: Outcome) -> None:
        heard.extend(note for note in outcome.notes if "is sent" in note)
        assert outcome.result == "x"

    signals = [Signal(Does.hear, "a", after=HOUR / 2), Signal("hear", "b", after=HOUR / 4)]
    play(signals=signals, seeds=[1], schedule=[SignalTwice(signal=1)], invariants=[look])
    assert [note.split("  ")[-1] for note in heard] == [
        "signal 2 (hear) is sent",
        "signal 1 (hear) is sent",
        "signal 1 (hear) is sent",
    ]


@pytest.mark.parametrize("kept", [None, True, 0, "", [], "anything"])
def test_only_false_is_a_promise_not_kept(kept: object) -> None:
    assert _broken(Outcome(0, ()), [lambda _: kept]) is None


def test_what_broke_is_named() -> None:
    def promise(outcome: Outcome) -> bool:
        return False

    def asserts(outcome: Outcome) -> None:
        raise AssertionError

    def never(outcome: Outcome) -> None:
        raise AssertionError("not asked any more")

    outcome = Outcome(0, ())
    assert _broken(outcome, [promise, never]) == ("promise", "not kept")
    assert _broken(outcome, [lambda _: None, asserts]) == ("asserts", "not kept")
    outcome.error = NeverFinished("it waits")
    assert _broken(outcome, [never]) == ("the workflow ends", "it waits")
    outcome.error = ValueError("ended")
    assert _broken(outcome, [never]) == ("never", "not asked any more")


def test_a_failure_in_words() -> None:
    outcome = Outcome(5, ())
    failure = Failure("promise", "not kept", 5, (ActivityFails(activity="do"),), outcome)
    text = failure.in_words("Order")
    assert text.startswith("Order breaks a promise: promise: not kept\n")
    assert "with seed 5:\n" in text
    assert "  nothing of note\n" in text
    assert "Executions of activities:\n  none\n" in text
    again = "simulate(..., seeds=[5], schedule=[ActivityFails(activity='do', execution=1)])"
    assert text.endswith(f"Play it again: {again}")
    outcome.notes.append("something happened")
    outcome.executions.extend(execution(each) for each in range(EXECUTIONS_SHOWN_MAX))
    text = failure.in_words("Order")
    assert "  something happened\n" in text
    assert "before these" not in text
    assert text.count("do('n") == EXECUTIONS_SHOWN_MAX
    outcome.executions.extend(execution(each) for each in (100, 101))
    text = failure.in_words("Order")
    assert "  ... 2 before these\n" in text
    assert text.count("do('n") == EXECUTIONS_SHOWN_MAX
    assert "n101" in text
    assert "'n1'" not in text


def test_an_execution_in_words() -> None:
    known = execution(1, result="r", is_known=True)
    assert _executed(known) == "do('n1'), attempt 1: returned 'r'"
    failed = execution(2, error=ValueError("no"), is_known=False)
    assert _executed(failed) == "do('n2'), attempt 1: raised ValueError('no'), and nobody was told"


def test_patience_ends_a_workflow_that_waits_for_nothing() -> None:
    with pytest.raises(SimulationFailed) as caught:
        simulate(Waits, seeds=1, patience=timedelta(days=2))
    assert caught.value.failure.promise == "the workflow ends"
    assert isinstance(caught.value, AssertionError)
    assert str(caught.value).startswith("Waits breaks a promise")


def test_log_levels_are_put_back() -> None:
    logger = logging.getLogger("perdure")
    before = logger.level
    try:
        logger.setLevel(logging.ERROR)
        levels: list[int] = []

        def look(outcome: Outcome) -> None:
            levels.append(logger.level)

        def breaks(outcome: Outcome) -> bool:
            return False

        play(seeds=[1], schedule=[], invariants=[look])
        with pytest.raises(SimulationFailed):
            play(seeds=[1], schedule=[], invariants=[breaks])
        assert logger.level == logging.ERROR
        assert levels == [logging.CRITICAL + 1]
    finally:
        logger.setLevel(before)


@pytest.mark.parametrize("name", ["id", "task_queue"])
def test_what_simulate_chooses_itself_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} itself"):
        play(**{name: "mine"})


def test_every_kind_of_fault_is_tried_unless_told_otherwise() -> None:
    assert len(ALL_FAULTS) == len(set(ALL_FAULTS))
    assert set(ALL_FAULTS) == set(Fault.__subclasses__())
    assert inspect.signature(simulate).parameters["faults"].default is ALL_FAULTS


@pytest.mark.parametrize("cause", sorted(enums.WorkflowTaskFailedCause.values()))
def test_a_workflow_task_that_fails_breaks_a_promise_unless_it_is_nobodys_fault(
    cause: Any,
) -> None:
    failed = history.HistoryEvent(event_type=enums.EVENT_TYPE_WORKFLOW_TASK_FAILED)
    failed.workflow_task_failed_event_attributes.cause = cause
    failed.workflow_task_failed_event_attributes.failure.message = "boom"
    started = history.HistoryEvent(event_type=enums.EVENT_TYPE_WORKFLOW_TASK_STARTED)
    broken = _broken(Outcome(0, (), events=[started, failed]), ())
    is_nobodys_fault = cause in {
        enums.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND,
        enums.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
        enums.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW,
    }
    assert broken == (None if is_nobodys_fault else ("no workflow task fails", "boom"))
