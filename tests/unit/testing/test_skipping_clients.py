"""The environment's own sleep and clock, its clients, and its end."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from perdure.client import Client, RPCError
from perdure.server.time_skipping.node import open_time_skipping_node
from perdure.testing import WorkflowEnvironment
from perdure.testing.time_skipping import TARGET, TimeSkippingBackend
from perdure.wire.api import enums
from tests.harness.builders import complete_workflow, schedule_activity
from tests.unit.testing.hosted import environment, hosted, locks, settle, start
from tests.unit.testing.stage import Stage, staged

DAY_S = 86_400.0

# Sleeping, and what time it is.


@hosted
async def test_an_environment_sleeps_exactly_and_gives_its_lock_back(
    stage: Stage, env: WorkflowEnvironment
) -> None:
    expected = 0.0
    for length in (1.5, timedelta(days=400, microseconds=7), 0, -5, timedelta(milliseconds=1)):
        await env.sleep(length)
        seconds = length.total_seconds() if isinstance(length, timedelta) else length
        expected = max(expected, stage.now_s) if seconds <= 0 else expected + seconds
        assert expected <= stage.now_s < expected + 0.01
        assert (locks(stage), stage.time.is_open) == ((1, 0), False)
        expected = stage.now_s
    assert stage.time.skips == 2, "a millisecond passes by itself"


@hosted
async def test_the_environments_time_is_that_of_its_workflows(
    stage: Stage, env: WorkflowEnvironment
) -> None:
    await env.sleep(DAY_S)
    handle = await start(env)
    now = await env.get_current_time()
    assert now == await env.get_current_time(handle)
    assert now.tzinfo is UTC
    whole_us = stage.time.clock.now_ns() // 1000
    assert now == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=whole_us)
    description = await handle.describe()
    assert abs((description.start_time - now).total_seconds()) < 0.001


@hosted
async def test_two_environments_sleep_each_for_itself(
    stage: Stage, env: WorkflowEnvironment
) -> None:
    """Two nodes in one process share nothing."""
    other = TimeSkippingBackend(
        await open_time_skipping_node(real=stage.real), config={}, client={"namespace": "default"}
    )
    await other.sleep(10 * DAY_S)
    assert stage.now_s < 1
    waiting = asyncio.ensure_future(other.client.get_workflow_handle("w").result())
    await asyncio.gather(waiting, return_exceptions=True)
    assert locks(stage) == (1, 0)
    with other.auto_time_skipping_disabled():
        handle = await start(env)
        mine = asyncio.ensure_future(handle.result())
        await settle()
        assert locks(stage) == (0, 0)
        mine.cancel()
    await other.shutdown()
    await env.sleep(DAY_S)
    assert DAY_S <= stage.now_s < DAY_S + 1


@staged
async def test_two_runs_that_change_in_one_step_are_both_seen(stage: Stage) -> None:
    first = await stage.started_run("w", schedule_activity())
    await stage.poll_activity()
    second = await stage.start(
        "w",
        request_id="again",
        workflow_id_conflict_policy=enums.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING,
    )
    assert first != second
    await stage.check_work([first, second])
    assert set(stage.time.work) == {second}


# Clients, and the end.


@hosted
async def test_clients_of_an_environment(stage: Stage, env: WorkflowEnvironment) -> None:
    assert env.supports_time_skipping
    assert env.supports_time_skipping_v1
    assert not env.supports_time_skipping_v2
    config = env.client.service_client.config
    assert (config.target_host, config.identity) == (TARGET, "tester")
    other = await env.connect_client()
    assert other is not env.client
    assert (other.namespace, other.service_client.config.identity) == ("default", "tester")
    assert (await env.connect_client(namespace="elsewhere")).namespace == "elsewhere"
    await start(env)
    waiting = asyncio.ensure_future(other.get_workflow_handle("w").result())
    await settle()
    assert locks(stage) == (0, 0), "every client of the environment unlocks"
    await stage.complete_next(complete_workflow())
    await waiting


@hosted
async def test_the_end_reaches_every_client_and_comes_once(
    stage: Stage, env: WorkflowEnvironment
) -> None:
    clients: list[Client] = [env.client, await env.connect_client(), await env.connect_client()]
    await start(env)
    waiting = [
        asyncio.ensure_future(client.get_workflow_handle("w").result()) for client in clients
    ]
    sleeping = asyncio.ensure_future(env.sleep(DAY_S))
    await settle()
    await env.shutdown()
    await env.shutdown()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [RPCError] * 3
    await sleeping
    for client in clients:
        with pytest.raises(RPCError, match="closed"):
            await client.get_workflow_handle("w").describe()
    with pytest.raises(RuntimeError, match="shut down"):
        await env.sleep(1)


@staged
async def test_leaving_the_block_ends_the_environment(stage: Stage) -> None:
    env = environment(stage)
    with pytest.raises(ValueError, match="no"):
        async with env as entered:
            assert entered is env
            raise ValueError("no")
    with pytest.raises(RuntimeError, match="shut down"):
        await env.sleep(1)
