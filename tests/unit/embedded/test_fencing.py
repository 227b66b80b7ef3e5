"""Fencing tokens: a later attempt has a larger one, over retries, activities, runs, restarts and clocks."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from perdure import activity, workflow
from perdure.client import Client
from perdure.common import RetryPolicy
from perdure.exceptions import ApplicationError
from perdure.testing import WorkflowEnvironment
from perdure.worker import Worker

RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=1), maximum_attempts=5)
seen: list[int | None]


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    global seen  # noqa: PLW0603 - activities are plain functions
    seen = []


@activity.defn
async def tell(attempts: int) -> None:
    info = activity.info()
    seen.append(info.fencing_token)
    if info.attempt < attempts:
        raise ApplicationError("again")


@workflow.defn
class Chain:
    @workflow.run
    async def run(self, runs_left: int) -> None:
        for attempts in (3, 1):
            await workflow.execute_activity(
                tell, attempts, start_to_close_timeout=timedelta(minutes=1), retry_policy=RETRY
            )
        if runs_left:
            workflow.continue_as_new(runs_left - 1)


@workflow.defn
class Local:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_local_activity(
            tell, 1, start_to_close_timeout=timedelta(minutes=1), retry_policy=RETRY
        )


async def run(client: Client, runs: int = 1) -> None:
    async with Worker(client, task_queue="q", workflows=[Chain, Local], activities=[tell]):
        await client.execute_workflow(Chain.run, runs - 1, id=f"chain-{uuid4()}", task_queue="q")


def assert_growing(count: int) -> None:
    tokens = [token for token in seen if token is not None]
    assert len(tokens) == len(seen) == count
    assert sorted(set(tokens)) == tokens
    assert all(0 < token < 2**63 for token in tokens)


async def test_tokens_grow_over_attempts_activities_runs_and_restarts(tmp_path: Path):
    target = f"sqlite:{tmp_path / 'x.db'}"
    for _ in range(2):
        async with await Client.connect(target) as client:
            await run(client, 2)
    assert_growing(16)


async def test_tokens_grow_when_the_clock_was_set_back(tmp_path: Path):
    target = f"sqlite:{tmp_path / 'x.db'}"
    async with await Client.connect(target) as client:
        await run(client)
    hour_ns = 3_600 * 1_000_000_000
    connection = sqlite3.connect(tmp_path / "x.db")
    # For the database, the clock of the machine was an hour ahead.
    connection.execute(f"UPDATE shards SET clock_ns = clock_ns + {hour_ns}")
    connection.commit()
    connection.close()
    async with await Client.connect(target) as client:
        await run(client)
    assert_growing(8)
    first, last = seen[3], seen[4]
    assert first is not None
    assert last is not None
    assert last - first > hour_ns // 2


async def test_tokens_grow_in_skipped_time():
    async with await WorkflowEnvironment.start_time_skipping() as environment:
        await run(environment.client, 2)
    assert_growing(8)


async def test_a_local_activity_has_no_token():
    async with await Client.connect("memory:") as client:  # noqa: SIM117
        async with Worker(client, task_queue="q", workflows=[Local], activities=[tell]):
            await client.execute_workflow(Local.run, id="local", task_queue="q")
    assert seen == [None]
