"""RPC errors as users see them: the public form of `perdure.wire.errors.RpcError`."""

from __future__ import annotations

from enum import IntEnum

from perdure.exceptions import TemporalError
from perdure.wire import errors
from perdure.wire.api import common as common_pb


class RPCStatusCode(IntEnum):
    """The gRPC status codes."""

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
    """A call to the service did not succeed.

    Example:
        >>> except RPCError as error:
        ...     if error.status is RPCStatusCode.NOT_FOUND: ...
    """

    def __init__(self, message: str, status: RPCStatusCode, raw_grpc_status: bytes) -> None:
        super().__init__(message)
        self._message = message
        self._status = status
        self._raw_grpc_status = raw_grpc_status
        self._grpc_status: common_pb.GrpcStatus | None = None

    @staticmethod
    def from_wire(error: errors.RpcError) -> RPCError:
        """The public form of `error`."""
        raw = errors.to_status(error).SerializeToString()
        return RPCError(error.message, RPCStatusCode(int(error.status_code)), raw)

    @property
    def message(self) -> str:
        """What the service said."""
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
