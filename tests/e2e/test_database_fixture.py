"""Databases of earlier versions: they open, their histories replay, and their open runs finish.

A file that a released version wrote is never replaced; a new version adds its own.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perdure.client import Client, WorkflowExecutionStatus
from perdure.worker import Replayer, Worker
from tests.e2e.fixtures import version_0_1 as kept

pytestmark = [pytest.mark.e2e]

FIXTURE = Path(kept.__file__).parent / "perdure-0.1.db"
PATIENCE_S = 120.0


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    copy = shutil.copy(FIXTURE, tmp_path / "orders.db")
    async with await Client.connect(f"sqlite:{copy}") as client:
        yield client


async def test_every_run_is_listed_with_its_status(client: Client):
    listed = {run.id: run.status async for run in client.list_workflows()}
    expected = {name: WorkflowExecutionStatus[status] for name, status in kept.CLOSED.items()}
    expected |= dict.fromkeys(kept.OPEN, WorkflowExecutionStatus.RUNNING)
    assert listed == expected
    description = await client.get_workflow_handle("closed-completed").describe()
    assert await description.memo() == {"customer": "Ada"}


async def test_every_history_replays(client: Client):
    replayer = Replayer(workflows=kept.WORKFLOWS)
    for workflow_id in (*kept.CLOSED, *kept.OPEN):
        history = await client.get_workflow_handle(workflow_id).fetch_history()
        assert [event.event_id for event in history.events] == list(
            range(1, len(history.events) + 1)
        )
        await replayer.replay_workflow(history)


async def test_closed_runs_have_their_results(client: Client):
    completed = client.get_workflow_handle_for(kept.Buy.run, "closed-completed")
    assert await completed.result() == 21


async def test_open_runs_finish(client: Client):
    async with (
        Worker(
            client,
            task_queue=kept.TASK_QUEUE,
            workflows=kept.WORKFLOWS,
            activities=kept.ACTIVITIES,
        ),
        Worker(
            client,
            task_queue=kept.ABANDONED,
            workflows=kept.WORKFLOWS,
            activities=kept.ACTIVITIES,
        ),
        asyncio.timeout(PATIENCE_S),
    ):
        signalled = client.get_workflow_handle_for(kept.Collect.run, "open-signalled")
        assert await signalled.query(kept.Collect.count) == 2
        for workflow_id in ("open-signalled", "open-buffered"):
            await client.get_workflow_handle(workflow_id).signal(kept.Collect.add, "last")
        results = {name: await client.get_workflow_handle(name).result() for name in kept.OPEN}
    assert results == kept.OPEN
