"""The gRPC face: statuses with details, health, reflection, gzip, deadlines, ports, vanished clients."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from perdure.core.limits import COMPLETION_BYTES_MAX, GRPC_MESSAGE_BYTES_MAX
from perdure.server.common.options import ServerStartError
from perdure.server.transport.grpc import STATUS_DETAILS_KEY, GrpcServer, why_not
from perdure.server.transport.receiving import ARRIVING_MAX, SLOW_MAX
from perdure.wire.api import common, errordetails, workflowservice
from perdure.wire.seam import OPERATOR_SERVICE, TEST_SERVICE, WORKFLOW_SERVICE
from tests.unit.frontend.conftest import QUEUE, Caller

BURST = 2_500
"""Calls that are all on their way before the server takes the first one."""


@pytest.fixture
async def server(caller: Caller) -> AsyncIterator[GrpcServer]:
    server = GrpcServer(caller.node.frontend, "127.0.0.1", 0)
    await server.start()
    yield server
    await caller.node.stop_polls()
    await server.stop(0)


@pytest.fixture
async def channel(server: GrpcServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


async def call(
    channel: grpc.aio.Channel, name: str, timeout: float | None = 10, **fields: Any
) -> Any:
    methods = {**WORKFLOW_SERVICE, **OPERATOR_SERVICE, **TEST_SERVICE}
    method = methods[name]
    unary = channel.unary_unary(
        method.path,
        request_serializer=method.request_type.SerializeToString,
        response_deserializer=method.response_type.FromString,
    )
    request = method.request_type(**fields)
    return await unary(request, timeout=timeout, compression=grpc.Compression.Gzip)


async def error_of(awaitable: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    return caught.value


async def test_compressed_requests_are_answered(channel: grpc.aio.Channel):
    info = await call(channel, "GetSystemInfo")
    assert info.capabilities.upsert_memo
    assert not info.capabilities.server_scaled_deployments


async def test_errors_carry_code_message_and_details(channel: grpc.aio.Channel):
    start: dict[str, Any] = {
        "namespace": "default",
        "workflow_id": "w",
        "workflow_type": {"name": "Greeting"},
        "task_queue": {"name": QUEUE},
    }
    first = await call(channel, "StartWorkflowExecution", request_id="1", **start)
    error = await error_of(call(channel, "StartWorkflowExecution", request_id="2", **start))
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    assert "already running" in (error.details() or "")
    trailers = dict(error.trailing_metadata())
    status = common.GrpcStatus.FromString(trailers[STATUS_DETAILS_KEY])  # pyright: ignore[reportArgumentType]
    detail = errordetails.WorkflowExecutionAlreadyStartedFailure()
    assert status.details[0].Unpack(detail)
    assert detail.run_id == first.run_id


@pytest.mark.parametrize("name", ["CreateSchedule", "CreateNexusEndpoint", "GetCurrentTime"])
async def test_what_is_missing_is_unimplemented_by_name(channel: grpc.aio.Channel, name: str):
    error = await error_of(call(channel, name))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert name in (error.details() or "")


async def test_a_poll_without_deadline_is_refused(channel: grpc.aio.Channel):
    error = await error_of(call(channel, "PollWorkflowTaskQueue", timeout=None))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def start_with_bytes(channel: grpc.aio.Channel, data: bytes) -> None:
    path = WORKFLOW_SERVICE["StartWorkflowExecution"].path
    await channel.unary_unary(path, request_serializer=bytes)(data, timeout=10)


async def test_bytes_that_are_no_request_are_an_invalid_argument(channel: grpc.aio.Channel):
    error = await error_of(start_with_bytes(channel, b"\xff\xff"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("method", "size_bytes_max"),
    [
        ("StartWorkflowExecution", GRPC_MESSAGE_BYTES_MAX),
        ("RespondActivityTaskCompleted", GRPC_MESSAGE_BYTES_MAX),
        ("RespondWorkflowTaskCompleted", COMPLETION_BYTES_MAX),
    ],
)
async def test_a_message_of_exactly_the_limit_is_read_and_a_larger_one_refused_as_workers_expect(
    channel: grpc.aio.Channel, method: str, size_bytes_max: int
):
    path = WORKFLOW_SERVICE[method].path
    send: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    read = await error_of(send(bytes(size_bytes_max), timeout=30))
    assert read.code() is grpc.StatusCode.INVALID_ARGUMENT
    refused = await error_of(send(bytes(size_bytes_max + 1), timeout=30))
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    expected = f"grpc: received message larger than max ({size_bytes_max + 1} vs. {size_bytes_max})"
    assert (refused.details() or "").startswith(expected)


async def test_a_burst_of_calls_waits_its_turn(channel: grpc.aio.Channel):
    # Regression: of more than 1,000 that wait, grpc ended some as cancelled by the client, if not told otherwise.
    answers = await asyncio.gather(
        *(call(channel, "GetSystemInfo", timeout=60) for _ in range(BURST)), return_exceptions=True
    )
    assert [answer for answer in answers if isinstance(answer, BaseException)] == []


async def test_a_client_that_vanishes_leaves_no_poller_behind(
    channel: grpc.aio.Channel, caller: Caller
):
    poll = asyncio.ensure_future(
        call(
            channel,
            "PollWorkflowTaskQueue",
            namespace="default",
            task_queue={"name": QUEUE},
            identity="vanishing",
        )
    )
    await until_parked(caller, 1)
    poll.cancel()
    await until_parked(caller, 0)
    await caller.start()
    task = await caller.poll()
    assert [event.event_id for event in task.history.events] == [1, 2, 3]


async def until_parked(caller: Caller, count: int) -> None:
    """Wait until so many polls are parked; another task parks and withdraws them."""
    while True:
        queues = caller.node.matching._queues.all()
        if sum(queue.parked_pollers for _, queue in queues) == count:
            return
        await asyncio.sleep(0.001)


async def check_health(channel: grpc.aio.Channel, service: str) -> Any:
    unary = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return await unary(health_pb2.HealthCheckRequest(service=service), timeout=10)


@pytest.mark.parametrize("service", ["", "temporal.api.workflowservice.v1.WorkflowService"])
async def test_health_of_what_is_served(channel: grpc.aio.Channel, service: str):
    response = await check_health(channel, service)
    assert response.status == health_pb2.HealthCheckResponse.SERVING


async def test_health_of_an_unknown_service_is_not_found(channel: grpc.aio.Channel):
    error = await error_of(check_health(channel, "nobody"))
    assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_services_and_describes_them(channel: grpc.aio.Channel):
    stream = channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    service = "temporal.api.workflowservice.v1.WorkflowService"
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=service),
    ]
    listed, described = [answer async for answer in stream(iter(requests), timeout=10)]
    assert service in [entry.name for entry in listed.list_services_response.service]
    assert described.file_descriptor_response.file_descriptor_proto


async def test_a_port_in_use_is_one_line_that_says_what_to_do(
    server: GrpcServer, caller: Caller, capfd: pytest.CaptureFixture[str]
):
    with pytest.raises(ServerStartError) as caught:
        GrpcServer(caller.node.frontend, "127.0.0.1", server.port)
    text = str(caught.value)
    assert f"127.0.0.1:{server.port}: {os.strerror(errno.EADDRINUSE)}. " in text
    assert "--port" in text
    assert "\n" not in text
    assert capfd.readouterr().err == "", "nothing but the error is said"


async def test_an_address_that_only_grpc_refuses_is_the_same_error(caller: Caller):
    # The system takes the short form of 127.0.0.1, gRPC does not.
    assert why_not("127.1", 0) == ""
    with pytest.raises(ServerStartError, match=r"on 127\.1:0: gRPC could not bind it"):
        GrpcServer(caller.node.frontend, "127.1", 0)


def can_listen_on_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


async def test_an_ipv6_address_is_listened_on_where_there_is_one(caller: Caller):
    if can_listen_on_ipv6():
        assert why_not("::1", 0) == ""
        server = GrpcServer(caller.node.frontend, "::1", 0)
        await server.start()
        async with grpc.aio.insecure_channel(f"[::1]:{server.port}") as channel:
            assert (await call(channel, "GetSystemInfo")).capabilities.upsert_memo
        assert why_not("::1", server.port) == os.strerror(errno.EADDRINUSE)
        await server.stop(0)
    else:
        with pytest.raises(ServerStartError, match="on ::1:0: "):
            GrpcServer(caller.node.frontend, "::1", 0)


def test_a_server_that_was_stopped_just_now_leaves_its_port_free():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            served, _ = listener.accept()
            served.close()  # the side that closes first keeps the port in TIME_WAIT
            assert client.recv(1) == b""
    assert why_not("127.0.0.1", port) == ""


async def test_stopping_answers_parked_polls_empty_and_ends(
    server: GrpcServer, channel: grpc.aio.Channel, caller: Caller
):
    poll = asyncio.ensure_future(
        call(channel, "PollWorkflowTaskQueue", namespace="default", task_queue={"name": QUEUE})
    )
    await until_parked(caller, 1)
    await caller.node.stop_polls()
    assert await poll == workflowservice.PollWorkflowTaskQueueResponse()
    await server.stop(5_000_000_000)


async def test_a_health_request_that_cannot_be_decoded_is_an_invalid_argument(
    channel: grpc.aio.Channel,
):
    ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        "/grpc.health.v1.Health/Check"
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(b"\xff\xff")
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_calls_whose_requests_do_not_come_hold_up_no_others(
    server: GrpcServer, channel: grpc.aio.Channel
):
    path = WORKFLOW_SERVICE["GetSystemInfo"].path
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as other:
        begun: list[Any] = [
            other.stream_unary(path)() for _ in range(2 * (ARRIVING_MAX + SLOW_MAX))
        ]
        await asyncio.gather(*(each.wait_for_connection() for each in begun))
        assert (await call(channel, "GetSystemInfo", timeout=60)).server_version
        for each in begun:
            each.cancel()
    assert (await call(channel, "GetSystemInfo")).server_version


async def test_a_call_without_a_request_is_the_fault_of_its_caller(channel: grpc.aio.Channel):
    for path in (WORKFLOW_SERVICE["GetSystemInfo"].path, "/grpc.health.v1.Health/Check"):
        error = await error_of(cast("Any", channel).stream_unary(path)(iter(()), timeout=60))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "no request" in (error.details() or "")


async def test_idle_streams_of_reflection_hold_up_no_others_and_are_refused_when_there_are_many(
    channel: grpc.aio.Channel,
):
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    streams: list[Any] = [channel.stream_stream(path)() for _ in range(ARRIVING_MAX + SLOW_MAX + 1)]
    await asyncio.gather(*(each.wait_for_connection() for each in streams))
    codes = [asyncio.ensure_future(each.code()) for each in streams]
    assert (await call(channel, "GetSystemInfo", timeout=60)).server_version
    done, _ = await asyncio.wait(codes, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    assert {each.result() for each in done} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    for each in streams:
        each.cancel()
    await asyncio.wait(codes, timeout=60)
