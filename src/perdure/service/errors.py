"""RPC errors as users see them: the public form of `perdure.wire.errors.RpcError`."""

from __future__ import annotations

from enum import IntEnum

from perdure.exceptions import TemporalError
from perdure.wire import errors
from perdure.wire.api import common as common_pb


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


class RPCError(TemporalError):
    """The service refused a call, or could not be reached.

    Args:
        message: The service's message.
        status: The status code.
        raw_grpc_status: The status message with its details, serialized.

    Example:
        ```python
        from perdure.client import RPCError, RPCStatusCode

        try:
            await client.get_workflow_handle("no-such-order").describe()
        except RPCError as error:
            assert error.status is RPCStatusCode.NOT_FOUND
        else:
            raise AssertionError("found")
        ```
    """

    def __init__(self, message: str, status: RPCStatusCode, raw_grpc_status: bytes) -> None:
        super().__init__(message)
        self._message = message
        self._status = status
        self._raw_grpc_status = raw_grpc_status
        self._grpc_status: common_pb.GrpcStatus | None = None

    @staticmethod
    def from_wire(error: errors.RpcError) -> RPCError:
        """The public form of an internal error.

        Args:
            error: The internal error.
        """
        raw = errors.to_status(error).SerializeToString()
        return RPCError(error.message, RPCStatusCode(int(error.status_code)), raw)

    @property
    def message(self) -> str:
        """The service's message."""
        return self._message

    @property
    def status(self) -> RPCStatusCode:
        """The status code."""
        return self._status

    @property
    def raw_grpc_status(self) -> bytes:
        """The status message with its details, serialized."""
        return self._raw_grpc_status

    @property
    def grpc_status(self) -> common_pb.GrpcStatus:
        """The status message with its details."""
        if self._grpc_status is None:
            self._grpc_status = common_pb.GrpcStatus.FromString(self._raw_grpc_status)
        return self._grpc_status
