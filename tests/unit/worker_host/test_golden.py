"""Histories recorded with the official SDK: the same verdict, and the same order tick by tick."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from perdure.replay.commands import CompleteWorkflow
from perdure.worker.host import HostOptions, WorkflowRegistry
from perdure.worker.host.state import SINGLE_BATCH
from perdure.worker.replayer.replay_history import HistoryReplay
from perdure.worker.replayer.replayer import Replayer
from perdure.workflow import NondeterminismError

from . import golden

if TYPE_CHECKING:
    from perdure.client.history import WorkflowHistory
    from perdure.replay.commands import ActivationResult
    from perdure.replay.jobs import Activation


def replay(
    history: WorkflowHistory, options: HostOptions | None = None
) -> tuple[Exception | None, object]:
    """Replay a history; its failure, and the result that the workflow returned."""
    results: list[object] = []

    def observe(_activation: Activation, result: ActivationResult) -> None:
        for command in result.commands:
            if isinstance(command, CompleteWorkflow) and command.result is not None:
                converter = HostOptions().data_converter.payload_converter
                results.append(converter.from_payload(command.result))

    run = HistoryReplay(
        "golden",
        history.events,
        WorkflowRegistry(golden.ALL),
        options or HostOptions(),
        observer=observe,
    )
    while run.step():
        pass
    run.close()
    return run.failure, results[0] if results else None


@pytest.mark.parametrize("folder", ["reference-server", "ours-server"])
def test_two_signals_before_the_first_task(folder: str) -> None:
    """Without the flag their handlers run before the main coroutine; with it, everything is one batch."""
    history = golden.load("traces_two_signals_at_start", f"{folder}-official-worker")
    failure, result = replay(history)
    assert failure is None
    assert seen(result, 8) == (
        "signal first, signal first 1, signal with it, signal with it 1, signal first 2, "
        "signal with it 2, timer, activity"
    )
    history = golden.load("traces_two_signals_at_start_in_one_batch", f"{folder}-official-worker")
    failure, result = replay(history)
    assert failure is None
    assert seen(result, 8) == (
        "signal first, signal first 1, signal with it, signal with it 1, timer, activity, "
        "signal first 2, signal with it 2"
    )


def seen(result: object, count: int) -> str:
    assert isinstance(result, list)
    return ", ".join(cast("list[str]", result)[:count])


@pytest.mark.parametrize("flags", [frozenset[int](), frozenset({SINGLE_BATCH})])
def test_a_history_without_the_flag_replays_in_legacy_mode(flags: frozenset[int]) -> None:
    failure, result = replay(golden.load("counts_while_down"), HostOptions(default_flags=flags))
    assert failure is None
    assert seen(result, 9) == "activity, signal first, signal second, count 2, greeted"


def test_a_finished_history_replays() -> None:
    failure, result = replay(golden.load("greets"))
    assert failure is None
    assert result == "Hello, World!"


def test_a_command_that_history_does_not_have_is_reported_with_its_line() -> None:
    history = golden.load("differs_on_replay")
    with pytest.raises(NondeterminismError, match="TMPRL1100") as caught:
        asyncio.run(Replayer(workflows=golden.ALL).replay_workflow(history))
    assert "workflows.py" in str(caught.value)
    assert "await asyncio.sleep(0.1)" in str(caught.value)


def test_an_update_that_completes_after_the_workflow_returned() -> None:
    """Core flag 3: with it the update's completion is moved before the end; without it, it was never sent."""
    history = golden.load("late_update")
    failure, result = replay(history)
    assert failure is None
    assert result == "returned"
    kinds = [event.WhichOneof("attributes") for event in history.events[-3:]]
    assert kinds == [
        "workflow_execution_update_accepted_event_attributes",
        "workflow_execution_update_completed_event_attributes",
        "workflow_execution_completed_event_attributes",
    ]
    failure, _ = replay(golden.without_flags("late_update", "coreUsedFlags"))
    assert isinstance(failure, NondeterminismError)


def test_a_cancellation_that_races_with_a_finished_activity() -> None:
    """Language flag 1: with it the cancellation wins, without it the old way is repeated."""
    name = "cancelled_as_an_activity_ends"
    failure, result = replay(golden.load(name))
    assert failure is None
    assert seen(result, 3) == "Hello, 0!, CancelledError, Hello, 2!"
    failure, result = replay(golden.without_flags(name, "langUsedFlags"))
    assert seen(result, 3) == "Hello, 0!, Hello, 1!, Hello, 2!"


def test_an_unregistered_workflow_fails_its_task() -> None:
    replayer = Replayer(workflows=[golden.LateUpdate])
    with pytest.raises(RuntimeError, match="Greets is not registered"):
        asyncio.run(replayer.replay_workflow(golden.load("greets")))
