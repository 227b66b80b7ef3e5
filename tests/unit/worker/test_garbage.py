"""What a finished workflow leaves behind: nothing that only the garbage collector can free.

The collector walks every object of the embedding program; a run that waits for it makes it come by often.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Generator
from datetime import timedelta

import pytest

from perdure import activity, workflow
from perdure.client import Client
from perdure.worker import Worker

WORKFLOWS = 20


@activity.defn
async def step() -> str:
    return "done"


@workflow.defn
class OneStep:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(step, start_to_close_timeout=timedelta(seconds=10))


@pytest.fixture
def no_collector() -> Generator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
async def test_finished_runs_and_activities_are_freed_at_once() -> None:
    async with (
        await Client.connect("memory:") as client,
        Worker(client, task_queue="q", workflows=[OneStep], activities=[step]),
    ):

        async def work(name: str) -> None:
            for number in range(WORKFLOWS):
                await client.execute_workflow(OneStep.run, id=f"{name}-{number}", task_queue="q")
            for _ in range(10):
                await asyncio.sleep(0)

        await work("warm-up")
        gc.collect()
        await work("counted")
        assert gc.collect() < 5 * WORKFLOWS, "one run used to leave a hundred objects"
