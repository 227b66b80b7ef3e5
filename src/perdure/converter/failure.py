"""Exceptions to failure messages and back.

Both directions are tables: one row for each kind of failure. An exception that came from a failure goes back as that
same failure. Chained exceptions become causes (`__cause__`, or `__context__` unless suppressed).
"""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextvars import ContextVar
from enum import IntEnum
from typing import Any, ClassVar, TypeVar

from perdure.converter import groups, nexus_failure
from perdure.converter.payload import PayloadConverter
from perdure.exceptions import (
    ActivityError,
    ApplicationError,
    ApplicationErrorCategory,
    CancelledError,
    ChildWorkflowError,
    FailureError,
    NexusOperationError,
    RetryState,
    ServerError,
    TerminatedError,
    TimeoutType,
)
from perdure.exceptions import TimeoutError as TimeoutFailure
from perdure.wire.api import failure as failure_pb
from perdure.wire.failures import LEVELS_MAX, cut_causes, is_too_deep, marker, valid_text
from perdure.wire.times import set_duration, timedelta_of

_EnumT = TypeVar("_EnumT", bound=IntEnum)
_ENCODED_MESSAGE = "Encoded failure"
_READ_LEVELS_MAX = 200
"""Of a failure that is read. A message that has been parsed has fewer; each level takes a frame of the stack."""


class FailureConverter(ABC):
    """Converts exceptions to failures and back. It must be deterministic, because workflow code runs it.

    Of the exceptions in workflow code, only subclasses of `FailureError` are converted here. Others fail the workflow
    task.
    """

    default: ClassVar[FailureConverter]

    @abstractmethod
    def to_failure(
        self,
        exception: BaseException,
        payload_converter: PayloadConverter,
        failure: failure_pb.Failure,
    ) -> None:
        """Write an exception into a failure message. The exception is not changed.

        Args:
            exception: The exception.
            payload_converter: Converts the exception's values.
            failure: The message to change.

        Raises:
            Exception: What the payload converter raises for a value that it does not support.
        """

    @abstractmethod
    def from_failure(
        self, failure: failure_pb.Failure, payload_converter: PayloadConverter
    ) -> BaseException:
        """Make an exception of a failure message. The message is not changed.

        Args:
            failure: The message.
            payload_converter: Converts the failure's payloads.

        Raises:
            KeyError: A payload has an encoding that no converter reads.
            RuntimeError: A payload is malformed.
        """


