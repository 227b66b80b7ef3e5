"""Write the history of activities in sequence: `python -m benchmarks.replay.record HISTORY.json ACTIVITIES`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from benchmarks.workloads.definitions import Sequence, compose
from perdure.client import Client
from perdure.worker import Worker


async def main(activities: int) -> str:
    async with (
        await Client.connect("memory:") as client,
        Worker(client, task_queue="bench", workflows=[Sequence], activities=[compose]),
    ):
        handle: Any = await client.start_workflow(
            Sequence.run, activities, id="bench", task_queue="bench"
        )
        await handle.result()
        return str((await handle.fetch_history()).to_json())


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(asyncio.run(main(int(sys.argv[2]))))
