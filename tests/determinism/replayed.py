"""Records a run that uses both lists, or replays such a run: each answer becomes part of the history.

Usage: python -m tests.determinism.replayed (record | replay) FILE
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import warnings
from datetime import timedelta
from pathlib import Path

from perdure import workflow
from perdure.client import Client, WorkflowHistory
from perdure.worker import Replayer, Worker
from tests.determinism.libraries import LIBRARIES
from tests.determinism.sources import VALUES


@workflow.defn
class UsesAll:
    @workflow.run
    async def run(self) -> int:
        for name, function in {**LIBRARIES, **VALUES}.items():
            digest = hashlib.sha256(repr(function()).encode()).hexdigest()
            # Replay compares the types of activities. Nobody polls this queue.
            workflow.start_activity(
                f"{name} {digest}", task_queue="nowhere", start_to_close_timeout=timedelta(hours=1)
            )
        return len(LIBRARIES) + len(VALUES)


async def recorded() -> str:
    async with (
        await Client.connect("memory:") as client,
        Worker(client, task_queue="queue", workflows=[UsesAll], debug_mode=True),
    ):
        handle = await client.start_workflow(UsesAll.run, id="uses-all", task_queue="queue")
        assert await handle.result() == len(LIBRARIES) + len(VALUES)
        return (await handle.fetch_history()).to_json()


async def replay(text: str) -> None:
    replayer = Replayer(workflows=[UsesAll], debug_mode=True)
    await replayer.replay_workflow(WorkflowHistory.from_json("uses-all", text))
    other = text.replace("time.monotonic ", "time.monotonic 0")
    found = await replayer.replay_workflow(
        WorkflowHistory.from_json("uses-all", other), raise_on_replay_failure=False
    )
    assert "time.monotonic" in str(found.replay_failure)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    file = Path(sys.argv[2])
    if sys.argv[1] == "record":
        file.write_text(asyncio.run(recorded()))
    else:
        asyncio.run(replay(file.read_text()))