class DefaultFailureConverter(FailureConverter):
    """The failure converter that every SDK of this API has.

    Args:
        encode_common_attributes: Move message and stack trace into a payload, where a codec can encrypt them.
    """

    def __init__(self, *, encode_common_attributes: bool = False) -> None:
        super().__init__()
        self._encode_common_attributes = encode_common_attributes

    def to_failure(
        self,
        exception: BaseException,
        payload_converter: PayloadConverter,
        failure: failure_pb.Failure,
    ) -> None:
        outer = _chain.get()
        if len(outer) >= LEVELS_MAX or any(each is exception for each in outer):
            failure.CopyFrom(marker())
            return
        token = _chain.set((*outer, exception))
        try:
            self._convert(exception, payload_converter, failure)
        finally:
            _chain.reset(token)

    def _convert(
        self,
        exception: BaseException,
        payload_converter: PayloadConverter,
        failure: failure_pb.Failure,
    ) -> None:
        if isinstance(exception, FailureError):
            self._write(exception, payload_converter, failure)
        elif nexus_failure.is_handler_error(exception):
            nexus_failure.write(exception, payload_converter, failure, self.to_failure)
        else:
            self._write(groups.application_error(exception), payload_converter, failure)
            if groups.is_group(exception):
                failure.stack_trace = valid_text(groups.stack_trace(exception))
        if self._encode_common_attributes:
            common = {"message": failure.message, "stack_trace": failure.stack_trace}
            failure.encoded_attributes.CopyFrom(payload_converter.to_payload(common))
            failure.message = _ENCODED_MESSAGE
            failure.stack_trace = ""

    def _write(
        self, error: FailureError, converter: PayloadConverter, failure: failure_pb.Failure
    ) -> None:
        if error.failure is not None:
            failure.CopyFrom(error.failure)
            return
        failure.message = valid_text(error.message)
        if error.__traceback__ is not None:
            failure.stack_trace = valid_text("\n".join(traceback.format_tb(error.__traceback__)))
        cause, left_out = _next_cause(error)
        above = failure
        if left_out is not None:
            _chain.set((*_chain.get(), left_out))  # `to_failure`, which called this, sets it back
            above = failure.cause
            above.CopyFrom(marker())
        if cause is not None:
            self.to_failure(cause, converter, above.cause)
        for kind, write in _WRITERS.items():
            if isinstance(error, kind):
                write(error, converter, failure)
                return

    def from_failure(
        self, failure: failure_pb.Failure, payload_converter: PayloadConverter
    ) -> BaseException:
        if is_too_deep(failure, _READ_LEVELS_MAX):
            whole, failure = failure, failure_pb.Failure()
            failure.CopyFrom(whole)
            cut_causes(failure)
        failure = _with_common_attributes(failure, payload_converter)
        kind = failure.WhichOneof("failure_info") or ""
        if kind == "nexus_handler_failure_info":
            error: BaseException = nexus_failure.read(failure)
        else:
            read = _READERS.get(kind)
            error = (
                FailureError(failure.message or "Failure error")
                if read is None
                else read(failure, payload_converter)
            )
        if isinstance(error, FailureError):
            error.failure = failure
        if failure.HasField("cause"):
            error.__cause__ = self.from_failure(failure.cause, payload_converter)
        return error


class DefaultFailureConverterWithEncodedAttributes(DefaultFailureConverter):
    """A `DefaultFailureConverter` with `encode_common_attributes`."""

    def __init__(self) -> None:
        super().__init__(encode_common_attributes=True)


# ── causes ────────────────────────────────────────────────────────────────────────────────────────

_chain: ContextVar[tuple[BaseException, ...]] = ContextVar("_chain", default=())
"""The exceptions that are being converted: each is a cause of the one before it, with one for those left out."""


def _cause_of(error: BaseException) -> BaseException | None:
    """What is converted as the cause of `error`."""
    if not isinstance(error, FailureError):
        return error.__cause__
    if error.failure is not None:
        return None  # that failure has its causes
    if error.__cause__ is None and not error.__suppress_context__:
        return error.__context__
    return error.__cause__


