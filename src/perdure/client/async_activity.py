"""Handles of activities that somebody else completes (`activity.raise_complete_async`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from perdure.client import inputs
from perdure.client.inputs import AsyncActivityIDReference
from perdure.client.outbound import HandleClient
from perdure.common.signatures import UNSET
from perdure.converter import DataConverter, SerializationContext, WithSerializationContext


class AsyncActivityHandle(WithSerializationContext):
    """Completes an activity from outside, and sends its heartbeats.

    Every method takes ``rpc_metadata`` (headers) and ``rpc_timeout`` (for one try).

    Raises:
        perdure.service.RPCError: NOT_FOUND when the activity, or this attempt of it, is not open any more.
    """

    def __init__(
        self,
        client: HandleClient,
        id_or_token: AsyncActivityIDReference | bytes,
        data_converter_override: DataConverter | None = None,
    ) -> None:
        self._client = client
        self._id_or_token = id_or_token
        self._data_converter_override = data_converter_override

    async def heartbeat(
        self,
        *details: Any,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Say that the activity is alive.

        Raises:
            AsyncActivityCancelledError: It is to stop.
        """
        await self._client.outbound.heartbeat_async_activity(
            inputs.HeartbeatAsyncActivityInput(
                id_or_token=self._id_or_token,
                details=details,
                rpc_metadata=rpc_metadata or {},
                rpc_timeout=rpc_timeout,
                data_converter_override=self._data_converter_override,
            )
        )

    async def complete(
        self,
        result: Any = UNSET,
        *,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Complete the activity, with `result` if given."""
        await self._client.outbound.complete_async_activity(
            inputs.CompleteAsyncActivityInput(
                id_or_token=self._id_or_token,
                result=result,
                rpc_metadata=rpc_metadata or {},
                rpc_timeout=rpc_timeout,
                data_converter_override=self._data_converter_override,
            )
        )

    async def fail(
        self,
        error: Exception,
        *,
        last_heartbeat_details: Sequence[Any] = (),
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Fail this attempt; the retry policy decides what follows."""
        await self._client.outbound.fail_async_activity(
            inputs.FailAsyncActivityInput(
                id_or_token=self._id_or_token,
                error=error,
                last_heartbeat_details=last_heartbeat_details,
                rpc_metadata=rpc_metadata or {},
                rpc_timeout=rpc_timeout,
                data_converter_override=self._data_converter_override,
            )
        )

    async def report_cancellation(
        self,
        *details: Any,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Say that the activity has stopped because it was cancelled."""
        await self._client.outbound.report_cancellation_async_activity(
            inputs.ReportCancellationAsyncActivityInput(
                id_or_token=self._id_or_token,
                details=details,
                rpc_metadata=rpc_metadata or {},
                rpc_timeout=rpc_timeout,
                data_converter_override=self._data_converter_override,
            )
        )

    def with_context(self, context: SerializationContext) -> AsyncActivityHandle:
        """The same handle, whose payloads are converted in `context`."""
        converter = (self._data_converter_override or self._client.data_converter).with_context(
            context
        )
        return AsyncActivityHandle(self._client, self._id_or_token, converter)
