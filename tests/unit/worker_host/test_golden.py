"""Histories recorded with the official SDK: the same verdict, and the same order tick by tick."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from perdure.replay.commands import CompleteWorkflow
from perdure.worker.host import HostOptions, WorkflowRegistry
from perdure.worker.host.state import SINGLE_BATCH
from perdure.worker.replay_history import HistoryReplay
from perdure.worker.replayer import Replayer
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


BEFORE = ["sig-before-sync", "sig-before-1"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "event_tracing",
            "sig-before-sync sig-before-1 sig-before-2 timer-sync act-sync act-1 act-2 sig-1-sync "  # noqa: ISC004
            "sig-1-1 sig-1-2 update-1-sync update-1-1 update-1-2 timer-1 timer-2",
        ),
        (
            "event_tracing_single_batch",
            "sig-before-sync sig-before-1 timer-sync act-sync sig-before-2 act-1 act-2 sig-1-sync "  # noqa: ISC004
            "sig-1-1 sig-1-2 update-1-sync update-1-1 update-1-2 timer-1 timer-2",
        ),
        (
            "event_tracing_double_sig_at_start",
            "sig-before-sync sig-before-1 sig-1-sync sig-1-1 sig-before-2 sig-1-2 timer-sync "  # noqa: ISC004
            "act-sync update-1-sync update-1-1 update-1-2 act-1 act-2 timer-1 timer-2",
        ),
        (
            "event_tracing_double_sig_at_start_single_batch",
            "sig-before-sync sig-before-1 sig-1-sync sig-1-1 timer-sync act-sync sig-before-2 "  # noqa: ISC004
            "sig-1-2 act-1 act-2 update-1-sync update-1-1 update-1-2 timer-1 timer-2",
        ),
    ],
)
def test_order_of_a_tracing_workflow(name: str, expected: str) -> None:
    failure, result = replay(golden.load(name))
    assert failure is None
    assert result == expected.split()


@pytest.mark.parametrize("flags", [frozenset[int](), frozenset({SINGLE_BATCH})])
def test_a_history_without_the_flag_replays_in_legacy_mode(flags: frozenset[int]) -> None:
    history = golden.load("event_tracing_alternate")
    failure, result = replay(history, HostOptions(default_flags=flags))
    assert failure is None
    assert result == ["act-start", "sig-1", "sig-2", "counter-2", "act-done"]


def test_a_finished_history_replays() -> None:
    failure, result = replay(golden.load("complete_history"))
    assert failure is None
    assert result == "Hello, Temporal!"


def test_a_command_that_history_does_not_have_is_reported_with_its_line() -> None:
    history = golden.load("nondeterministic_history")
    with pytest.raises(NondeterminismError, match="TMPRL1100") as caught:
        asyncio.run(Replayer(workflows=golden.ALL).replay_workflow(history))
    assert "golden.py" in str(caught.value)
    assert "await asyncio.sleep(0.1)" in str(caught.value)


def test_an_update_that_completes_after_the_workflow_returned() -> None:
    failure, result = replay(golden.load("command_reordering_backward_compatibility"))
    assert failure is None
    assert result == "workflow-result"


def test_a_cancellation_that_races_with_a_finished_activity() -> None:
    """Language flag 1: with it the cancellation wins, without it the old way is repeated."""
    failure, _ = replay(golden.load("swallowed_activity_cancellation"))
    assert isinstance(failure, NondeterminismError)
    failure, _ = replay(golden.load_without_flags("swallowed_activity_cancellation"))
    assert failure is None


def test_an_unregistered_workflow_fails_its_task() -> None:
    replayer = Replayer(workflows=[golden.LateUpdate])
    with pytest.raises(RuntimeError, match="SayHelloWorkflow is not registered"):
        asyncio.run(replayer.replay_workflow(golden.load("complete_history")))
