"""Typed errors of the API, with their gRPC code and details.

Role: the only error vocabulary between services. The engine raises them for what callers may cause, the gRPC shell
turns them into a status with `grpc-status-details-bin` and back (`to_status`, `from_status`).

```
RpcError
├── InvalidArgument      ├── NotFound (NamespaceNotFound)   ├── AlreadyExists (WorkflowAlreadyStarted)
├── FailedPrecondition (WorkflowNotReady, ConnectionClosed)  ├── DeadlineExceeded  ├── Canceled     ├── PermissionDenied
├── ResourceExhausted    ├── Unavailable   ├── Unimplemented  ├── Aborted  ├── OutOfRange
└── Internal (UndecodableAnswer) · DataLoss · Unknown · Unauthenticated
```
Invariant: clients of every SDK retry Internal, Unknown, ResourceExhausted, Aborted, OutOfRange and Unavailable, and
those of other SDKs DataLoss as well (S-40), so a user's mistake is never one of those. Messages never hold payload
values, and of what a caller has sent at most the beginning (`shown`). Not here: what a transport can carry
(`error_bounds`).
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

from google.protobuf import any_pb2

from perdure.wire.api import common, enums, errordetails, failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message


class RPCStatusCode(IntEnum):
    """The gRPC status codes.

    Attributes:
        OK: No error.
        CANCELLED: The caller cancelled the call.
        UNKNOWN: An error without a code.
        INVALID_ARGUMENT: The request is malformed.
        DEADLINE_EXCEEDED: The time limit passed. The call may have had its effect.
        NOT_FOUND: The workflow, run, activity or namespace does not exist, or is closed.
        ALREADY_EXISTS: The id is taken.
        PERMISSION_DENIED: The caller may not do this.
        RESOURCE_EXHAUSTED: A limit is reached, or the service is overloaded.
        FAILED_PRECONDITION: The state does not allow the call.
        ABORTED: A conflict with another call.
        OUT_OF_RANGE: A value is out of range.
        UNIMPLEMENTED: The service does not have this call.
        INTERNAL: An error inside the service.
        UNAVAILABLE: The service cannot be reached.
        DATA_LOSS: Data is damaged.
        UNAUTHENTICATED: The credentials are missing or wrong.
    """

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcError(Exception):
    """A call that did not succeed: code, message for people, and details for programs."""

    code: ClassVar[RPCStatusCode] = RPCStatusCode.UNKNOWN

    def __init__(self, message: str, *details: Message) -> None:
        super().__init__(message)
        self.message = message
        self.details: tuple[Message, ...] = details

    @property
    def status_code(self) -> RPCStatusCode:
        return type(self).code


class Canceled(RpcError):
    code = RPCStatusCode.CANCELLED


class Unknown(RpcError):
    code = RPCStatusCode.UNKNOWN


class InvalidArgument(RpcError):
    code = RPCStatusCode.INVALID_ARGUMENT


class DeadlineExceeded(RpcError):
    code = RPCStatusCode.DEADLINE_EXCEEDED


class NotFound(RpcError):
    code = RPCStatusCode.NOT_FOUND


class AlreadyExists(RpcError):
    code = RPCStatusCode.ALREADY_EXISTS


class PermissionDenied(RpcError):
    code = RPCStatusCode.PERMISSION_DENIED


class ResourceExhausted(RpcError):
    code = RPCStatusCode.RESOURCE_EXHAUSTED


class FailedPrecondition(RpcError):
    code = RPCStatusCode.FAILED_PRECONDITION


class ConnectionClosed(FailedPrecondition):
    """The caller has closed this connection: no further try can succeed, only another connection."""


class Aborted(RpcError):
    code = RPCStatusCode.ABORTED


class OutOfRange(RpcError):
    code = RPCStatusCode.OUT_OF_RANGE


class Unimplemented(RpcError):
    code = RPCStatusCode.UNIMPLEMENTED


class Internal(RpcError):
    code = RPCStatusCode.INTERNAL


class UndecodableAnswer(Internal):
    """The caller cannot read the answer to a call, which the service has carried out; another try would not help.

    Attributes:
        task_token: Of the task in the answer to a poll; empty when there is none.
    """

    def __init__(self, method: str, answer: bytes) -> None:
        super().__init__(
            f"The answer to {method} ({len(answer)} bytes) cannot be read: it is nested too deep, or not of this API."
        )
        self.task_token = _first_field(answer) if method.startswith("Poll") else b""


class Unavailable(RpcError):
    code = RPCStatusCode.UNAVAILABLE


class DataLoss(RpcError):
    code = RPCStatusCode.DATA_LOSS


class Unauthenticated(RpcError):
    code = RPCStatusCode.UNAUTHENTICATED


_BY_CODE: dict[int, type[RpcError]] = {
    cls.code: cls
    for cls in (
        Canceled, Unknown, InvalidArgument, DeadlineExceeded, NotFound, AlreadyExists, PermissionDenied,
        ResourceExhausted, FailedPrecondition, Aborted, OutOfRange, Unimplemented, Internal, Unavailable,
        DataLoss, Unauthenticated,
    )
}  # fmt: skip


SHOWN_CHARACTERS_MAX = 100


def shown(text: str) -> str:
    """What a message quotes of a caller's text: all of it, or its beginning.

    Each error that repeats what a caller has sent does it with this function.
    """
    if len(text) <= SHOWN_CHARACTERS_MAX:
        return text
    return f"{text[: SHOWN_CHARACTERS_MAX - 1]}…"


def _first_field(encoded: bytes) -> bytes:
    """The bytes of field 1 of a message that begins with it, as the answers to polls do; empty when it does not."""
    if encoded[:1] != b"\x0a":
        return b""
    size, shift = 0, 0
    for position, byte in enumerate(encoded[1:6], start=2):
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return encoded[position : position + size]
    return b""


def workflow_already_started(
    message: str, *, start_request_id: str, run_id: str, first_run_id: str
) -> AlreadyExists:
    """S-22: clients read the existing run from the first detail."""
    detail = errordetails.WorkflowExecutionAlreadyStartedFailure(
        start_request_id=start_request_id, run_id=run_id, first_execution_run_id=first_run_id
    )
    return AlreadyExists(message, detail)


def not_found(message: str) -> NotFound:
    """A run, task or activity that is not there (any more)."""
    return NotFound(message, errordetails.NotFoundFailure())


def namespace_not_found(name: str) -> NotFound:
    return NotFound(
        f"Namespace {shown(name)} is not found.",
        errordetails.NamespaceNotFoundFailure(namespace=name),
    )


def workflow_not_ready(message: str) -> FailedPrecondition:
    return FailedPrecondition(message, errordetails.WorkflowNotReadyFailure())


def resource_exhausted(
    message: str, cause: enums.ResourceExhaustedCause.ValueType
) -> ResourceExhausted:
    return ResourceExhausted(message, errordetails.ResourceExhaustedFailure(cause=cause))


def too_large(size_bytes: int, max_bytes: int) -> ResourceExhausted:
    """A message above the limit. Official workers recognise the error by the beginning of its text."""
    return ResourceExhausted(
        f"grpc: received message larger than max ({size_bytes} vs. {max_bytes}): "
        "keep large values elsewhere and pass references"
    )


def multi_operation(message: str, *operations: RpcError | None) -> RpcError:
    """S-21: how each operation ended, None for well; `aborted_operation()` for one that another one stopped.

    The status is that of the first operation that failed by itself.
    """
    detail = errordetails.MultiOperationExecutionFailure()
    code = int(RPCStatusCode.UNKNOWN)
    for error in reversed(operations):
        if error is not None and not _is_sibling(error):
            code = int(error.status_code)
    for error in operations:
        status = detail.statuses.add()
        if error is not None:
            packed = to_status(error)
            status.code, status.message = packed.code, packed.message
            status.details.extend(packed.details)
    return from_status(code, message, [detail])


def _is_sibling(error: RpcError) -> bool:
    return any(isinstance(d, failure.MultiOperationExecutionAborted) for d in error.details)


def aborted_operation() -> Aborted:
    return Aborted("Operation was aborted.", failure.MultiOperationExecutionAborted())


def to_status(error: RpcError) -> common.GrpcStatus:
    """The error as the `google.rpc.Status` message that travels in `grpc-status-details-bin`."""
    status = common.GrpcStatus(code=int(error.status_code), message=error.message)
    for detail in error.details:
        packed = status.details.add()
        if isinstance(detail, any_pb2.Any):
            packed.CopyFrom(detail)
        else:
            packed.Pack(detail)
    return status


def from_status(code: int, message: str, details: Sequence[Message] = ()) -> RpcError:
    """The typed error for a status; unknown codes become `Unknown`."""
    return _BY_CODE.get(code, Unknown)(message, *details)
