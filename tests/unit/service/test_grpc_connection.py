"""The gRPC transport against a real gRPC server in this process (a few handlers, no engine)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message

from perdure.service import (
    ConnectConfig,
    RetryConfig,
    RPCError,
    RPCStatusCode,
    ServiceClient,
    connect,
)
from perdure.service.grpc_connection import _typed
from perdure.wire import errors
from perdure.wire.api import errordetails, failure
from perdure.wire.api import workflowservice as pb
from perdure.wire.seam import WORKFLOW_SERVICE, Connection

Handler = Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Awaitable[Message]]
DESCRIBE = WORKFLOW_SERVICE["DescribeNamespace"]
FAST = RetryConfig(initial_interval_millis=1, max_interval_millis=5)


class Frontend(grpc.GenericRpcHandler):
    """Answers with whatever the test put into `handlers`."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self.metadata: list[dict[str, Any]] = []
        self.requests: list[bytes] = []

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method
        name = method.rpartition("/")[2]
        row = WORKFLOW_SERVICE[name]

        async def answer(raw: bytes, context: Any) -> bytes:
            self.metadata.append(dict(context.invocation_metadata()))
            self.requests.append(raw)
            response = await self.handlers[name](row.request_type.FromString(raw), context)
            return response.SerializeToString()

        handler: Any = grpc.unary_unary_rpc_method_handler(answer)  # pyright: ignore[reportUnknownVariableType]
        return handler


class Server:
    def __init__(self) -> None:
        self.frontend = Frontend()
        self.port = 0
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((self.frontend,))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    running = Server()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def connection(server: Server) -> AsyncIterator[Connection]:
    opened = await connect(server.target, ConnectConfig("", api_key="key", tls=False))
    yield opened
    await opened.close()


async def describe(request: Any, context: Any) -> Message:
    response = pb.DescribeNamespaceResponse()
    response.namespace_info.name = request.namespace
    return response


async def test_a_call(server: Server, connection: Connection) -> None:
    server.frontend.handlers["DescribeNamespace"] = describe
    response: Any = await connection.call(
        DESCRIBE, pb.DescribeNamespaceRequest(namespace="shop"), metadata={"x": "1"}
    )
    assert response.namespace_info.name == "shop"
    headers = server.frontend.metadata[0]
    assert headers["client-name"] == "perdure-python"
    assert headers["temporal-namespace"] == "shop"
    assert headers["authorization"] == "Bearer key"
    assert headers["x"] == "1"


async def test_errors_are_typed_and_keep_their_details(
    server: Server, connection: Connection
) -> None:
    async def refuse(request: Any, context: Any) -> Message:
        error = errors.namespace_not_found("shop")
        status = errors.to_status(error).SerializeToString()
        context.set_trailing_metadata((("grpc-status-details-bin", status),))
        await context.abort(grpc.StatusCode.NOT_FOUND, error.message)
        raise AssertionError

    server.frontend.handlers["DescribeNamespace"] = refuse
    with pytest.raises(errors.NotFound, match="Namespace shop is not found") as caught:
        await connection.call(DESCRIBE, pb.DescribeNamespaceRequest())
    public = RPCError.from_wire(caught.value)
    assert public.status is RPCStatusCode.NOT_FOUND
    detail = errordetails.NamespaceNotFoundFailure()
    assert public.grpc_status.details[0].Unpack(detail)
    assert detail.namespace == "shop"
    assert public.raw_grpc_status == public.grpc_status.SerializeToString()


async def test_errors_of_servers_that_do_not_bound_them_are_read_whole(
    server: Server, connection: Connection
) -> None:
    # The reference server sends the whole failure of a query.
    why = failure.Failure(message="m" * 4_000, stack_trace="s" * 200_000)

    async def refuse(request: Any, context: Any) -> Message:
        error = errors.InvalidArgument("m" * 4_000, errordetails.QueryFailedFailure(failure=why))
        status = errors.to_status(error).SerializeToString()
        context.set_trailing_metadata((("grpc-status-details-bin", status),))
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
        raise AssertionError

    server.frontend.handlers["DescribeNamespace"] = refuse
    with pytest.raises(errors.InvalidArgument, match="mmmm") as caught:
        await connection.call(DESCRIBE, pb.DescribeNamespaceRequest())
    detail = errordetails.QueryFailedFailure()
    assert RPCError.from_wire(caught.value).grpc_status.details[0].Unpack(detail)
    assert detail.failure == why


