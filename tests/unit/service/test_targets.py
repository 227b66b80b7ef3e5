from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from perdure.client import Client
from perdure.core.units import DAY_NS
from perdure.embedded import engine
from perdure.service import (
    ConnectConfig,
    GrpcCompression,
    TLSConfig,
    connect,
    targets,
)
from perdure.service.headers import base_headers, validate_metadata
from perdure.wire.api import workflowservice
from perdure.wire.times import duration


@pytest.mark.parametrize(
    ("target", "opener"),
    [
        ("localhost:7233", targets.open_grpc),
        ("127.0.0.1:7233", targets.open_grpc),
        ("[::1]:7233", targets.open_grpc),
        ("unix:/run/perdure.sock", targets.open_grpc),
        ("unix-abstract:perdure", targets.open_grpc),
        ("dns:server", targets.open_grpc),
        ("ipv4:127.0.0.1", targets.open_grpc),
        ("ipv6:[::1]", targets.open_grpc),
        ("vsock:2:x", targets.open_grpc),
        ("memory:7233", targets.open_grpc),
        ("memory:", targets.open_in_process),
        ("sqlite:orders.db", targets.open_in_process),
        ("sqlite:///var/lib/orders.db", targets.open_in_process),
        ("postgresql://db/orders", targets.refuse_postgresql),
        ("postgres://db/orders", targets.refuse_postgresql),
        ("orders", targets.open_grpc),
        ("orders.db:7233", targets.open_grpc),
    ],
)
def test_what_targets_mean(target: str, opener: targets.Opener) -> None:
    assert targets.opener_for(target) is opener


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("", "The target is empty"),
        ("http://localhost:7233", "Unknown scheme 'http'"),
        ("mysql://x", "Unknown scheme 'mysql'"),
        ("orders.db", "looks like a database file: give 'sqlite:orders.db'"),
        ("orders.sqlite", "looks like a database file: give 'sqlite:orders.sqlite'"),
        ("orders.sqlite3", "looks like a database file: give 'sqlite:orders.sqlite3'"),
    ],
)
def test_targets_that_mean_nothing(target: str, why: str) -> None:
    with pytest.raises(ValueError, match="sqlite:") as caught:
        targets.opener_for(target)
    assert why in str(caught.value)


async def retention_s(client: Client, namespace: str) -> int:
    request = workflowservice.DescribeNamespaceRequest(namespace=namespace)
    described = await client.workflow_service.describe_namespace(request)
    return described.config.workflow_execution_retention_ttl.seconds


async def test_the_retention_is_for_the_namespace_of_the_client(tmp_path: Path) -> None:
    forever_s, target = 36_500 * 86_400, f"sqlite:{tmp_path}/orders.db"
    async with await Client.connect(target, retention=timedelta(hours=2)) as client:
        request = workflowservice.RegisterNamespaceRequest(
            namespace="orders", workflow_execution_retention_period=duration(DAY_NS)
        )
        await client.workflow_service.register_namespace(request)
        assert await retention_s(client, "default") == 7_200
    async with await Client.connect(target) as client:
        assert await retention_s(client, "default") == 7_200
    hour = timedelta(hours=1)
    async with await Client.connect(target, namespace="orders", retention=hour) as client:
        assert await retention_s(client, "orders") == 3_600
        assert await retention_s(client, "default") == 7_200
    async with await Client.connect("memory:", retention=timedelta.max) as client:
        assert await retention_s(client, "default") == forever_s


async def test_a_server_takes_no_retention() -> None:
    with pytest.raises(ValueError, match="retention is for engines in this process"):
        await connect("localhost:1", ConnectConfig("localhost:1", retention=timedelta(hours=1)))


async def test_an_engine_whose_namespace_does_not_exist_is_closed_again(tmp_path: Path) -> None:
    target = f"sqlite:{tmp_path}/orders.db"
    with pytest.raises(RuntimeError, match="Namespace no-such is not found"):
        await Client.connect(target, namespace="no-such", retention=timedelta(hours=1))
    assert (tmp_path / "orders.db").resolve() not in engine.shared_engines


async def test_postgresql_says_what_to_use_instead() -> None:
    with pytest.raises(ValueError, match="not available in this version"):
        await connect("postgresql://db/orders")


def test_an_api_key_turns_tls_on() -> None:
    assert ConnectConfig("x").effective_tls() is None
    assert ConnectConfig("x", api_key="k").effective_tls() == TLSConfig()
    assert ConnectConfig("x", api_key="k", tls=False).effective_tls() is None
    assert ConnectConfig("x", tls=True).effective_tls() == TLSConfig()
    own = TLSConfig(domain="d")
    assert ConnectConfig("x", tls=own).effective_tls() is own
    assert ConnectConfig("x").grpc_compression is GrpcCompression.NONE
    assert "@" in ConnectConfig("x").identity


def test_headers() -> None:
    headers = base_headers({"a": "b", "c-bin": b"d"}, "key")
    assert headers["client-name"] == "perdure-python"
    assert headers["authorization"] == "Bearer key"
    assert headers["c-bin"] == b"d"
    assert base_headers({"authorization": "Basic x"}, "key")["authorization"] == "Basic x"


MALFORMED: list[dict[str, str | bytes]] = [
    {"Upper": "x"},
    {"": "x"},
    {"a b": "x"},
    {"a-bin": "x"},
    {"a": b"x"},
    {"ä": "x"},
    {"a\n": "x"},
    {"a:b": "x"},
    {"a\x00": "x"},
    {"a": "line\n"},
]


@pytest.mark.parametrize("metadata", MALFORMED)
@pytest.mark.parametrize("place", ["only", "first", "last"])
def test_malformed_metadata(metadata: dict[str, str | bytes], place: str) -> None:
    fine: dict[str, str | bytes] = {"fine": "x", "fine-bin": b"x"}
    given = {"only": metadata, "first": metadata | fine, "last": fine | metadata}[place]
    with pytest.raises(TypeError):
        validate_metadata(given)
    with pytest.raises(TypeError):
        base_headers(given, None)
