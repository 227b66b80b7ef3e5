"""How the channel is set for each option, what a call carries, and the raw client around it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message

from perdure.service import (
    ConnectConfig,
    DnsLoadBalancingConfig,
    GrpcCompression,
    HttpConnectProxyConfig,
    KeepAliveConfig,
    RetryConfig,
    RPCError,
    RPCStatusCode,
    ServiceClient,
    TLSConfig,
)
from perdure.service.client import _log_retry, connect
from perdure.service.eager_starts import EagerStarts, FirstTask
from perdure.service.grpc_connection import GrpcConnection, _open_channel, _options, host_of
from perdure.service.headers import validate_metadata
from perdure.wire import errors, health
from perdure.wire.api import workflowservice as pb
from perdure.wire.seam import WORKFLOW_SERVICE, Method
from tests.harness.connections import ScriptedConnection

BASE = {
    "grpc.max_send_message_length": -1,
    "grpc.max_receive_message_length": 128 * 1024 * 1024,
    "grpc.max_metadata_size": 1024 * 1024,
    "grpc.absolute_max_metadata_size": 1024 * 1024,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 5_000,
    "grpc.max_reconnect_backoff_ms": 1_000,
    "grpc.enable_retries": 0,
    "grpc.use_local_subchannel_pool": 1,
}
NO_PROXY = {"grpc.enable_http_proxy": 0}
KEEP_ALIVE = {
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 15_000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.http2.max_pings_without_data": 0,
}
PROXY = HttpConnectProxyConfig("proxy:3128", basic_auth=("me@x", "pass/word"))
DNS = {"grpc.lb_policy_name": "round_robin", "grpc.dns_min_time_between_resolutions_ms": 7_000}


@pytest.mark.parametrize(
    ("config", "more"),
    [
        ({}, NO_PROXY | KEEP_ALIVE),
        ({"keep_alive_config": None}, NO_PROXY),
        (
            {"keep_alive_config": KeepAliveConfig(interval_millis=1, timeout_millis=2)},
            NO_PROXY | KEEP_ALIVE | {"grpc.keepalive_time_ms": 1, "grpc.keepalive_timeout_ms": 2},
        ),
        ({"connect_timeout": timedelta(seconds=1.5)}, NO_PROXY | KEEP_ALIVE | {"grpc.min_reconnect_backoff_ms": 1_500}),
        ({"connect_timeout": timedelta(0)}, NO_PROXY | KEEP_ALIVE | {"grpc.min_reconnect_backoff_ms": 1}),
        (
            {"tls": TLSConfig(domain="d")},
            NO_PROXY | KEEP_ALIVE | {"grpc.ssl_target_name_override": "d", "grpc.default_authority": "d"},
        ),
        (
            {"tls": TLSConfig(domain="d", verification_server_name="d")},
            NO_PROXY | KEEP_ALIVE | {"grpc.ssl_target_name_override": "d", "grpc.default_authority": "d"},
        ),
        (
            {"target_host": "127.0.0.1:7233", "tls": TLSConfig(verification_server_name="v")},
            NO_PROXY | KEEP_ALIVE | {"grpc.ssl_target_name_override": "v"},
        ),
        (
            {"target_host": "[::1]:7233", "tls": TLSConfig(verification_server_name="v")},
            NO_PROXY | KEEP_ALIVE | {"grpc.ssl_target_name_override": "v"},
        ),
        ({"tls": TLSConfig(verification_server_name="host")}, NO_PROXY | KEEP_ALIVE),
        ({"tls": True}, NO_PROXY | KEEP_ALIVE),
        (
            {"http_connect_proxy_config": PROXY},
            KEEP_ALIVE | {"grpc.http_proxy": "http://me%40x:pass%2Fword@proxy:3128"},
        ),
        (
            {"http_connect_proxy_config": HttpConnectProxyConfig("proxy:3128")},
            KEEP_ALIVE | {"grpc.http_proxy": "http://proxy:3128"},
        ),
        ({"dns_load_balancing_config": DnsLoadBalancingConfig(7_000)}, NO_PROXY | KEEP_ALIVE | DNS),
        (
            {"dns_load_balancing_config": DnsLoadBalancingConfig(7_000), "http_connect_proxy_config": PROXY},
            KEEP_ALIVE | {"grpc.http_proxy": "http://me%40x:pass%2Fword@proxy:3128"},
        ),
    ],
)  # fmt: skip
def test_the_channel_is_set(config: dict[str, Any], more: dict[str, object]):
    options: dict[str, Any] = {"target_host": "host:1"} | config
    found = _options(ConnectConfig(**options))
    assert len(found) == len(dict(found)), "each once"
    assert dict(found) == BASE | more


@pytest.mark.parametrize(
    ("target", "tls"),
    [
        ("orders.test:7233", TLSConfig(verification_server_name="v")),
        ("orders.test", TLSConfig(verification_server_name="v")),
        ("127.0.0.1:7233", TLSConfig(domain="d", verification_server_name="v")),
    ],
)
async def test_a_name_to_verify_that_would_change_the_name_that_is_told_is_refused(
    target: str, tls: TLSConfig
):
    with pytest.raises(ValueError, match=r"verification_server_name='v' differs .* Use domain='v'"):
        await connect(target, ConnectConfig(target, tls=tls))


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("orders.test:7233", "orders.test"),
        ("orders.test", "orders.test"),
        ("127.0.0.1:7233", "127.0.0.1"),
        ("[::1]:7233", "::1"),
        ("[::1]", "::1"),
        ("::1", "::1"),
    ],
)
def test_the_host_of_a_target(target: str, host: str):
    assert host_of(target) == host


def test_what_is_set_unless_told():
    config = ConnectConfig("host:1")
    assert config.keep_alive_config == KeepAliveConfig(30_000, 15_000)
    assert DnsLoadBalancingConfig.default == DnsLoadBalancingConfig(30_000)
    assert config.grpc_compression is GrpcCompression.NONE
    assert (config.lazy, config.api_key, config.tls, config.retry_config) == (
        False,
        None,
        None,
        None,
    )
    retry = RetryConfig()
    assert (retry.initial_interval_millis, retry.max_interval_millis, retry.multiplier) == (
        100,
        5_000,
        1.5,
    )
    assert (retry.max_retries, retry.max_elapsed_time_millis, retry.randomization_factor) == (
        10,
        10_000,
        0.2,
    )


@pytest.mark.parametrize("metadata", [{"a": "é"}, {"a": "x\n"}, {"a": "\x00"}, {"a": "x\ty"}])
def test_a_value_that_no_transport_sends_is_refused_and_not_quoted(
    metadata: dict[str, str | bytes],
):
    with pytest.raises(TypeError, match="'a': the value must be printable ASCII") as caught:
        validate_metadata(metadata)
    assert "é" not in str(caught.value)


@pytest.mark.parametrize(
    "metadata",
    [{"a": ""}, {"b-1.x_y": "two words ~"}, {"c-bin": b"\x00\xff"}, {"d": "1", "e": "2"}],
)
def test_what_may_be_sent_is_sent(metadata: dict[str, str | bytes]):
    connection = GrpcConnection(ConnectConfig("x", tls=False))
    headers = dict(connection._metadata(pb.GetSystemInfoRequest(), metadata))
    assert metadata.items() <= headers.items()


def test_a_call_carries_its_namespace_and_the_callers_headers():
    connection = GrpcConnection(
        ConnectConfig("x", rpc_metadata={"a": "1", "b": "1"}, api_key="k", tls=False)
    )
    request = pb.DescribeNamespaceRequest(namespace="n")
    headers = dict(connection._metadata(request, {"b": "2"}))
    assert {
        "a": "1",
        "b": "2",
        "temporal-namespace": "n",
        "authorization": "Bearer k",
    }.items() <= headers.items()
    assert "temporal-namespace" not in dict(connection._metadata(pb.GetSystemInfoRequest(), None))
    assert dict(connection._metadata(request, None))["b"] == "1", "headers of one call do not stay"
    with pytest.raises(TypeError):
        connection._metadata(request, {"B": "2"})


# ── the raw client ───────────────────────────────────────────────────────────────────────────────────


class Scripted:
    """A connection that answers from a list."""

    polls_are_free = False
    inline_workers = None

    def __init__(self, *answers: Message | Exception) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, Message, Mapping[str, str | bytes] | None, int | None]] = []
        self.is_closed = False

    async def call(
        self,
        method: Method,
        request: Message,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout_ns: int | None = None,
    ) -> Message:
        self.calls.append((method.name, request, metadata, timeout_ns))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        self.is_closed = True


FAST = RetryConfig(initial_interval_millis=1, max_interval_millis=1)
INFO = pb.GetSystemInfoResponse(server_version="1")


@pytest.mark.parametrize("service", ["", "temporal.api.workflowservice.v1.WorkflowService"])
@pytest.mark.parametrize(
    ("status", "serves"), [(health.SERVING, True), (health.NOT_SERVING, False)]
)
async def test_the_health_of_a_service_is_asked_for_by_its_name(
    service: str, status: Any, serves: bool
):
    connection = ScriptedConnection(Check=health.HealthCheckResponse(status=status))
    client = ServiceClient(ConnectConfig("nowhere:1"), connection)
    assert await client.check_health(service=service) is serves
    assert connection.calls == [("Check", health.HealthCheckRequest(service=service))]


@pytest.mark.parametrize("compression", [GrpcCompression.NONE, GrpcCompression.GZIP])
@pytest.mark.parametrize("credentials", [None, grpc.ssl_channel_credentials()])
def test_a_channel_is_encrypted_and_compressed_if_told(
    monkeypatch: pytest.MonkeyPatch,
    compression: GrpcCompression,
    credentials: grpc.ChannelCredentials | None,
):
    opened: list[tuple[str, tuple[object, ...], dict[str, object]]] = []

    def opens(name: str) -> Callable[..., None]:
        def open_channel(*args: object, **more: object) -> None:
            opened.append((name, args, more))

        return open_channel

    for name in ("insecure_channel", "secure_channel"):
        monkeypatch.setattr(grpc.aio, name, opens(name))
    config = ConnectConfig("host:1", grpc_compression=compression)
    options: list[tuple[str, Any]] = [("grpc.enable_retries", 0)]
    _open_channel(config, credentials, options)
    expected = {
        GrpcCompression.NONE: grpc.Compression.NoCompression,
        GrpcCompression.GZIP: grpc.Compression.Gzip,
    }[compression]
    name, args = "insecure_channel", ("host:1",)
    if credentials is not None:
        name, args = "secure_channel", ("host:1", credentials)
    assert opened == [(name, args, {"options": options, "compression": expected})]


async def test_the_same_request_is_sent_again():
    connection = Scripted(errors.Unavailable("away"), errors.Unavailable("away"), INFO)
    client = ServiceClient(ConnectConfig("x", retry_config=FAST), connection)
    request = pb.GetSystemInfoRequest()
    answer = await client.workflow_service.get_system_info(
        request, retry=True, metadata={"a": "1"}, timeout=timedelta(milliseconds=1.5)
    )
    assert answer is INFO
    assert connection.calls == [("GetSystemInfo", request, {"a": "1"}, 1_500_000)] * 3
    assert all(call[1] is request for call in connection.calls)


async def test_without_retries_the_first_error_is_the_answer():
    connection = Scripted(errors.Unavailable("away"), INFO)
    client = ServiceClient(ConnectConfig("x", retry_config=FAST), connection)
    with pytest.raises(RPCError, match="away") as caught:
        await client.workflow_service.get_system_info(pb.GetSystemInfoRequest())
    assert caught.value.status is RPCStatusCode.UNAVAILABLE
    assert caught.value.grpc_status.code == 14
    assert caught.value.grpc_status.message == "away"
    assert len(connection.calls) == 1
    assert connection.calls[0][3] is None


async def test_an_answer_that_is_an_error_is_final():
    connection = Scripted(errors.NotFound("nothing"), INFO)
    client = ServiceClient(ConnectConfig("x", retry_config=FAST), connection)
    with pytest.raises(RPCError) as caught:
        await client.call(WORKFLOW_SERVICE["GetSystemInfo"], pb.GetSystemInfoRequest())
    assert caught.value.status is RPCStatusCode.NOT_FOUND
    assert len(connection.calls) == 1


async def test_a_client_that_cannot_be_used_is_closed_and_says_what_to_do():
    connection = Scripted(errors.Unavailable("away"))
    client = ServiceClient(
        ConnectConfig("host", retry_config=RetryConfig(max_retries=1)), connection
    )
    with pytest.raises(RuntimeError, match=r"to host: UNAVAILABLE: away.* has no port.*start-dev"):
        await client.check_connection()
    assert connection.is_closed
    connection = Scripted(errors.PermissionDenied("no"))
    client = ServiceClient(ConnectConfig("host:1"), connection)
    with pytest.raises(RuntimeError) as caught:
        await client.check_connection()
    assert str(caught.value) == "Failed client connect to host:1: PERMISSION_DENIED: no"


async def test_a_lazy_client_connects_once_when_it_is_first_used():
    client = await ServiceClient.connect(ConnectConfig("memory:", lazy=True))
    with pytest.raises(RuntimeError, match="lazy and has not connected yet"):
        _ = client.connection
    first, second = await asyncio.gather(client.connected(), client.connected())
    assert first is second
    assert client.connection is first
    assert client.worker_service_client is client
    await client.close()


async def test_a_lazy_client_that_cannot_open_its_database_has_a_public_error(tmp_path: Path):
    target = f"sqlite:{tmp_path}/missing/perdure.db"
    client = await ServiceClient.connect(ConnectConfig(target, lazy=True))
    for _ in range(2):
        with pytest.raises(RPCError, match="cannot create") as caught:
            await client.call(WORKFLOW_SERVICE["GetSystemInfo"], pb.GetSystemInfoRequest())
        assert caught.value.status is RPCStatusCode.FAILED_PRECONDITION


def test_a_long_outage_is_said_now_and_then(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG, logger="perdure.service.client"):
        for attempt in range(1, 31):
            _log_retry(WORKFLOW_SERVICE["GetSystemInfo"], errors.Unavailable("away"), attempt)
    warned = [
        place for place, one in enumerate(caplog.records, 1) if one.levelno == logging.WARNING
    ]
    assert warned == [10, 20, 30]
    assert len(caplog.records) == 30
    assert caplog.records[9].getMessage() == "GetSystemInfo failed 10 times, trying again: away"


def test_the_first_worker_with_a_slot_gets_the_first_task():
    starts = EagerStarts()
    asked: list[str] = []

    def settle(_: FirstTask | None) -> None: ...

    def worker(name: str, *, is_free: bool) -> Any:
        def reserve() -> Any:
            asked.append(name)
            return settle if is_free else None

        return reserve

    busy, free, idle = (worker(name, is_free=name != "busy") for name in ("busy", "free", "idle"))
    assert starts.reserve("n", "q") is None
    for reserve in (busy, free, idle):
        starts.register("n", "q", reserve)
    assert starts.reserve("n", "q") is settle
    assert asked == ["busy", "free"]
    assert starts.reserve("m", "q") is None
    assert starts.reserve("n", "p") is None
    starts.withdraw("n", "q", free)
    assert starts.reserve("n", "q") is settle
    assert asked[2:] == ["busy", "idle"]
    starts.withdraw("n", "q", idle)
    assert starts.reserve("n", "q") is None
