"""Eager activities: asked for only by workers that run activities."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.client import Client
from perdure.wire.api import taskqueue, workflowservice
from perdure.worker import Worker


@activity.defn
async def step() -> str:
    return "done"


@workflow.defn
class OneStep:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(step, start_to_close_timeout=timedelta(seconds=10))


async def test_a_worker_without_activities_leaves_them_to_others() -> None:
    async with await Client.connect("memory:") as client:
        async with Worker(client, task_queue="q", workflows=[OneStep]):
            await client.start_workflow(OneStep.run, id="w", task_queue="q")
            task: Any = await client.workflow_service.poll_activity_task_queue(
                workflowservice.PollActivityTaskQueueRequest(
                    namespace="default", task_queue=taskqueue.TaskQueue(name="q"), identity="me"
                )
            )
        assert (task.activity_type.name, task.attempt) == ("step", 1)
