"""Fill a database with runs that sleep: `python -m benchmarks.growth.seed FILE RUNS [AFTER_S]`.

They sleep for a year, or with AFTER_S all of them until so many seconds after this program began; it prints when that
is, in seconds since the epoch. Through engine and store, without worker, client or RPC: each run is started, its first
workflow task is taken and completed with one timer. Commits are durable, as always.
"""

from __future__ import annotations

import asyncio
import sys
import time

from perdure.core.units import DAY_NS, SECOND_NS
from perdure.embedded import open_embedded
from perdure.wire.api import command, common, enums, taskqueue, workflowservice
from perdure.wire.seam import WORKFLOW_SERVICE, Connection
from perdure.wire.times import duration

IN_FLIGHT = 200
QUEUE = taskqueue.TaskQueue(name="seed")


def sleep(for_ns: int) -> command.Command:
    return command.Command(
        command_type=enums.CommandType.COMMAND_TYPE_START_TIMER,
        start_timer_command_attributes=command.StartTimerCommandAttributes(
            timer_id="1", start_to_fire_timeout=duration(for_ns)
        ),
    )


async def sleeping_run(connection: Connection, name: str, until_ns: int) -> None:
    await connection.call(
        WORKFLOW_SERVICE["StartWorkflowExecution"],
        workflowservice.StartWorkflowExecutionRequest(
            namespace="default",
            workflow_id=name,
            workflow_type=common.WorkflowType(name="Sleeper"),
            task_queue=QUEUE,
            request_id=name,
        ),
    )
    task = await connection.call(
        WORKFLOW_SERVICE["PollWorkflowTaskQueue"],
        workflowservice.PollWorkflowTaskQueueRequest(namespace="default", task_queue=QUEUE),
        timeout_ns=60 * SECOND_NS,
    )
    assert isinstance(task, workflowservice.PollWorkflowTaskQueueResponse)
    await connection.call(
        WORKFLOW_SERVICE["RespondWorkflowTaskCompleted"],
        workflowservice.RespondWorkflowTaskCompletedRequest(
            namespace="default",
            task_token=task.task_token,
            commands=[sleep(until_ns - time.time_ns())],
        ),
    )


async def main(path: str, runs: int, until_ns: int) -> None:
    connection = await open_embedded(f"sqlite:{path}")
    numbers = iter(range(runs))

    async def lane() -> None:
        for number in numbers:
            await sleeping_run(connection, f"sleeper-{until_ns}-{number}", until_ns)

    await asyncio.gather(*(lane() for _ in range(IN_FLIGHT)))
    await connection.close()


if __name__ == "__main__":
    after_ns = int(float(sys.argv[3]) * SECOND_NS) if len(sys.argv) > 3 else 365 * DAY_NS
    end_ns = time.time_ns() + after_ns
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), end_ns))
    print(end_ns / SECOND_NS)
