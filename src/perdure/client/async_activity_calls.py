"""The calls of asynchronously completed activities: each exists by task token and by ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from perdure.activity import ActivityCancellationDetails
from perdure.client import inputs
from perdure.client.async_activity_reference import AsyncActivityIDReference
from perdure.client.errors import AsyncActivityCancelledError
from perdure.common.signatures import UNSET
from perdure.converter import DataConverter
from perdure.wire.api import common as common_pb
from perdure.wire.api import failure as failure_pb
from perdure.wire.seam import WORKFLOW_SERVICE

if TYPE_CHECKING:
    from perdure.client.client import Client


class AsyncActivityCalls:
    """The part of `ClientImpl` that completes activities from outside."""

    _client: Client
    _by_id_suffix: ClassVar[str] = "ById"

    async def _send(
        self,
        verb: str,
        input: inputs.HeartbeatAsyncActivityInput
        | inputs.CompleteAsyncActivityInput
        | inputs.FailAsyncActivityInput
        | inputs.ReportCancellationAsyncActivityInput,
        **fields: Any,
    ) -> Any:
        target = input.id_or_token
        if isinstance(target, AsyncActivityIDReference):
            verb += self._by_id_suffix
            fields |= {
                "workflow_id": target.workflow_id or "",
                "run_id": target.run_id or "",
                "activity_id": target.activity_id,
            }
        else:
            fields["task_token"] = target
        method = WORKFLOW_SERVICE[verb]
        caller = self._client.caller
        request = method.request_type(
            namespace=caller.namespace, identity=caller.identity, **fields
        )
        return await self._client.service_client.call(
            method, request, metadata=input.rpc_metadata, timeout=input.rpc_timeout
        )

    def _converter(self, override: DataConverter | None) -> DataConverter:
        return override or self._client.data_converter

    async def heartbeat_async_activity(self, input: inputs.HeartbeatAsyncActivityInput) -> None:
        """See `OutboundInterceptor`."""
        converter = self._converter(input.data_converter_override)
        response = await self._send(
            "RecordActivityTaskHeartbeat", input, details=await _payloads(converter, input.details)
        )
        if response.cancel_requested or response.activity_paused or response.activity_reset:
            raise AsyncActivityCancelledError(
                ActivityCancellationDetails(
                    cancel_requested=response.cancel_requested,
                    paused=response.activity_paused,
                    reset=response.activity_reset,
                )
            )

    async def complete_async_activity(self, input: inputs.CompleteAsyncActivityInput) -> None:
        """See `OutboundInterceptor`."""
        converter = self._converter(input.data_converter_override)
        values = () if input.result is UNSET else (input.result,)
        await self._send(
            "RespondActivityTaskCompleted", input, result=await _payloads(converter, values)
        )

    async def fail_async_activity(self, input: inputs.FailAsyncActivityInput) -> None:
        """See `OutboundInterceptor`."""
        converter = self._converter(input.data_converter_override)
        failure = failure_pb.Failure()
        await converter.encode_failure(input.error, failure)
        await self._send(
            "RespondActivityTaskFailed",
            input,
            failure=failure,
            last_heartbeat_details=await _payloads(converter, input.last_heartbeat_details),
        )

    async def report_cancellation_async_activity(
        self, input: inputs.ReportCancellationAsyncActivityInput
    ) -> None:
        """See `OutboundInterceptor`."""
        converter = self._converter(input.data_converter_override)
        await self._send(
            "RespondActivityTaskCanceled", input, details=await _payloads(converter, input.details)
        )


async def _payloads(converter: DataConverter, values: Sequence[Any]) -> common_pb.Payloads | None:
    return await converter.encode_wrapper(values) if values else None
