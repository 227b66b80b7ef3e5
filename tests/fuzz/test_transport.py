"""The same over gRPC: bytes at random for every method of a test server, health and reflection."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from random import Random

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from perdure.server.time_skipping.node import open_time_skipping_node
from perdure.server.transport.grpc import GrpcServer
from perdure.wire.seam import TEST_SERVICE, Waits
from tests.fuzz.maker import Maker
from tests.fuzz.player import ANSWERED

HEALTH = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
EXPECTED = frozenset(
    {
        grpc.StatusCode.OK,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)
SHORT_S = 0.02
"""For calls that wait; the outcome is the same on a slow machine, because the deadline is the caller's."""


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    running = await open_time_skipping_node()
    server = GrpcServer(running.node.frontend, "127.0.0.1", 0)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel
    await running.stop_polls()
    await server.stop(0)
    await running.close()


async def status_of(
    channel: grpc.aio.Channel, path: str, data: bytes, timeout_s: float
) -> grpc.StatusCode:
    send: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    try:
        await send(data, timeout=timeout_s)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("seed", range(2))
async def test_no_status_blames_the_server(
    channel: grpc.aio.Channel, seed: int, caplog: pytest.LogCaptureFixture
):
    maker = Maker(Random(seed))
    maker.learn("namespace", "default")
    for method in (*ANSWERED, *TEST_SERVICE.values()):
        # Sleeps end when time is skipped to their end, which may be far away.
        is_short = (
            method.waits is not Waits.FOR_NOTHING or method.service == TEST_SERVICE["Sleep"].service
        )
        for _ in range(4):
            data = maker.encoded(maker.request(method.request_type))
            status = await status_of(channel, method.path, data, SHORT_S if is_short else 60)
            assert status in EXPECTED, (method.name, data)
            if not is_short:
                assert status is not grpc.StatusCode.DEADLINE_EXCEEDED, (method.name, data)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("seed", range(2))
async def test_health(channel: grpc.aio.Channel, seed: int):
    maker = Maker(Random(seed))
    for _ in range(50):
        data = maker.encoded(maker.request(health_pb2.HealthCheckRequest))
        status = await status_of(channel, HEALTH, data, 60)
        assert status in {
            grpc.StatusCode.OK,
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.NOT_FOUND,
        }, data
    for data in (b"\xff", b"\n\x02\xff\xfe", b"\x0a\xff\xff\xff\xff\x0f"):
        assert await status_of(channel, HEALTH, data, 60) is grpc.StatusCode.INVALID_ARGUMENT
    assert await status_of(channel, HEALTH, b"", 60) is grpc.StatusCode.OK


@pytest.mark.parametrize(
    "path", ["/x", "/a/b", "/grpc.health.v1.Health/Nothing", "/" + "x" * 3_000]
)
async def test_methods_that_nobody_has(channel: grpc.aio.Channel, path: str):
    assert await status_of(channel, path, b"\xff", 60) is grpc.StatusCode.UNIMPLEMENTED


async def reflected(channel: grpc.aio.Channel, request: bytes) -> grpc.StatusCode:
    # A stream of one message, sent together with the end of the stream: gRPC's client reports an internal error when a
    # server ends a stream in which it is still writing.
    stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(REFLECTION)
    call = stream(request, timeout=60)
    try:
        async for answer in call:
            reflection_pb2.ServerReflectionResponse.FromString(answer)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return await call.code()


@pytest.mark.parametrize("seed", range(2))
async def test_reflection(channel: grpc.aio.Channel, seed: int, caplog: pytest.LogCaptureFixture):
    maker = Maker(Random(seed))
    kind = reflection_pb2.ServerReflectionRequest
    for _ in range(60):
        data = maker.encoded(maker.request(kind))
        status = await reflected(channel, data)
        assert status in {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}, data
    assert await reflected(channel, b"\xff\xff") is grpc.StatusCode.INVALID_ARGUMENT
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
