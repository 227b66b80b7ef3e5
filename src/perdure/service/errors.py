"""RPC errors as users see them: the public form of `perdure.wire.errors.RpcError`."""

from __future__ import annotations

from perdure.exceptions import TemporalError
from perdure.wire import errors
from perdure.wire.api import common as common_pb
from perdure.wire.errors import RPCStatusCode


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
        return RPCError(error.message, error.status_code, raw)

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
