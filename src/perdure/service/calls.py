"""How long a call may take, and when it is retried: pure rules, no clock and no network.

There are three kinds of calls (S-40, and what every client of this API does):

- NORMAL: a bounded number of attempts within a bounded time.
- LONG_POLL: the caller waits for a workflow. Transient errors never end it, so that it outlives restarts of the
  service.
- TASK_POLL: a worker's poll. The worker repeats it, so it is not retried here.

A request is repeated unchanged, with the request id that it had at the first attempt.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from perdure.core.backoff import exponential_ns
from perdure.core.units import MS_NS, SECOND_NS
from perdure.service.config import RetryConfig
from perdure.wire.errors import RpcError, RPCStatusCode, UndecodableAnswer
from perdure.wire.seam import Waits

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from perdure.wire.seam import Method

NORMAL_TIMEOUT_NS = 30 * SECOND_NS
LONG_POLL_TIMEOUT_NS = 70 * SECOND_NS

# The service reports overload: give it more time.
THROTTLE_INITIAL_NS = SECOND_NS
THROTTLE_MAXIMUM_NS = 10 * SECOND_NS
THROTTLE_COEFFICIENT = 2.0

RETRYABLE = frozenset(
    {
        RPCStatusCode.INTERNAL,
        RPCStatusCode.UNKNOWN,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.ABORTED,
        RPCStatusCode.OUT_OF_RANGE,
        RPCStatusCode.UNAVAILABLE,
    }
)


class CallKind(Enum):
    """What a call waits for.

    Attributes:
        NORMAL: An answer that the service has at once.
        LONG_POLL: A change of a workflow.
        TASK_POLL: A task for a worker.
    """

    NORMAL = "normal"
    LONG_POLL = "long poll"
    TASK_POLL = "task poll"


_KINDS = {
    Waits.FOR_NOTHING: CallKind.NORMAL,
    Waits.FOR_WORKER: CallKind.NORMAL,
    Waits.FOR_CHANGE: CallKind.LONG_POLL,
    Waits.FOR_TASK: CallKind.TASK_POLL,
}


def call_kind(method: Method, request: Message) -> CallKind:
    """The kind of a call.

    Args:
        method: The method.
        request: Its request. Waiting for new events makes reading a history a long poll.
    """
    fields: Any = request
    if method.name == "GetWorkflowExecutionHistory" and not fields.wait_new_event:
        return CallKind.NORMAL
    return _KINDS[method.waits]


def default_timeout_ns(kind: CallKind) -> int:
    """How long one try may take when the caller does not say."""
    return NORMAL_TIMEOUT_NS if kind is CallKind.NORMAL else LONG_POLL_TIMEOUT_NS


def is_transient(error: RpcError) -> bool:
    """Whether the same request may succeed later."""
    return (
        error.status_code in RETRYABLE
        and not is_too_large(error)
        and not isinstance(error, UndecodableAnswer)
    )


def is_too_large(error: RpcError) -> bool:
    """Whether a message exceeded the transport's limit: another try would as well."""
    return (
        error.status_code is RPCStatusCode.RESOURCE_EXHAUSTED
        and "message" in error.message
        and "larger than max" in error.message
    )


def retry_delay_ns(
    config: RetryConfig,
    kind: CallKind,
    error: RpcError,
    *,
    attempt: int,
    elapsed_ns: int,
    own_timeout: bool,
    random: float,
) -> int | None:
    """How long to wait before the next attempt, in nanoseconds. None: there is no next attempt.

    Args:
        config: The client's options. Their limits do not end a long poll.
        kind: The kind of call.
        error: How the last attempt ended.
        attempt: The number of attempts so far.
        elapsed_ns: Time since the first attempt began, in nanoseconds.
        own_timeout: Whether the caller chose the time-out of an attempt. Then running into it ends the call.
        random: A random number, at least 0 and less than 1.
    """
    if kind is CallKind.TASK_POLL:
        return None
    endless = kind is CallKind.LONG_POLL
    timed_out = endless and not own_timeout and error.status_code is RPCStatusCode.DEADLINE_EXCEEDED
    if not (is_transient(error) or timed_out):
        return None
    if not endless and 0 < config.max_retries <= attempt:
        return None
    delay_ns = exponential_ns(
        config.initial_interval_millis * MS_NS,
        config.multiplier,
        config.max_interval_millis * MS_NS,
        attempt,
    )
    if error.status_code is RPCStatusCode.RESOURCE_EXHAUSTED:
        throttle_ns = exponential_ns(
            THROTTLE_INITIAL_NS, THROTTLE_COEFFICIENT, THROTTLE_MAXIMUM_NS, attempt
        )
        delay_ns = max(delay_ns, throttle_ns)
    delay_ns = int(delay_ns * (1 + config.randomization_factor * (2 * random - 1)))
    limit_ms = config.max_elapsed_time_millis
    if not endless and limit_ms is not None and elapsed_ns + delay_ns > limit_ms * MS_NS:
        return None
    return delay_ns
