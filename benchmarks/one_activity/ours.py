"""Client and worker of Perdure: `python -m benchmarks.one_activity.ours TARGET [EXECUTION]`.

TARGET is a `sqlite:` URL or an address, EXECUTION the worker's `workflow_execution`.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from typing import Any

from benchmarks.one_activity.protocol import IN_FLIGHT, serve_rounds
from perdure import activity, workflow
from perdure.cli.session import loop_factory
from perdure.client import Client
from perdure.worker import Worker

TASK_QUEUE = "bench"


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


async def main(target: str, execution: Any = None) -> None:
    async with (
        await Client.connect(target) as client,
        Worker(
            client,
            task_queue=TASK_QUEUE,
            workflows=[OneActivity],
            activities=[compose],
            max_concurrent_workflow_tasks=IN_FLIGHT,
            max_concurrent_activities=IN_FLIGHT,
            workflow_execution=execution,
        ),
    ):
        await serve_rounds(
            lambda workflow_id: client.execute_workflow(
                OneActivity.run, "bench", id=workflow_id, task_queue=TASK_QUEUE
            )
        )


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main(*sys.argv[1:]))
