"""Databases of earlier versions: they open, their histories replay, and their open runs finish.

A file that a released version wrote is never replaced; a new version adds its own. What a test sees of its closed runs
depends on the retention, and on the time at which it opens the file: each test here says which.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path

import pytest

from perdure.client import Client, WorkflowExecutionStatus
from perdure.core.ids import new_id
from perdure.core.units import DAY_NS, MINUTE_NS
from perdure.embedded import EmbeddedConnection
from perdure.server.node.node import Node, open_node
from perdure.service import ConnectConfig, ServiceClient
from perdure.storage.sqlite import open_sqlite
from perdure.worker import Replayer, Worker
from tests.e2e.fixtures import version_0_1 as kept

pytestmark = [pytest.mark.e2e]

FIXTURE = Path(kept.__file__).parent / "perdure-0.1.db"
PATIENCE_S = 120.0


class ClockFrom:
    """Goes on from a given moment, at the speed of real time."""

    def __init__(self, start_ns: int) -> None:
        self._ahead_ns = start_ns - time.monotonic_ns()

    def now_ns(self) -> int:
        return time.monotonic_ns() + self._ahead_ns

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


class NodeOwner:
    """Ends the node with its one connection, as an embedded engine does."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def leave(self) -> None:
        await self._node.close()


@asynccontextmanager
async def opened_later(
    database: Path, after_ns: int, retention_ns: int | None = None
) -> AsyncGenerator[Client]:
    """A client of an embedded engine whose clock starts so long after the last commit to the file."""
    with closing(sqlite3.connect(database)) as stored:
        (last_commit_ns,) = stored.execute("SELECT max(clock_ns) FROM shards").fetchone()
    node = await open_node(
        await open_sqlite(database),
        clock=ClockFrom(last_commit_ns + after_ns),
        new_id=new_id,
        workers_died=True,
        retention_ns=retention_ns,
    )
    connection = EmbeddedConnection(node, NodeOwner(node), str(database))
    async with Client(ServiceClient(ConnectConfig(str(database)), connection)) as client:
        yield client


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return Path(shutil.copy(FIXTURE, tmp_path / "orders.db"))


@pytest.fixture
async def client(database: Path) -> AsyncIterator[Client]:
    """The file as it was ten minutes later: nothing has expired."""
    async with opened_later(database, 10 * MINUTE_NS) as client:
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


async def test_open_runs_finish_ten_minutes_later(client: Client):
    await finish_open_runs(client)


async def test_open_runs_finish_today(database: Path):
    async with await Client.connect(f"sqlite:{database}") as client:
        await finish_open_runs(client)


async def finish_open_runs(client: Client) -> None:
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


async def test_two_days_later_the_closed_runs_are_kept_although_the_file_says_a_day(database: Path):
    def latest() -> tuple[int, int]:
        with closing(sqlite3.connect(database)) as stored:
            return stored.execute("SELECT min(at_ns), count(*) FROM retention").fetchone()

    until_ns, count = latest()
    assert count == len(kept.CLOSED)
    async with opened_later(database, 2 * DAY_NS) as client, asyncio.timeout(PATIENCE_S):
        while latest()[0] < until_ns + 36_000 * DAY_NS:  # noqa: ASYNC110 -- the sweep tells nobody
            await asyncio.sleep(0.01)
        listed = {run.id async for run in client.list_workflows()}
    assert listed == {*kept.CLOSED, *kept.OPEN}
    assert latest()[1] == count


async def test_two_days_later_a_retention_of_a_day_deletes_the_closed_runs_alone(database: Path):
    async with (
        opened_later(database, 2 * DAY_NS, retention_ns=DAY_NS) as client,
        asyncio.timeout(PATIENCE_S),
    ):
        await only_the_open_runs_are_left(client)


async def test_a_retention_of_an_embedded_engine_holds_from_its_opening(database: Path):
    target = f"sqlite:{database}"
    async with (
        await Client.connect(target, retention=timedelta(days=1)) as client,
        asyncio.timeout(PATIENCE_S),
    ):
        await only_the_open_runs_are_left(client)


async def only_the_open_runs_are_left(client: Client) -> None:
    # The node sweeps when it opens; each deletion is a commit of its own.
    listed = set[str]()
    while listed != set(kept.OPEN):
        listed = {run.id async for run in client.list_workflows()}
        assert listed >= set(kept.OPEN), "an open run was deleted"
        await asyncio.sleep(0.01)
    for workflow_id in kept.OPEN:
        assert (await client.get_workflow_handle(workflow_id).fetch_history()).events