async def test_errors_without_details(server: Server, connection: Connection) -> None:
    async def refuse(request: Any, context: Any) -> Message:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now")
        raise AssertionError

    server.frontend.handlers["DescribeNamespace"] = refuse
    with pytest.raises(errors.FailedPrecondition, match="not now"):
        await connection.call(DESCRIBE, pb.DescribeNamespaceRequest())


async def hang(request: Any, context: Any) -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def test_time_out(server: Server, connection: Connection) -> None:
    server.frontend.handlers["DescribeNamespace"] = hang
    with pytest.raises(errors.DeadlineExceeded):
        await connection.call(DESCRIBE, pb.DescribeNamespaceRequest(), timeout_ns=50_000_000)


async def test_cancelling_reaches_the_server(server: Server, connection: Connection) -> None:
    arrived, withdrawn = asyncio.Event(), asyncio.Event()

    async def park(request: Any, context: Any) -> Message:
        arrived.set()
        try:
            await asyncio.Event().wait()
        finally:
            withdrawn.set()
        raise AssertionError

    server.frontend.handlers["DescribeNamespace"] = park
    call = asyncio.ensure_future(connection.call(DESCRIBE, pb.DescribeNamespaceRequest()))
    await arrived.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await withdrawn.wait()


async def test_nobody_listens() -> None:
    nowhere = Server()
    await nowhere.start()
    await nowhere.stop()
    connection = await connect(nowhere.target)
    with pytest.raises(errors.Unavailable):
        await connection.call(DESCRIBE, pb.DescribeNamespaceRequest())
    await connection.close()


async def test_close_ends_calls_under_way(server: Server, connection: Connection) -> None:
    arrived = asyncio.Event()

    async def park(request: Any, context: Any) -> Message:
        arrived.set()
        return await hang(request, context)

    server.frontend.handlers["DescribeNamespace"] = park
    call = asyncio.ensure_future(connection.call(DESCRIBE, pb.DescribeNamespaceRequest()))
    await arrived.wait()
    await connection.close()
    with pytest.raises(errors.ConnectionClosed):
        await call
    with pytest.raises(errors.ConnectionClosed, match="connect again"):
        await connection.call(DESCRIBE, pb.DescribeNamespaceRequest())


async def test_a_call_rides_through_a_restart(server: Server) -> None:
    server.frontend.handlers["DescribeNamespace"] = describe
    server.frontend.handlers["GetSystemInfo"] = system_info
    client = await ServiceClient.connect(ConnectConfig(server.target, retry_config=FAST))
    await server.stop()
    config = RetryConfig(max_interval_millis=50, max_elapsed_time_millis=None, max_retries=0)
    client._retry_config = config
    call = asyncio.ensure_future(
        client.call(DESCRIBE, pb.DescribeNamespaceRequest(namespace="shop"))
    )
    await asyncio.sleep(0.2)
    assert not call.done()
    await server.start()
    assert (await call).namespace_info.name == "shop"
    await client.close()


async def system_info(request: Any, context: Any) -> Message:
    return pb.GetSystemInfoResponse(server_version="1")


async def test_connecting_makes_sure_that_somebody_answers(server: Server) -> None:
    with pytest.raises(RuntimeError, match=r"Failed client connect to 127.0.0.1:\d+: UNKNOWN"):
        await ServiceClient.connect(ConnectConfig(server.target, retry_config=FAST))
    await server.stop()
    with pytest.raises(RuntimeError, match=r"UNAVAILABLE.*Is a server running there\?.*start-dev"):
        await ServiceClient.connect(ConnectConfig(server.target, retry_config=FAST))


async def test_headers_can_change(server: Server) -> None:
    server.frontend.handlers["GetSystemInfo"] = system_info
    client = await ServiceClient.connect(ConnectConfig(server.target, retry_config=FAST))
    client.update_rpc_metadata({"a": "1"})
    client.update_api_key("new")
    await client.workflow_service.get_system_info(
        pb.GetSystemInfoRequest(), timeout=timedelta(seconds=5)
    )
    assert server.frontend.metadata[-1]["a"] == "1"
    assert server.frontend.metadata[-1]["authorization"] == "Bearer new"
    with pytest.raises(TypeError):
        client.update_rpc_metadata({"A": "1"})
    with pytest.raises(AttributeError, match="no call 'nonsense'"):
        client.workflow_service.nonsense  # noqa: B018
    await client.close()


