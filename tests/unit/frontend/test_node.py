"""How a node is opened: its namespaces, its limits, its options, and what it refuses to begin with."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
import pytest

from perdure.core.clock import SystemClock
from perdure.core.ids import new_id
from perdure.core.limits import DEFAULT_LIMITS, Limits
from perdure.core.units import HOUR_NS, SECOND_NS
from perdure.server.common.options import PORT_MAX, DevServerOptions, ServerStartError
from perdure.server.node.main import limits_of, open_dev_node
from perdure.server.node.node import Node, open_node
from perdure.server.transport import grpc as transport
from perdure.server.transport.grpc import GrpcServer
from perdure.storage.sqlite import open_memory
from perdure.storage.sqlite_open import connect_memory
from perdure.wire import health
from tests.unit.frontend.conftest import Caller, GatedExecutor

YEAR_SECONDS = 365 * 86_400


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("limit.historyCount.suggestContinueAsNew", "history_count_suggest_continue"),
        ("limit.historySize.suggestContinueAsNew", "history_size_suggest_continue_bytes"),
        ("limit.historyCount.error", "history_count_max"),
        ("limit.historySize.error", "history_size_bytes_max"),
        ("limit.blobSize.error", "blob_size_bytes_max"),
        ("limit.memoSize.error", "memo_size_bytes_max"),
        ("limit.maxIDLength", "id_length_max"),
        ("history.maxBufferedQueryCount", "buffered_queries_max"),
    ],
)
def test_each_key_of_the_dynamic_configuration_changes_its_limit_alone(key: str, field: str):
    limits = limits_of({"something.else": 1, key: 77, "and.more": "x"})
    differing = [
        name
        for name in Limits.__struct_fields__
        if getattr(limits, name) != getattr(DEFAULT_LIMITS, name)
    ]
    assert differing == [field]
    assert getattr(limits, field) == 77
    assert getattr(limits_of({key: 1}), field) == 1


@pytest.mark.parametrize(
    ("field", "flag"),
    [
        ("port", "--port"),
        ("ui_port", "--ui-port"),
        ("http_port", "--http-port"),
        ("metrics_port", "--metrics-port"),
    ],
)
def test_ports_have_a_range(field: str, flag: str):
    for good in (0, 1, PORT_MAX):
        assert getattr(DevServerOptions(**{field: good}), field) == good  # type: ignore[arg-type]
    for bad in (-1, PORT_MAX + 1):
        with pytest.raises(ValueError, match=f"{flag} is {bad}"):
            DevServerOptions(**{field: bad})  # type: ignore[arg-type]


def test_options_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match="--search-attribute A=Colour"):
        DevServerOptions(search_attributes={"B": "Int", "A": "Colour"})
    with pytest.raises(ValueError, match="--namespace must not be empty"):
        DevServerOptions(namespaces=("default", ""))
    assert DevServerOptions(search_attributes={"A": "Text", "B": "KeywordList"})


async def opened(connection: Any, **options: Any) -> Node:
    store = open_memory(connection=connection)
    return await open_node(store, clock=SystemClock(), new_id=new_id, **options)


async def told(node: Node, name: str, **fields: Any) -> Any:
    return await Caller(node, GatedExecutor()).call(name, **fields)


async def test_a_node_keeps_what_it_finds_and_adds_what_it_is_told():
    with contextlib.closing(connect_memory(4)) as connection:
        node = await opened(
            connection,
            namespaces=("default", "shop"),
            search_attributes={"Size": "Int"},
            limits=Limits(retention_default_ns=HOUR_NS),
        )
        first = (await told(node, "GetClusterInfo")).cluster_id
        own = await told(node, "DescribeNamespace")
        assert own.namespace_info.id == first, "the oldest namespace"
        assert own.config.workflow_execution_retention_ttl.seconds == 3_600
        await node.close()
        node = await opened(
            connection,
            namespaces=("another", "shop", "default"),
            search_attributes={"Tags": "KeywordList", "Size": "Int"},
        )
        assert (await told(node, "GetClusterInfo")).cluster_id == first
        again = await told(node, "DescribeNamespace")
        assert again == own
        for name in ("default", "shop", "another"):
            listed = await told(node, "ListSearchAttributes", namespace=name)
            assert dict(listed.custom_attributes) == {"Size": 3, "Tags": 7}
        listed = await told(node, "ListNamespaces")
        assert len(listed.namespaces) == 3
        await node.close()


async def test_what_is_there_already_is_not_written_again():
    with contextlib.closing(connect_memory(4)) as connection:
        node = await opened(connection, search_attributes={"Size": "Int"})
        await node.close()
        node = await opened(connection, search_attributes={"Size": "Int"})
        assert node.engine.committer.batches == 0
        await node.close()


async def test_a_development_server_says_where_it_stores(tmp_path: Path):
    for options, store in (
        (DevServerOptions(), "memory"),
        (DevServerOptions(db_filename=tmp_path / "x.db", namespaces=("shop",)), "sqlite"),
    ):
        node = await open_dev_node(options)
        info = await told(node, "GetClusterInfo")
        assert (info.persistence_store, info.visibility_store) == (store, store)
        for name in options.namespaces:
            described = await told(node, "DescribeNamespace", namespace=name)
            assert described.namespace_info.name == name
        await node.close()


async def test_a_configuration_that_is_refused_opens_nothing(tmp_path: Path):
    options = DevServerOptions(
        db_filename=tmp_path / "x.db", dynamic_config={"limit.maxIDLength": 0}
    )
    with pytest.raises(ServerStartError):
        await open_dev_node(options)
    assert not (tmp_path / "x.db").exists()


# The transport.


async def test_the_settings_of_the_transport(caller: Caller):
    server = GrpcServer(caller.node.frontend, "127.0.0.1", 0)
    await server.stop(0)
    assert dict(transport._OPTIONS) == {
        "grpc.max_receive_message_length": 33 * 1024 * 1024,
        "grpc.max_send_message_length": -1,
        "grpc.so_reuseport": 0,
        "grpc.http2.max_ping_strikes": 0,
        "grpc.http2.bdp_probe": 0,
        "grpc.max_concurrent_streams": 4_000,
        "grpc.max_connection_age_ms": 5 * 60_000,
        "grpc.max_connection_age_grace_ms": 70_000,
        "grpc.max_connection_idle_ms": 2 * 60_000,
        "grpc.keepalive_permit_without_calls": 1,
        "grpc.keepalive_time_ms": 60_000,
        "grpc.keepalive_timeout_ms": 20_000,
        "grpc.server.max_pending_requests": 100_000,
        "grpc.server.max_pending_requests_hard_limit": 100_001,
    }


class EmptyRequest:
    """The context of a call whose request has no bytes."""

    async def read(self) -> bytes:
        return b""


async def test_a_server_is_healthy_from_its_start_to_its_stop(caller: Caller):
    server = GrpcServer(caller.node.frontend, "127.0.0.1", 0)

    async def status() -> Any:
        answer = await server._check_health(None, cast("Any", EmptyRequest()))
        return health.HealthCheckResponse.FromString(answer).status

    assert await status() == health.NOT_SERVING
    await server.start()
    assert await status() == health.SERVING
    await server.stop(0)
    assert await status() == health.NOT_SERVING


async def test_a_deadline_over_the_wire_is_the_patience_of_the_call(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
):
    server = GrpcServer(caller.node.frontend, "127.0.0.1", 0)
    await server.start()
    seen: list[tuple[Any, Any]] = []
    dispatch = caller.node.frontend.dispatch_encoded

    async def watched(method: Any, request: Any, metadata: Any, timeout_ns: Any) -> bytes:
        seen.append((metadata.get("client-name"), timeout_ns))
        return await dispatch(method, request, metadata, timeout_ns)

    monkeypatch.setattr(caller.node.frontend, "dispatch_encoded", watched)
    path = "/temporal.api.workflowservice.v1.WorkflowService/GetSystemInfo"
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as opened_channel:
        channel: Any = opened_channel
        unary = channel.unary_unary(path)
        await unary(b"", timeout=None, metadata=(("client-name", "me"),))
        await unary(b"", timeout=100)
        await unary(b"", timeout=2 * YEAR_SECONDS)
    (name, without), (_, within_ns), (_, too_far) = seen
    assert (name, without, too_far) == ("me", None, None)
    assert 0 < within_ns < 200 * SECOND_NS, "the transport rounds it up"
    await server.stop(0)
