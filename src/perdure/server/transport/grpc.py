"""The gRPC transport of a frontend: bytes in, bytes out, status and details of errors.

Role: generic handlers over the table of RPCs (no generated servicers), health and reflection, and the one place that
knows grpcio. Cancelled calls and vanished clients cancel the handler, which withdraws a parked poll.
Not here: what RPCs do (`frontend/`), which exist (`rpcs.py`).
"""

from __future__ import annotations

import functools
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from perdure.core.limits import COMPLETION_BYTES_MAX, GRPC_MESSAGE_BYTES_MAX
from perdure.core.units import SECOND_NS
from perdure.server.common.options import ServerStartError
from perdure.server.transport.receiving import Receiving
from perdure.wire import health
from perdure.wire.errors import (
    InvalidArgument,
    RpcError,
    to_status,
    too_large,
)
from perdure.wire.seam import OPERATOR_SERVICE, TEST_SERVICE, WORKFLOW_SERVICE, Method

if TYPE_CHECKING:
    from perdure.server.frontend.dispatch import Frontend

_log = logging.getLogger(__name__)

RECEIVED_BYTES_MAX = COMPLETION_BYTES_MAX + 1024 * 1024
"""Messages up to this size are read so that our error refuses them; workers recognise its text (`too_large`)."""
PENDING_CALLS_MAX = 100_000
"""Calls that the transport has read and Python has not taken yet. By default, grpc ends random calls beyond 1,000 with
CANCELLED, as if the client had cancelled them. A burst of 2,000 starts should wait its turn instead."""
STREAMS_MAX = 4_000
"""Concurrent calls over one connection; its client holds back further ones. A call that a client opens and resets at
once counts until the server has taken and ended it, so other calls may have to wait for this many of them."""
STATUS_DETAILS_KEY = "grpc-status-details-bin"
_STATUS = {code.value[0]: code for code in grpc.StatusCode}
# Some releases of gRPC report a deadline about 10^12 s away for an RPC that has none.
_NO_DEADLINE_SECONDS = 365 * 86_400

_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", RECEIVED_BYTES_MAX),
    # What is sent has been committed: refusing it now would lose it. Pages and replies are bounded where they are made.
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),  # a port in use must be an error, not a second server behind it
    # Official clients ping every 30 s even without calls in progress, so pings are not limited.
    ("grpc.http2.max_ping_strikes", 0),
    # A client that lost power is detected, with or without calls, and its parked polls are withdrawn.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Without the probe, windows stay small until a request is read. Then its stream may send all of it.
    ("grpc.http2.bdp_probe", 0),
    # Each call that waits for a task or a result has a stream.
    ("grpc.max_concurrent_streams", STREAMS_MAX),
    # As on the reference server, connections end after a while. Clients open others, and calls in progress may finish.
    ("grpc.max_connection_idle_ms", 120_000),
    ("grpc.max_connection_age_ms", 300_000),
    ("grpc.max_connection_age_grace_ms", 70_000),
    ("grpc.server.max_pending_requests", PENDING_CALLS_MAX),
    ("grpc.server.max_pending_requests_hard_limit", PENDING_CALLS_MAX + 1),
]

Unary = Callable[[object, "grpc.aio.ServicerContext[bytes, bytes]"], Awaitable[bytes]]


class _Handlers(grpc.GenericRpcHandler):
    """Full method name -> handler. Reflection is loaded on first use."""

    def __init__(self, handlers: dict[str, Any], receiving: Receiving) -> None:
        self._handlers = handlers
        self._receiving = receiving

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        path: str = handler_call_details.method
        is_reflection = path.startswith("/grpc.reflection.")
        return (self._reflection if is_reflection else self._handlers).get(path)

    @functools.cached_property
    def _reflection(self) -> dict[str, Any]:
        from perdure.server.transport.reflection import reflection_handlers

        return reflection_handlers(self._receiving)