async def test_a_caller_that_is_cancelled_stays_cancelled_although_its_client_is_closed(
    server: Server, connection: Connection
) -> None:
    arrived = asyncio.Event()

    async def park(request: Any, context: Any) -> Message:
        arrived.set()
        return await hang(request, context)

    server.frontend.handlers["DescribeNamespace"] = park
    call = asyncio.ensure_future(connection.call(DESCRIBE, pb.DescribeNamespaceRequest()))
    await arrived.wait()
    call.cancel()
    await connection.close()
    with pytest.raises(asyncio.CancelledError):
        await call


def ended(code: grpc.StatusCode, details: str | None, *trailers: tuple[str, Any]) -> Any:
    metadata = grpc.aio.Metadata
    return grpc.aio.AioRpcError(code, metadata(), metadata(*trailers), details)


STATUS = errors.to_status(errors.namespace_not_found("shop"))
DETAILS = ("grpc-status-details-bin", STATUS.SerializeToString())
EMPTY_STATUS = ("grpc-status-details-bin", b"")


@pytest.mark.parametrize(
    ("error", "kind", "message", "details"),
    [
        (ended(grpc.StatusCode.CANCELLED, "it was"), errors.Canceled, "it was", 0),
        (ended(grpc.StatusCode.CANCELLED, "RST_STREAM"), errors.Unavailable, "RST_STREAM", 0),
        (ended(grpc.StatusCode.CANCELLED, "a GOAWAY"), errors.Unavailable, "a GOAWAY", 0),
        (ended(grpc.StatusCode.INTERNAL, "RST_STREAM"), errors.Internal, "RST_STREAM", 0),
        (ended(grpc.StatusCode.NOT_FOUND, None), errors.NotFound, "", 0),
        (ended(grpc.StatusCode.NOT_FOUND, "x", DETAILS), errors.NotFound, STATUS.message, 1),
        (ended(grpc.StatusCode.NOT_FOUND, "x", ("other-bin", b"1"), DETAILS), errors.NotFound, STATUS.message, 1),
        (ended(grpc.StatusCode.NOT_FOUND, "x", EMPTY_STATUS), errors.NotFound, "x", 0),
        (ended(grpc.StatusCode.NOT_FOUND, "x", (DETAILS[0], b"\xff")), errors.NotFound, "x", 0),
        (ended(grpc.StatusCode.NOT_FOUND, "x", (DETAILS[0], "text")), errors.NotFound, "x", 0),
        (ended(grpc.StatusCode.NOT_FOUND, "x", ("other-bin", DETAILS[1])), errors.NotFound, "x", 0),
    ],
)  # fmt: skip
def test_how_an_error_of_the_transport_is_read(
    error: Any, kind: type[errors.RpcError], message: str, details: int
) -> None:
    found = _typed(error)
    assert (type(found), found.message) == (kind, message)
    assert len(found.details) == details


class Raw(Message):
    """Bytes that a server sends as they are."""

    def __init__(self, encoded: bytes) -> None:
        self._encoded = encoded

    def SerializeToString(self, **_: Any) -> bytes:  # noqa: N802 - protobuf's name
        return self._encoded


async def test_an_answer_that_cannot_be_read_is_an_error_that_is_not_tried_again(
    server: Server,
) -> None:
    async def garbage(request: Any, context: Any) -> Message:
        return Raw(b"\x0a\x05token\x12\xff")

    for name in ("GetSystemInfo", "DescribeNamespace", "PollWorkflowTaskQueue"):
        server.frontend.handlers[name] = garbage
    connection = await connect(server.target)
    poll = WORKFLOW_SERVICE["PollWorkflowTaskQueue"]
    with pytest.raises(errors.UndecodableAnswer, match="answer to PollWorkflowTaskQueue") as caught:
        await connection.call(poll, pb.PollWorkflowTaskQueueRequest())
    assert caught.value.task_token == b"token"
    await connection.close()
    client = ServiceClient(ConnectConfig(server.target, retry_config=FAST))
    server.frontend.requests.clear()
    with pytest.raises(RPCError, match="cannot be read") as told:
        await client.workflow_service.describe_namespace(pb.DescribeNamespaceRequest(), retry=True)
    assert told.value.status is RPCStatusCode.INTERNAL
    assert len(server.frontend.requests) == 1
    await client.close()
