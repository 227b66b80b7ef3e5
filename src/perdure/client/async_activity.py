"""Handles of activities that are completed from outside (`activity.raise_complete_async`)."""

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
    """Completes an activity from outside, and sends its heartbeats. `Client.get_async_activity_handle` makes it.

    Args:
        client: Makes the calls.
        id_or_token: The activity: its ids, or the task token of an attempt.
        data_converter_override: Used instead of the client's data converter.
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
        """Report that the activity is alive.

        Args:
            details: Values that the next attempt finds in `activity.Info.heartbeat_details`.
            rpc_metadata: Headers of the call. They override the client's.
            rpc_timeout: Time limit of one attempt of the call. None: the connection's default, 30 seconds over gRPC.

        Raises:
            AsyncActivityCancelledError: The activity was cancelled.
            RPCError: The service refused the call: NOT_FOUND when the activity, or this attempt of it, is not open any
                more.
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
        """Complete the activity.

        Args:
            result: The activity's result. Default: none.
            rpc_metadata: Headers of the call. They override the client's.
            rpc_timeout: Time limit of one attempt of the call. None: the connection's default, 30 seconds over gRPC.

        Raises:
            RPCError: The service refused the call: NOT_FOUND when the activity, or this attempt of it, is not open any
                more.

        Example:
            ```python
            tokens: asyncio.Queue[bytes] = asyncio.Queue()


            @activity.defn
            async def ask_for_approval() -> str:
                tokens.put_nowait(activity.info().task_token)  # in practice: mail it
                activity.raise_complete_async()


            @workflow.defn
            class Purchase:
                @workflow.run
                async def run(self) -> str:
                    return await workflow.execute_activity(
                        ask_for_approval, start_to_close_timeout=timedelta(days=3)
                    )


            async with Worker(
                client, task_queue="orders", workflows=[Purchase], activities=[ask_for_approval]
            ):
                purchase = await client.start_workflow(Purchase.run, id="p-7", task_queue="orders")
                approval = client.get_async_activity_handle(task_token=await tokens.get())
                await approval.complete("by Ada")
                assert await purchase.result() == "by Ada"
            ```
        """
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
        """Fail this attempt of the activity. The retry policy decides whether there is another.

        Args:
            error: The error.
            last_heartbeat_details: Values that the next attempt finds in `activity.Info.heartbeat_details`.
            rpc_metadata: Headers of the call. They override the client's.
            rpc_timeout: Time limit of one attempt of the call. None: the connection's default, 30 seconds over gRPC.

        Raises:
            RPCError: The service refused the call: NOT_FOUND when the activity, or this attempt of it, is not open any
                more.
        """
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
        """Report that the activity has stopped because it was cancelled.

        Args:
            details: Values for the workflow's `CancelledError`.
            rpc_metadata: Headers of the call. They override the client's.
            rpc_timeout: Time limit of one attempt of the call. None: the connection's default, 30 seconds over gRPC.

        Raises:
            RPCError: The service refused the call: NOT_FOUND when the activity, or this attempt of it, is not open any
                more.
        """
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
        """The same handle, with a serialization context for its payloads.

        Args:
            context: What the payloads belong to.
        """
        converter = (self._data_converter_override or self._client.data_converter).with_context(
            context
        )
        return AsyncActivityHandle(self._client, self._id_or_token, converter)
