"""From a method and a request to a response: the one path that gRPC, the embedded engine and the simulator share.

Invariants: what leaves here is a response or an `RpcError`; anything else that a handler raises is a bug of ours,
logged with its traceback under a reference id, and answered with INTERNAL and that id alone.
Not here: transports; what a method does (its handler in this package).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from perdure.server.frontend.call import Call
from perdure.wire.errors import Internal, InvalidArgument, RpcError, Unavailable, Unimplemented

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from google.protobuf.message import Message

    from perdure.server.frontend.rpcs import Rpc
    from perdure.server.frontend.services import Services
    from perdure.wire.seam import Method

_log = logging.getLogger(__name__)

NO_HEADERS: Mapping[str, str | bytes] = {}


class Frontend:
    """The node's RPCs, for any transport.

    Example:
        ```python
        response = await frontend.dispatch(WORKFLOW_SERVICE["GetSystemInfo"], GetSystemInfoRequest())
        ```
    """

    def __init__(self, services: Services, rpcs: Mapping[str, Rpc]) -> None:
        self._services = services
        self._rpcs = rpcs
        self._is_draining = False

    def drain(self) -> None:
        """Refuse new calls with UNAVAILABLE, which every client retries elsewhere or later."""
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
            request: A message of `method.request_type`; it is not changed.
            metadata: Headers.
            timeout_ns: How long the caller waits; None for the method's default.

        Raises:
            RpcError: The typed form of every status but OK.
        """
        try:
            reply = await self._handle(method, request, metadata, timeout_ns)
        except RpcError:
            raise
        except Exception as error:
            raise self._bug(method, error) from error
        return method.response_type.FromString(reply) if isinstance(reply, bytes) else reply

    def _handle(
        self,
        method: Method,
        request: Message,
        metadata: Mapping[str, str | bytes] | None,
        timeout_ns: int | None,
    ) -> Awaitable[Message | bytes]:
        """The handler's answer; one with history comes as its encoding, which a transport sends as it is."""
        rpc = self._rpcs.get(method.path)
        if rpc is None:
            raise Unimplemented(f"{method.name} is not implemented by this version of Perdure.")
        if self._is_draining:
            raise Unavailable("The server is shutting down.")
        wait_ns = rpc.default_timeout_ns if timeout_ns is None else timeout_ns
        call = Call(method.name, wait_ns, metadata or NO_HEADERS)
        return rpc.handler(self._services, call, request)

    def _bug(self, method: Method, error: Exception) -> Internal:
        """Log what a handler must never raise; what its caller is told."""
        reference = self._services.new_id()
        _log.error("%s failed; reference %s", method.name, reference, exc_info=error)
        return Internal(
            f"{method.name} failed inside the server ({type(error).__name__}); "
            f"its log has the details under reference {reference}."
        )

    async def dispatch_encoded(
        self,
        method: Method,
        request: bytes,
        metadata: Mapping[str, str | bytes],
        timeout_ns: int | None,
    ) -> bytes:
        """As `dispatch`, from encoding to encoding: for gRPC. Raises only `RpcError`."""
        try:
            message = method.request_type.FromString(request)
        except DecodeError:
            raise InvalidArgument(
                f"The request is not a valid {method.request_type.DESCRIPTOR.name} message."
            ) from None
        rpc = self._rpcs.get(method.path)
        if rpc is not None and rpc.is_poll and timeout_ns is None:
            raise InvalidArgument(f"{method.name} is a long poll: set a deadline on the call.")
        try:
            reply = await self._handle(method, message, metadata, timeout_ns)
        except RpcError:
            raise
        except Exception as error:
            raise self._bug(method, error) from error
        return reply if isinstance(reply, bytes) else reply.SerializeToString()
