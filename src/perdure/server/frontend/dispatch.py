"""Dispatches a request to its handler: the one path that gRPC, the embedded engine and the simulator share.

The owner that a call is for may be another node. Then the call is passed on as a message, behind the interceptors of
this node; those of the owner are not asked again.

Invariants: what leaves here is a response or an `RpcError` (`interceptors.ReportBugs`); no failure of a request,
wherever it is, reaches a handler with more causes than every peer can parse (`wire.failures`); an error fits into the
headers of every client (`wire.error_bounds`).
Not here: transports; what all methods have in common (`interceptors`); who the owner is (`routing`); what a method does
(its handler).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from perdure.server.frontend.call import Call
from perdure.server.frontend.interceptors import Arrival, LogCalls, ReportBugs, chain
from perdure.server.frontend.routing import place_of
from perdure.server.frontend.rpcs import Routing
from perdure.server.owners.messages import CallRpc
from perdure.server.owners.owners import elsewhere
from perdure.wire.error_bounds import bound_error
from perdure.wire.errors import InvalidArgument, RpcError, Unavailable, Unimplemented
from perdure.wire.failures import with_bounded_failures
from perdure.wire.seam import Waits, decoded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from google.protobuf.message import Message

    from perdure.server.frontend.interceptors import Interceptor, Reply
    from perdure.server.frontend.rpcs import Rpc
    from perdure.server.frontend.services import Services
    from perdure.wire.seam import Method

NO_HEADERS: Mapping[str, str | bytes] = {}


class Frontend:
    """The RPCs of a node, for any transport.

    Args:
        services: What handlers work with.
        rpcs: What is answered.
        interceptors: Around each call, the first one outermost; inside those that log calls and bugs.

    Example:
        ```python
        response = await frontend.dispatch(
            WORKFLOW_SERVICE["GetSystemInfo"], GetSystemInfoRequest()
        )
        ```
    """

    def __init__(
        self,
        services: Services,
        rpcs: Mapping[str, Rpc],
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        self.services = services
        self._rpcs = rpcs
        bugs = ReportBugs(services.new_id)
        self._answer = chain([LogCalls(services.clock), bugs, *interceptors], self._handle)
        self._answer_passed_on = chain([bugs], self._handle_here)
        self._is_draining = False

    def drain(self) -> None:
        """Refuse new calls with UNAVAILABLE, which clients retry later or on another node."""
        self._is_draining = True

    async def dispatch(
        self,
        method: Method,
        request: Message,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout_ns: int | None = None,
    ) -> Message:
        """Answer one call.

        Args:
            method: A row of the seam's tables.
            request: A message of `method.request_type`. It is not changed.
            metadata: Headers.
            timeout_ns: How long the caller waits; None means the method's default.

        Raises:
            RpcError: The typed form of every status except OK.
        """
        try:
            request = with_bounded_failures(request)
            reply = await self._answer(self._arrival(method, request, metadata, timeout_ns))
        except RpcError as error:
            bound_error(error)
            raise
        return decoded(method, reply) if isinstance(reply, bytes) else reply

    def _arrival(
        self,
        method: Method,
        request: Message,
        metadata: Mapping[str, str | bytes] | None,
        timeout_ns: int | None,
    ) -> Arrival:
        rpc = self._rpcs.get(method.path)
        if rpc is None:
            raise Unimplemented(f"{method.name} is not implemented by this version of Perdure.")
        if self._is_draining:
            raise Unavailable("The server is shutting down.")
        wait_ns = rpc.default_timeout_ns if timeout_ns is None else timeout_ns
        return Arrival(rpc, Call(method.name, wait_ns, metadata or NO_HEADERS), request)

    def _handle(self, arrival: Arrival) -> Awaitable[Reply]:
        if self.services.owners.peers is not None:
            return self._route(arrival)
        return arrival.rpc.handler(self.services, arrival.call, arrival.request)

    def _handle_here(self, arrival: Arrival) -> Awaitable[Reply]:
        return arrival.rpc.handler(self.services, arrival.call, arrival.request)

    async def _route(self, arrival: Arrival) -> Reply:
        """Answer the call here, or have its owner answer it."""
        owners, rpc = self.services.owners, arrival.rpc
        if rpc.routing is Routing.EVERY:
            reply = await self._handle_here(arrival)
            await owners.ask_others(_passed_on(arrival))
            return reply
        place = place_of(rpc, arrival.request, self.services.engine.namespaces)
        if place is None or owners.is_here(place):
            return await self._handle_here(arrival)
        return await owners.ask(place, _passed_on(arrival))

    async def answer_passed_on(self, message: CallRpc) -> bytes:
        """Answer a call that another node has passed on.

        Raises:
            RpcError: As `dispatch`.
        """
        rpc = self._rpcs.get(message.path)
        if rpc is None:
            raise Unimplemented(f"{message.path} is not implemented by this version of Perdure.")
        method = rpc.method
        request = method.request_type.FromString(message.request)
        arrival = self._arrival(method, request, message.metadata, message.timeout_ns)
        place = place_of(rpc, request, self.services.engine.namespaces)
        if place is not None and not self.services.owners.is_here(place):
            raise elsewhere()
        reply = await self._answer_passed_on(arrival)
        return reply if isinstance(reply, bytes) else reply.SerializeToString()

    async def dispatch_encoded(
        self,
        method: Method,
        request: bytes,
        metadata: Mapping[str, str | bytes],
        timeout_ns: int | None,
    ) -> bytes:
        """Like `dispatch`, but from encoded request to encoded response, for gRPC. Raises only `RpcError`."""
        try:
            message = with_bounded_failures(_request(method, request), is_own=True)
            rpc = self._rpcs.get(method.path)
            if rpc is not None and method.waits is Waits.FOR_TASK and timeout_ns is None:
                raise InvalidArgument(f"{method.name} is a long poll: set a deadline on the call.")
            reply = await self._answer(self._arrival(method, message, metadata, timeout_ns))
        except RpcError as error:
            bound_error(error)
            raise
        return reply if isinstance(reply, bytes) else reply.SerializeToString()


def _request(method: Method, encoded: bytes) -> Message:
    try:
        return method.request_type.FromString(encoded)
    except DecodeError:
        raise InvalidArgument(
            f"The request is not a valid {method.request_type.DESCRIPTOR.name} message."
        ) from None


def _passed_on(arrival: Arrival) -> CallRpc:
    call = arrival.call
    request = arrival.request.SerializeToString()
    return CallRpc(arrival.rpc.method.path, request, dict(call.metadata), call.timeout_ns)
