"""Client and worker of the official SDK: `python -m benchmarks.one_activity.official ADDRESS`. Its own defaults."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from benchmarks.one_activity.protocol import IN_FLIGHT, serve_rounds

TASK_QUEUE = "bench-official"


@activity.defn
async def compose(name: str) -> str:
    return f"Hello, {name}!"


@workflow.defn
class OneActivity:
    """What is measured: one activity that does nothing."""

    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(
            compose, name, start_to_close_timeout=timedelta(seconds=60)
        )


async def main(target: str) -> None:
    client = await Client.connect(target)
    worker = Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[OneActivity],
        activities=[compose],
        max_concurrent_workflow_tasks=IN_FLIGHT,
        max_concurrent_activities=IN_FLIGHT,
    )
    async with worker:
        await serve_rounds(
            lambda workflow_id: client.execute_workflow(
                OneActivity.run, "bench", id=f"official-{workflow_id}", task_queue=TASK_QUEUE
            )
        )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
