"""Replays all cases with the official SDK; run in a process of its own. Prints verdicts as JSON.

Usage: python official_process.py FOLDER_OF_HISTORIES
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from pathlib import Path

os.environ["REPLAY_LIBRARY"] = "temporalio"
sys.path.insert(0, str(Path(__file__).parent))

import variants  # after the library was chosen
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner


async def verdict(cls: type, text: str) -> str:
    replayer = Replayer(workflows=[cls], workflow_runner=UnsandboxedWorkflowRunner())
    history = WorkflowHistory.from_json("golden", text)
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    failure = result.replay_failure
    if failure is None:
        return "ok"
    return "nondeterminism" if isinstance(failure, workflow.NondeterminismError) else "task failure"


async def main(folder: Path) -> None:
    found: dict[str, str] = {}
    for cls, name in variants.CASES:
        text = (folder / f"{name}.json").read_text()
        found[f"{cls.__name__} {name}"] = await verdict(cls, text)
    print(json.dumps(found))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(main(Path(sys.argv[1])))
