"""Every case of `variants`: our verdict is the official SDK's."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from perdure import workflow
from perdure.client.history import WorkflowHistory
from perdure.worker import Replayer
from tests.replay.recorded.histories import DATA
from tests.replay.verdicts import variants

PROCESS = Path(__file__).parent / "official_process.py"


def ours(cls: type, name: str) -> str:
    text = (DATA / f"{name}.json").read_text()
    history = WorkflowHistory.from_json("golden", text)
    replaying = Replayer(workflows=[cls]).replay_workflow(history, raise_on_replay_failure=False)
    failure = asyncio.run(replaying).replay_failure
    if failure is None:
        return "ok"
    return "nondeterminism" if isinstance(failure, workflow.NondeterminismError) else "task failure"


@pytest.mark.conformance
def test_the_same_code_and_history_get_the_official_verdict() -> None:
    finished = subprocess.run(
        [sys.executable, str(PROCESS), str(DATA)], capture_output=True, text=True, check=True
    )
    official: dict[str, str] = json.loads(finished.stdout.strip().splitlines()[-1])
    found = {f"{cls.__name__} {name}": ours(cls, name) for cls, name in variants.CASES}
    assert found == official
    assert {"ok", "nondeterminism", "task failure"} == set(found.values())
