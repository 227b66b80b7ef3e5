"""Our worker and the official one replay the recorded histories, ours to the recorded result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.converter import DataConverter
from perdure.replay.commands import ActivationResult, CompleteWorkflow
from perdure.replay.jobs import Activation
from perdure.wire.api import enums
from perdure.wire.history_json import history_from_json
from perdure.worker.host import HostOptions, WorkflowRegistry
from perdure.worker.replayer.replay_history import HistoryReplay
from perdure.workflow import NondeterminismError
from tests.replay.recorded.histories import DATA, REFUSED, name_of, paths, read
from tests.replay.recorded.scenarios import SCENARIOS, WORKFLOWS

ROOT = Path(__file__).parents[2]
PATHS = paths()
CONVERTER = DataConverter.default.payload_converter
ONE_BATCH = {name for name in SCENARIOS if name.endswith("one_batch")}


def test_either_worker_was_recorded_on_either_server() -> None:
    found = {
        folder.name: {path.stem for path in folder.glob("*.json")} for folder in DATA.iterdir()
    }
    assert found == {
        "reference-server-official-worker": set(SCENARIOS),
        "ours-server-official-worker": set(SCENARIOS),
        "reference-server-ours-worker": set(SCENARIOS) - ONE_BATCH,
        "ours-server-ours-worker": set(SCENARIOS) - ONE_BATCH,
    }


@pytest.mark.parametrize("path", PATHS, ids=name_of)
def test_our_worker_replays_it_to_the_recorded_end(path: Path) -> None:
    history = read(path)
    results: list[object] = []

    def observe(_activation: Activation, result: ActivationResult) -> None:
        results.extend(
            CONVERTER.from_payload(command.result)
            for command in result.commands
            if isinstance(command, CompleteWorkflow) and command.result is not None
        )

    run = HistoryReplay(
        history.workflow_id,
        history.events,
        WorkflowRegistry(WORKFLOWS),
        HostOptions(),
        observer=observe,
    )
    while run.step():
        pass
    run.close()
    if path.stem == REFUSED:
        assert isinstance(run.failure, NondeterminismError)
        return
    assert run.failure is None
    last = history.events[-1]
    recorded = last.workflow_execution_completed_event_attributes.result.payloads
    assert results == [CONVERTER.from_payload(payload) for payload in recorded]


@pytest.mark.conformance
def test_the_official_worker_replays_all_of_them() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "tests.replay.recorded.official_process"],
        cwd=ROOT,
        env=os.environ | {"REPLAY_LIBRARY": "temporalio"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(finished.stdout.splitlines()[-1])
    expected = {name_of(path): "nondeterminism" if path.stem == REFUSED else "ok" for path in PATHS}
    assert found == expected


def test_what_the_histories_hold() -> None:
    """A recording that lost what it is about would replay as well."""
    kinds = {
        enums.EventType.Name(event.event_type)
        for path in PATHS
        for event in history_from_json(path.read_text()).events
    }
    expected = """
        ACTIVITY_TASK_TIMED_OUT ACTIVITY_TASK_FAILED ACTIVITY_TASK_CANCEL_REQUESTED
        TIMER_FIRED TIMER_CANCELED MARKER_RECORDED UPSERT_WORKFLOW_SEARCH_ATTRIBUTES
        WORKFLOW_PROPERTIES_MODIFIED WORKFLOW_TASK_FAILED
        CHILD_WORKFLOW_EXECUTION_STARTED CHILD_WORKFLOW_EXECUTION_COMPLETED
        CHILD_WORKFLOW_EXECUTION_FAILED CHILD_WORKFLOW_EXECUTION_CANCELED
        START_CHILD_WORKFLOW_EXECUTION_FAILED
        EXTERNAL_WORKFLOW_EXECUTION_SIGNALED SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED
        EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED
        REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED
        WORKFLOW_EXECUTION_CANCEL_REQUESTED WORKFLOW_EXECUTION_SIGNALED
        WORKFLOW_EXECUTION_UPDATE_ACCEPTED WORKFLOW_EXECUTION_UPDATE_COMPLETED
        WORKFLOW_EXECUTION_COMPLETED WORKFLOW_EXECUTION_FAILED WORKFLOW_EXECUTION_CANCELED
        WORKFLOW_EXECUTION_TERMINATED WORKFLOW_EXECUTION_CONTINUED_AS_NEW
    """
    assert not {f"EVENT_TYPE_{name}" for name in expected.split()} - kinds