def _next_cause(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """The cause to convert next, and the first of those that are left out before it.

    A chain of exceptions may be a circle, and longer than a failure may be or this thread's stack can follow. So no
    exception is converted twice in a chain, and the last one of a long chain follows after a marker.
    """
    chain = _chain.get()
    seen = {id(each) for each in chain}
    rest: list[BaseException] = []
    cause = _cause_of(error)
    while cause is not None and id(cause) not in seen:
        rest.append(cause)
        if len(chain) + 3 <= LEVELS_MAX:
            break  # there is room for this one in any case
        seen.add(id(cause))
        cause = _cause_of(cause)
    room = LEVELS_MAX - len(chain)
    if not rest or room <= 0:
        return None, None
    return (rest[0], None) if len(rest) <= room else (rest[-1], rest[0])


def _with_common_attributes(
    failure: failure_pb.Failure, converter: PayloadConverter
) -> failure_pb.Failure:
    """`failure` with the message and stack trace that its encoded attributes hold."""
    if not failure.HasField("encoded_attributes"):
        return failure
    try:
        common: Any = converter.from_payload(failure.encoded_attributes)
    except Exception:  # noqa: BLE001 - still encrypted, or written by something else: show what is there
        return failure
    if not isinstance(common, dict):
        return failure
    copy = failure_pb.Failure()
    copy.CopyFrom(failure)
    for name in ("message", "stack_trace"):
        text: Any = common.get(name)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if isinstance(text, str):
            setattr(copy, name, valid_text(text))
    return copy


# ── writing ───────────────────────────────────────────────────────────────────────────────────────


def _write_application(
    error: ApplicationError, converter: PayloadConverter, failure: failure_pb.Failure
) -> None:
    info = failure.application_failure_info
    info.type = valid_text(error.type or "")
    info.non_retryable = bool(error.non_retryable)
    if error.details:
        info.details.CopyFrom(converter.to_payloads_wrapper(error.details))
    if error.next_retry_delay:
        set_duration(info.next_retry_delay, error.next_retry_delay)
    info.category = int(error.category or 0)  # pyright: ignore[reportAttributeAccessIssue]


def _write_timeout(
    error: TimeoutFailure, converter: PayloadConverter, failure: failure_pb.Failure
) -> None:
    info = failure.timeout_failure_info
    info.timeout_type = int(error.type or 0)  # pyright: ignore[reportAttributeAccessIssue]
    if error.last_heartbeat_details:
        info.last_heartbeat_details.CopyFrom(
            converter.to_payloads_wrapper(error.last_heartbeat_details)
        )


def _write_cancelled(
    error: CancelledError, converter: PayloadConverter, failure: failure_pb.Failure
) -> None:
    failure.canceled_failure_info.SetInParent()
    if error.details:
        failure.canceled_failure_info.details.CopyFrom(converter.to_payloads_wrapper(error.details))


def _write_terminated(
    _: TerminatedError, __: PayloadConverter, failure: failure_pb.Failure
) -> None:
    failure.terminated_failure_info.SetInParent()


def _write_server(error: ServerError, _: PayloadConverter, failure: failure_pb.Failure) -> None:
    failure.server_failure_info.non_retryable = bool(error.non_retryable)


def _write_activity(error: ActivityError, _: PayloadConverter, failure: failure_pb.Failure) -> None:
    info = failure.activity_failure_info
    info.scheduled_event_id = error.scheduled_event_id
    info.started_event_id = error.started_event_id
    info.identity = valid_text(error.identity)
    info.activity_type.name = valid_text(error.activity_type)
    info.activity_id = valid_text(error.activity_id)
    info.retry_state = int(error.retry_state or 0)  # pyright: ignore[reportAttributeAccessIssue]


def _write_child(
    error: ChildWorkflowError, _: PayloadConverter, failure: failure_pb.Failure
) -> None:
    info = failure.child_workflow_execution_failure_info
    info.namespace = valid_text(error.namespace)
    info.workflow_execution.workflow_id = valid_text(error.workflow_id)
    info.workflow_execution.run_id = valid_text(error.run_id)
    info.workflow_type.name = valid_text(error.workflow_type)
    info.initiated_event_id = error.initiated_event_id
    info.started_event_id = error.started_event_id
    info.retry_state = int(error.retry_state or 0)  # pyright: ignore[reportAttributeAccessIssue]


def _write_nexus_operation(
    error: NexusOperationError, _: PayloadConverter, failure: failure_pb.Failure
) -> None:
    info = failure.nexus_operation_execution_failure_info
    info.scheduled_event_id = error.scheduled_event_id
    info.endpoint = valid_text(error.endpoint)
    info.service = valid_text(error.service)
    info.operation = valid_text(error.operation)
    info.operation_token = valid_text(error.operation_token)


_WRITERS: dict[type[FailureError], Callable[[Any, PayloadConverter, failure_pb.Failure], None]] = {
    ApplicationError: _write_application,
    TimeoutFailure: _write_timeout,
    CancelledError: _write_cancelled,
    TerminatedError: _write_terminated,
    ServerError: _write_server,
    ActivityError: _write_activity,
    ChildWorkflowError: _write_child,
    NexusOperationError: _write_nexus_operation,
}


# ── reading ───────────────────────────────────────────────────────────────────────────────────────


def _known(kind: type[_EnumT], number: int) -> _EnumT | None:
    """The member of that number; None for 0 and for numbers of later versions."""
    return kind(number) if number in kind.__members__.values() else None


def _read_application(failure: failure_pb.Failure, converter: PayloadConverter) -> FailureError:
    info = failure.application_failure_info
    has_delay = info.HasField("next_retry_delay")
    return ApplicationError(
        failure.message or "Application error",
        *converter.from_payloads_wrapper(info.details),
        type=info.type or None,
        non_retryable=info.non_retryable,
        next_retry_delay=timedelta_of(info.next_retry_delay) if has_delay else None,
        category=_known(ApplicationErrorCategory, info.category)
        or ApplicationErrorCategory.UNSPECIFIED,
    )


def _read_timeout(failure: failure_pb.Failure, converter: PayloadConverter) -> FailureError:
    info = failure.timeout_failure_info
    return TimeoutFailure(
        failure.message or "Timeout",
        type=_known(TimeoutType, info.timeout_type),
        last_heartbeat_details=converter.from_payloads_wrapper(info.last_heartbeat_details),
    )


def _read_cancelled(failure: failure_pb.Failure, converter: PayloadConverter) -> FailureError:
    details = converter.from_payloads_wrapper(failure.canceled_failure_info.details)
    return CancelledError(failure.message or "Cancelled", *details)


def _read_terminated(failure: failure_pb.Failure, _: PayloadConverter) -> FailureError:
    return TerminatedError(failure.message or "Terminated")


def _read_server(failure: failure_pb.Failure, _: PayloadConverter) -> FailureError:
    return ServerError(
        failure.message or "Server error", non_retryable=failure.server_failure_info.non_retryable
    )


def _read_activity(failure: failure_pb.Failure, _: PayloadConverter) -> FailureError:
    info = failure.activity_failure_info
    return ActivityError(
        failure.message or "Activity error",
        scheduled_event_id=info.scheduled_event_id,
        started_event_id=info.started_event_id,
        identity=info.identity,
        activity_type=info.activity_type.name,
        activity_id=info.activity_id,
        retry_state=_known(RetryState, info.retry_state),
    )


def _read_child(failure: failure_pb.Failure, _: PayloadConverter) -> FailureError:
    info = failure.child_workflow_execution_failure_info
    return ChildWorkflowError(
        failure.message or "Child workflow error",
        namespace=info.namespace,
        workflow_id=info.workflow_execution.workflow_id,
        run_id=info.workflow_execution.run_id,
        workflow_type=info.workflow_type.name,
        initiated_event_id=info.initiated_event_id,
        started_event_id=info.started_event_id,
        retry_state=_known(RetryState, info.retry_state),
    )


def _read_nexus_operation(failure: failure_pb.Failure, _: PayloadConverter) -> FailureError:
    info = failure.nexus_operation_execution_failure_info
    return NexusOperationError(
        failure.message or "Nexus operation error",
        scheduled_event_id=info.scheduled_event_id,
        endpoint=info.endpoint,
        service=info.service,
        operation=info.operation,
        operation_token=info.operation_token,
    )


_READERS: dict[str, Callable[[failure_pb.Failure, PayloadConverter], FailureError]] = {
    "application_failure_info": _read_application,
    "timeout_failure_info": _read_timeout,
    "canceled_failure_info": _read_cancelled,
    "terminated_failure_info": _read_terminated,
    "server_failure_info": _read_server,
    "activity_failure_info": _read_activity,
    "child_workflow_execution_failure_info": _read_child,
    "nexus_operation_execution_failure_info": _read_nexus_operation,
}

FailureConverter.default = DefaultFailureConverter()


def create_payload_validation_error(details: Any) -> ApplicationError:
    """Make the error for payloads that fail validation: non-retryable, with a reserved type.

    Args:
        details: What is wrong, as a value that the payload converter supports. None: nothing.
    """
    values = () if details is None else (details,)
    return ApplicationError(
        "Payload validation failed", *values, type="PayloadValidationError", non_retryable=True
    )
