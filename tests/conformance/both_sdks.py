"""Workflows whose code is the same for both SDKs: the official one reads this file with the package's name replaced.

One class, because what differs from run to run is its arguments: the local activity's options.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from perdure import workflow
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError

MINUTE = timedelta(minutes=1)


@workflow.defn
class LocalActivities:
    """Runs local activities with the options that its argument names, several at once when there are several."""

    @workflow.run
    async def run(self, steps: list[dict[str, Any]]) -> list[str]:
        return list(await asyncio.gather(*(self.step(step) for step in steps)))

    async def step(self, step: dict[str, Any]) -> str:
        options: dict[str, Any] = {
            key: timedelta(seconds=value) for key, value in step.items() if key.endswith("_timeout")
        }
        threshold = step.get("local_retry_threshold")
        handle = workflow.start_local_activity(
            step["type"],
            step["argument"],
            schedule_to_close_timeout=options.pop("schedule_to_close_timeout", MINUTE),
            retry_policy=RetryPolicy(
                initial_interval=timedelta(milliseconds=2),
                backoff_coefficient=1,
                maximum_attempts=step.get("attempts", 0),
            ),
            local_retry_threshold=None if threshold is None else timedelta(seconds=threshold),
            cancellation_type=workflow.ActivityCancellationType[step.get("cancel", "TRY_CANCEL")],
            **options,
        )
        if "cancel" in step:
            if step.get("after"):
                await asyncio.sleep(step["after"])
            handle.cancel()
        try:
            said = await handle
        except ActivityError as error:
            return f"{error.message} <- {type(error.cause).__name__}"
        except asyncio.CancelledError:
            return "cancelled"
        except Exception as error:  # noqa: BLE001 - the failure's type is what is compared
            return type(error).__name__
        await asyncio.sleep(0.001)
        return str(said)
