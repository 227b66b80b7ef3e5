"""Replays every recorded history with the official SDK, and prints the verdicts as JSON. Runs in a separate process.

REPLAY_LIBRARY=temporalio python -m tests.replay.recorded.official_process
"""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from tests.replay.recorded.scenarios import WORKFLOWS


async def main() -> None:
    replayer = Replayer(workflows=WORKFLOWS)
    found: dict[str, str] = {}
    for path in sorted((Path(__file__).parent / "data").glob("*/*.json")):
        document = json.loads(path.read_text())
        started = document["events"][0]["workflowExecutionStartedEventAttributes"]
        history = WorkflowHistory.from_json(started["workflowId"], document)
        result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
        failure = result.replay_failure
        verdict = "ok" if failure is None else f"{type(failure).__name__}: {failure}"
        if isinstance(failure, workflow.NondeterminismError):
            verdict = "nondeterminism"
        found[f"{path.parent.name}/{path.stem}"] = verdict
    print(json.dumps(found))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(main())
