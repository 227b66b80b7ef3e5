"""Activities that fail before they succeed, time out, or never succeed."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from perdure import activity, workflow
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError
from tests.simulation.ledger import Current
from tests.simulation.workloads.base import Workload

POLICY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=50)


@activity.defn
async def flaky(failures: int) -> int:
    Current.ledger.note_attempt()
    attempt = activity.info().attempt
    activity.heartbeat(attempt)
    if attempt <= failures:
        raise ApplicationError(f"attempt {attempt} fails")
    return attempt


@activity.defn
async def hopeless() -> None:
    Current.ledger.note_attempt()
    raise ApplicationError("never", non_retryable=True)


@activity.defn
async def sometimes_stuck() -> int:
    Current.ledger.note_attempt()
    if activity.info().attempt == 1:
        await asyncio.sleep(3_600)
    return activity.info().attempt


@workflow.defn
class Retrying:
    @workflow.run
    async def run(self, failures: int) -> str:
        attempts = await workflow.execute_activity(
            flaky,
            failures,
            start_to_close_timeout=timedelta(seconds=20),
            heartbeat_timeout=timedelta(seconds=15),
            retry_policy=POLICY,
        )
        stuck = await workflow.execute_activity(
            sometimes_stuck, start_to_close_timeout=timedelta(seconds=4), retry_policy=POLICY
        )
        try:
            await workflow.execute_activity(
                hopeless, start_to_close_timeout=timedelta(seconds=20), retry_policy=POLICY
            )
        except ActivityError as error:
            ending = type(error.cause).__name__
        else:
            ending = "succeeded"
        return f"{attempts > failures} {stuck > 1} {ending}"


class Retries(Workload):
    workflows = (Retrying,)
    activities = (flaky, hopeless, sometimes_stuck)

    async def play(self) -> None:
        await self.start(Retrying.run, 3, "retrying")
        self.expect("retrying", await self.result("retrying"), "True True ApplicationError")