class GrpcServer:
    """A listening server.

    Args:
        frontend: Answers the calls.
        address: `host:port`; port 0 takes a free one.
    """

    def __init__(self, frontend: Frontend, ip: str, port: int) -> None:
        self._frontend = frontend
        self._is_serving = False
        self._receiving = Receiving()
        self._server = grpc.aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers((_Handlers(self._table(), self._receiving),))
        self.port = self._bind(ip, port)

    def _bind(self, ip: str, port: int) -> int:
        address = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
        # Checked first, because gRPC would print its own messages to standard error.
        reason = why_not(ip, port)
        bound = 0
        if not reason:
            try:
                bound = self._server.add_insecure_port(address)
            except RuntimeError:
                reason = why_not(ip, port)
        if not bound:
            raise ServerStartError(
                f"cannot listen on {ip}:{port}: {reason or 'gRPC could not bind it'}. "
                "Stop what uses this port, or choose another one with --port."
            )
        return bound

    async def start(self) -> None:
        await self._server.start()
        self._is_serving = True

    async def stop(self, grace_ns: int) -> None:
        """Refuse new calls. Let calls in progress end for up to `grace_ns`, then cancel them."""
        self._is_serving = False
        await self._server.stop(grace_ns / SECOND_NS)

    def _table(self) -> dict[str, Any]:
        methods = (
            *WORKFLOW_SERVICE.values(),
            *OPERATOR_SERVICE.values(),
            *TEST_SERVICE.values(),
        )
        table: dict[str, Any] = {
            # A unary call is a stream of one request: so its handler decides when that is read (`receiving`).
            method.path: grpc.stream_unary_rpc_method_handler(self._unary(method))
            for method in methods
        }
        table[f"/{health.SERVICE_NAME}/Check"] = grpc.stream_unary_rpc_method_handler(
            self._check_health
        )
        return table

    def _unary(self, method: Method) -> Unary:
        is_completion = method.name == "RespondWorkflowTaskCompleted"
        size_max_bytes = COMPLETION_BYTES_MAX if is_completion else GRPC_MESSAGE_BYTES_MAX

        async def answer(_: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            try:
                request = await self._receiving.read(context)
                if (size_bytes := len(request)) > size_max_bytes:
                    del request  # the refusal may take a while
                    raise too_large(size_bytes, size_max_bytes)
                # None without a deadline, although the type stubs say otherwise; never negative.
                remaining = cast("float | None", context.time_remaining())
                timeout_ns = (
                    None
                    if remaining is None or remaining > _NO_DEADLINE_SECONDS
                    else int(remaining * SECOND_NS)
                )
                metadata = dict(cast("grpc.aio.Metadata", context.invocation_metadata()))
                return await self._frontend.dispatch_encoded(method, request, metadata, timeout_ns)
            except RpcError as error:
                await abort(context, error)
                raise  # unreachable: abort raises

        return answer

    async def _check_health(
        self, _: object, context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> bytes:
        try:
            request = await self._receiving.read(context)
            check = health.HealthCheckRequest.FromString(request)
            return health.check(check, is_serving=self._is_serving).SerializeToString()
        except DecodeError:
            refusal: RpcError = InvalidArgument("the health request cannot be decoded")
        except RpcError as error:
            refusal = error
        await abort(context, refusal)
        raise AssertionError("abort raises")


async def abort(context: grpc.aio.ServicerContext[bytes, bytes], error: RpcError) -> None:
    """End the call with the error's status, with its details in the trailing metadata."""
    details = to_status(error).SerializeToString()
    await context.abort(
        _STATUS[int(error.status_code)], error.message, ((STATUS_DETAILS_KEY, details),)
    )


def why_not(ip: str, port: int) -> str:
    """Why the server cannot listen on this address, in a few words; empty if it can."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((ip, port))
    except OSError as error:  # from the system or from the name look-up; both have a text
        return str(error.strerror)
    return ""
