"""The worker of the kill campaign: `perdure worker run tests.e2e.kill_worker:worker`.

Each activity writes a line to a file for each attempt that really ran; the file outlives every process.
"""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path

from perdure import activity, workflow
from perdure.common import RetryPolicy


def note_attempt() -> None:
    info = activity.info()
    line = f"{info.workflow_run_id} {info.activity_id} {info.attempt}\n"
    # One write to a file opened for appending, so that lines of several processes do not mix.
    with Path(os.environ["KILL_LEDGER"]).open("a", encoding="utf-8") as file:
        file.write(line)


@activity.defn
async def step(name: str) -> str:
    note_attempt()
    await asyncio.sleep(0.05)
    return f"{name} done"


QUICK = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=1)
)


@workflow.defn
class Campaign:
    def __init__(self) -> None:
        self.received: list[str] = []
        self.is_last = False

    @workflow.signal
    def add(self, value: str) -> None:
        self.received.append(value)

    @workflow.signal
    def finish(self) -> None:
        self.is_last = True

    @workflow.run
    async def run(self, name: str) -> list[str]:
        await self._step(f"{name} first")
        await workflow.sleep(0.5)
        await workflow.wait_condition(lambda: self.is_last)
        await asyncio.gather(self._step(f"{name} second"), self._step(f"{name} third"))
        return self.received

    async def _step(self, name: str) -> None:
        # A worker that was killed cannot report: its attempt ends with this time-out.
        await workflow.execute_activity(
            step, name, start_to_close_timeout=timedelta(seconds=3), retry_policy=QUICK
        )


worker = {"task_queue": "kill", "workflows": [Campaign], "activities": [step]}
