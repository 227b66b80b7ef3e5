"""One workflow from nothing: `python -m benchmarks.first_workflow TARGET`."""

from __future__ import annotations

import asyncio
import sys

from benchmarks.workloads.definitions import Sequence, compose
from perdure.client import Client
from perdure.worker import Worker


async def main(target: str) -> None:
    async with (
        await Client.connect(target) as client,
        Worker(client, task_queue="bench", workflows=[Sequence], activities=[compose]),
    ):
        await client.execute_workflow(Sequence.run, 1, id="first", task_queue="bench")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
