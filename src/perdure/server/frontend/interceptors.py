"""The chain around every RPC: each interceptor gets the call and the rest of the chain.

Role: what concerns all methods alike and no handler in particular: logging and bugs today; authentication, quotas,
metrics and tracing have their place here.

Invariants: what comes out of the chain is a response or an `RpcError`. The request belongs to the caller and is not
changed. Payloads and headers are never logged.
Not here: the rules of one method (its handler).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from google.protobuf.message import Message

from perdure.core.units import MS_NS
from perdure.wire.errors import Internal, RpcError

if TYPE_CHECKING:
    from perdure.core.clock import Clock
    from perdure.server.frontend.call import Call
    from perdure.server.frontend.rpcs import Rpc

log = logging.getLogger(__name__)

Reply: TypeAlias = Message | bytes
"""A response, or its encoding when it carries history."""


class Arrival(NamedTuple):
    """One call that has arrived."""

    rpc: Rpc
    """Its row: the method, what its caller must be allowed to do, where it is answered."""
    call: Call
    request: Message


Next: TypeAlias = Callable[[Arrival], Awaitable[Reply]]
"""The rest of the chain; at its end is the handler."""


class Interceptor(Protocol):
    """One link of the chain.

    Example:
        class ReadOnly:
            async def intercept(self, arrival: Arrival, call_next: Next) -> Reply:
                if arrival.rpc.access is Access.WRITE:
                    raise PermissionDenied(f"{arrival.call.method} changes runs; this server only shows them.")
                return await call_next(arrival)
    """

    def intercept(self, arrival: Arrival, call_next: Next) -> Awaitable[Reply]:
        """Answer the call: await the rest of the chain, or raise an `RpcError` in its place."""
        ...


def chain(interceptors: Sequence[Interceptor], handle: Next) -> Next:
    """The interceptors around `handle`, the first one outermost."""
    answer = handle
    for interceptor in reversed(interceptors):
        answer = partial(interceptor.intercept, call_next=answer)
    return answer


class LogCalls:
    """A line per call at level DEBUG: method, access, outcome, milliseconds. Never what is in a message.

    Args:
        clock: Measures how long calls take.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def intercept(self, arrival: Arrival, call_next: Next) -> Awaitable[Reply]:
        # Nearly always there is nothing to log: then this link adds no coroutine to the call.
        return (
            self._log(arrival, call_next) if log.isEnabledFor(logging.DEBUG) else call_next(arrival)
        )

    async def _log(self, arrival: Arrival, call_next: Next) -> Reply:
        began_ns = self._clock.monotonic_ns()
        outcome = "CANCELLED"
        try:
            reply = await call_next(arrival)
            outcome = "OK"
        except RpcError as error:
            outcome = error.code.name
            raise
        else:
            return reply
        finally:
            log.debug(
                "%s (%s): %s in %.1f ms",
                arrival.call.method,
                arrival.rpc.access.value,
                outcome,
                (self._clock.monotonic_ns() - began_ns) / MS_NS,
            )


class ReportBugs:
    """What a handler must never raise is logged under a reference, and its caller is told that reference alone.

    Args:
        new_id: Makes references.
    """

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id

    async def intercept(self, arrival: Arrival, call_next: Next) -> Reply:
        try:
            return await call_next(arrival)
        except RpcError:
            raise
        except Exception as error:
            method, reference = arrival.call.method, self._new_id()
            log.error("%s failed; reference %s", method, reference, exc_info=error)
            raise Internal(
                f"{method} failed inside the server ({type(error).__name__}); "
                f"its log has the details under reference {reference}."
            ) from error
