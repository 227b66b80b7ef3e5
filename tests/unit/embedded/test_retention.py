"""For how long an embedded engine keeps closed runs: forever, what was asked for, or what the database says."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from perdure.client import Client
from perdure.embedded import engine
from perdure.service import RPCError, RPCStatusCode
from perdure.wire.api import workflowservice
from perdure.wire.times import duration

FOREVER_S = 36_500 * 86_400
WEEK = timedelta(days=7)


async def kept_s(client: Client, namespace: str = "default") -> float:
    request = workflowservice.DescribeNamespaceRequest(namespace=namespace)
    described = await client.workflow_service.describe_namespace(request)
    kept = described.config.workflow_execution_retention_ttl
    return kept.seconds + kept.nanos / 1e9


async def test_closed_runs_are_kept_unless_somebody_says_otherwise(tmp_path: Path):
    for target in ("memory:", f"sqlite:{tmp_path}/x.db"):
        async with await Client.connect(target) as client:
            assert await kept_s(client) == FOREVER_S


async def test_a_retention_is_stored_until_another_one_is_given(tmp_path: Path):
    target = f"sqlite:{tmp_path}/x.db"
    for given, expected_s in (
        (WEEK, 7 * 86_400), (None, 7 * 86_400), (timedelta(milliseconds=1_500), 1.5),
        (timedelta.max, FOREVER_S), (None, FOREVER_S),
    ):  # fmt: skip
        async with await Client.connect(target, retention=given) as client:
            assert await kept_s(client) == expected_s


async def test_who_joins_an_engine_may_change_its_retention():
    async with await Client.connect("memory:kept", retention=WEEK) as first:
        async with await Client.connect("memory:kept") as second:
            assert await kept_s(second) == 7 * 86_400
        async with await Client.connect("memory:kept", retention=2 * WEEK):
            assert await kept_s(first) == 14 * 86_400


async def test_a_lazy_client_asks_for_its_retention_with_its_first_call(tmp_path: Path):
    target = f"sqlite:{tmp_path}/x.db"
    async with await Client.connect(target, lazy=True, retention=WEEK) as client:
        assert await kept_s(client) == 7 * 86_400


async def test_the_retention_is_that_of_the_namespace_of_the_client(tmp_path: Path):
    target = f"sqlite:{tmp_path}/x.db"
    async with await Client.connect(target) as client:
        request = workflowservice.RegisterNamespaceRequest(
            namespace="orders", workflow_execution_retention_period=duration(10**9 * 3_600)
        )
        await client.workflow_service.register_namespace(request)
        assert await kept_s(client, "orders") == 3_600
        async with await Client.connect(target, namespace="orders", retention=WEEK):
            assert await kept_s(client, "orders") == 7 * 86_400
            assert await kept_s(client) == FOREVER_S
    with pytest.raises(RuntimeError, match="Namespace nowhere is not found") as caught:
        await Client.connect(target, namespace="nowhere", retention=WEEK)
    assert isinstance(caught.value.__cause__, RPCError)
    assert caught.value.__cause__.status is RPCStatusCode.NOT_FOUND
    assert (tmp_path / "x.db").resolve() not in engine.shared_engines, "the engine was closed"
    async with await Client.connect(target) as client:
        assert await kept_s(client) == FOREVER_S


async def test_a_retention_for_a_server_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match="start-dev --retention"):
        await Client.connect("localhost:7233", retention=WEEK)


@pytest.mark.parametrize("nothing", [timedelta(0), timedelta(seconds=-1)])
async def test_a_retention_is_longer_than_nothing(nothing: timedelta):
    with pytest.raises(ValueError, match="longer than nothing"):
        await Client.connect("memory:", retention=nothing)
