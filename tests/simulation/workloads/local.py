"""Local activities: short ones, some that are retried, and one that takes longer than a workflow task."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from perdure import activity, workflow
from perdure.common import RetryPolicy
from perdure.exceptions import ApplicationError
from perdure.service import RPCError, RPCStatusCode
from tests.simulation.workloads.base import Workload

TASK_TIMEOUT = timedelta(seconds=3)
LONG_S = 5.0
"""Longer than `TASK_TIMEOUT`: the worker sends heartbeats for the workflow task."""


@activity.defn
async def look_up(key: str) -> str:
    await asyncio.sleep(0.02)
    return key.upper()


@activity.defn
async def third_time(key: str) -> str:
    if activity.info().attempt % 3:
        raise ApplicationError("not yet")
    return key


@activity.defn
async def ponder(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


@workflow.defn
class Clerk:
    """Runs local activities before and after a signal, so that replays must return the recorded results."""

    def __init__(self) -> None:
        self.ready = False

    @workflow.signal
    def go_on(self) -> None:
        self.ready = True

    @workflow.run
    async def run(self, long_s: float) -> list[str]:
        retry = RetryPolicy(initial_interval=timedelta(seconds=0.1))
        within = timedelta(minutes=5)
        parts = await asyncio.gather(
            workflow.execute_local_activity(look_up, "a", start_to_close_timeout=within),
            workflow.execute_local_activity(
                third_time, "b", start_to_close_timeout=within, retry_policy=retry
            ),
            workflow.execute_local_activity(
                third_time,
                "c",
                start_to_close_timeout=within,
                retry_policy=retry,
                local_retry_threshold=timedelta(seconds=0.15),
            ),
        )
        await workflow.wait_condition(lambda: self.ready)
        last = await workflow.execute_local_activity(ponder, long_s, start_to_close_timeout=within)
        return [*parts, last]


class Clerks(Workload):
    workflows = (Clerk,)
    activities = (look_up, third_time, ponder)

    async def play(self) -> None:
        await asyncio.gather(*(self._one(f"clerk-{number}") for number in range(2)))

    async def _one(self, workflow_id: str) -> None:
        await self.start(Clerk.run, LONG_S, workflow_id, task_timeout=TASK_TIMEOUT)
        handle = self.client.get_workflow_handle(workflow_id)
        try:
            await self.insist(lambda: handle.signal(Clerk.go_on))
        except RPCError as error:
            # The signal arrived and its answer was lost: the repeated call finds a closed workflow.
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        self.expect(workflow_id, await self.result(workflow_id), ["A", "b", "c", "done"])
