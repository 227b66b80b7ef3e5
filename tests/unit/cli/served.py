"""What `perdure worker run` is pointed at."""

from __future__ import annotations

from perdure.client import Client
from perdure.worker import Worker
from tests.unit.cli import workflows

worker = {
    "task_queue": "served",
    "workflows": workflows.WORKFLOWS,
    "activities": workflows.ACTIVITIES,
}
number = 7
clients: list[Client] = []
"""What `make_worker` was given."""


executions: list[str] = []
"""Where the code of its workers runs."""


async def make_worker(client: Client) -> Worker:
    clients.append(client)
    worker = Worker(
        client,
        task_queue="served",
        workflows=workflows.WORKFLOWS,
        activities=workflows.ACTIVITIES,
    )
    executions.append(worker._options.workflow_execution)
    return worker
