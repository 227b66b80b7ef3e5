"""A pause as workers and workflows see it: from the RPC to the activity's function and back."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from perdure import activity, workflow
from perdure.common import RetryPolicy
from perdure.testing import WorkflowEnvironment
from perdure.wire.api import common, workflowservice
from perdure.worker import Worker

QUEUE = "paused"
RUN = common.WorkflowExecution(workflow_id="w")


@workflow.defn
class Patient:
    @workflow.run
    async def run(self) -> list[str]:
        working = asyncio.ensure_future(
            workflow.execute_activity(
                "work",
                activity_id="work",
                result_type=str,
                start_to_close_timeout=timedelta(hours=1),
                heartbeat_timeout=timedelta(seconds=2),
                retry_policy=RetryPolicy(initial_interval=timedelta(days=1)),
            )
        )
        await workflow.sleep(timedelta(days=30))
        return [await working]


async def test_a_paused_attempt_stops_and_the_next_one_waits_while_time_is_skipped() -> None:
    started, stopped = asyncio.Event(), asyncio.Event()
    seen: list[object] = []

    @activity.defn
    async def work() -> str:
        if activity.info().attempt == 2:
            return f"after {activity.info().heartbeat_details}"
        started.set()
        try:
            while True:
                activity.heartbeat("half")
                await asyncio.sleep(0.05)
        finally:
            seen.append(activity.cancellation_details())
            stopped.set()

    async with (
        await WorkflowEnvironment.start_time_skipping() as env,
        Worker(env.client, task_queue=QUEUE, workflows=[Patient], activities=[work]),
    ):
        calls = env.client.workflow_service
        handle = await env.client.start_workflow(Patient.run, id="w", task_queue=QUEUE)
        await started.wait()
        await calls.pause_activity(
            workflowservice.PauseActivityRequest(namespace="default", execution=RUN, id="work")
        )
        await stopped.wait()
        began = await env.get_current_time()
        await env.sleep(timedelta(days=20))
        assert await env.get_current_time() - began >= timedelta(days=20), "nothing holds time up"
        assert len(seen) == 1, "the next attempt waits"
        await calls.unpause_activity(
            workflowservice.UnpauseActivityRequest(namespace="default", execution=RUN, id="work")
        )
        assert await handle.result() == ["after ['half']"]
    assert seen == [activity.ActivityCancellationDetails(paused=True)]
