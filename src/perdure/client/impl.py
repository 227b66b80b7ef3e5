"""The end of the interceptor chain: encode, call, decode, for every method."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from google.protobuf.message import Message

from perdure.activity.cancellation import ActivityCancellationDetails
from perdure.client import encode, inputs
from perdure.client.enums import WorkflowUpdateStage, status_or_none
from perdure.client.errors import (
    AsyncActivityCancelledError,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from perdure.client.executions import (
    WorkflowExecutionCount,
    WorkflowExecutionDescription,
    count_from_response,
    description_from_response,
)
from perdure.client.history import WorkflowHistoryEventAsyncIterator
from perdure.client.interceptor import OutboundInterceptor
from perdure.client.listing import WorkflowExecutionAsyncIterator
from perdure.client.outbound import HandleClient
from perdure.client.update_handle import WorkflowUpdateHandle
from perdure.client.workflow_handle import WorkflowHandle
from perdure.common.signatures import UNSET
from perdure.converter import DataConverter
from perdure.core.ids import new_id
from perdure.exceptions import WorkflowAlreadyStartedError
from perdure.service import RPCError, RPCStatusCode
from perdure.wire.api import errordetails
from perdure.wire.api import failure as failure_pb
from perdure.wire.api import workflowservice as pb
from perdure.wire.seam import WORKFLOW_SERVICE

if TYPE_CHECKING:
    from perdure.service.eager_starts import FirstTask


class _HasRpcOptions(Protocol):
    rpc_metadata: inputs.Metadata
    rpc_timeout: Any


class ClientImpl(OutboundInterceptor):
    """The last link of the chain. It makes the calls."""

    def __init__(self, client: HandleClient) -> None:
        self._client = client

    async def _call(self, name: str, request: Message, options: _HasRpcOptions) -> Any:
        return await self._client.service_client.call(
            WORKFLOW_SERVICE[name],
            request,
            metadata=options.rpc_metadata,
            timeout=options.rpc_timeout,
        )

    async def start_workflow(self, input: inputs.StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        request = await encode.start_workflow(self._client.caller, input, new_id())
        with_signal = isinstance(request, pb.SignalWithStartWorkflowExecutionRequest)
        try:
            if isinstance(request, pb.SignalWithStartWorkflowExecutionRequest):
                response = await self._call("SignalWithStartWorkflowExecution", request, input)
            else:
                response = await self._start(request, input)
        except RPCError as error:
            raise _already_started(error, input) or error from None
        # A signal may have gone to a run that continues another. Only a run that this call started is a first one.
        own_start = not with_signal or response.started
        return WorkflowHandle(
            self._client,
            input.id,
            result_run_id=response.run_id,
            first_execution_run_id=response.first_execution_run_id
            or (response.run_id if own_start else None),
            result_type=input.ret_type,
            start_workflow_response=response,
        )

    async def _start(
        self, request: pb.StartWorkflowExecutionRequest, input: inputs.StartWorkflowInput
    ) -> pb.StartWorkflowExecutionResponse:
        if not input.request_eager_start:
            return await self._call("StartWorkflowExecution", request, input)
        starts = self._client.service_client.eager_starts
        settle = starts.reserve(self._client.caller.namespace, input.task_queue)
        request.request_eager_execution = settle is not None
        first_task: FirstTask | None = None
        try:
            response = await self._call("StartWorkflowExecution", request, input)
            if response.HasField("eager_workflow_task"):
                first_task = response.eager_workflow_task
        finally:
            if settle is not None:
                settle(first_task)
        return response

    async def cancel_workflow(self, input: inputs.CancelWorkflowInput) -> None:
        request = encode.cancel_workflow(self._client.caller, input, new_id())
        await self._call("RequestCancelWorkflowExecution", request, input)

    async def describe_workflow(
        self, input: inputs.DescribeWorkflowInput
    ) -> WorkflowExecutionDescription:
        request = encode.describe_workflow(self._client.caller, input)
        response = await self._call("DescribeWorkflowExecution", request, input)
        return description_from_response(
            response, self._client.caller.namespace, self._client.data_converter
        )

    def fetch_workflow_history_events(
        self, input: inputs.FetchWorkflowHistoryEventsInput
    ) -> WorkflowHistoryEventAsyncIterator:
        return WorkflowHistoryEventAsyncIterator(self._client, input)

    def list_workflows(self, input: inputs.ListWorkflowsInput) -> WorkflowExecutionAsyncIterator:
        return WorkflowExecutionAsyncIterator(self._client, input)

    async def count_workflows(self, input: inputs.CountWorkflowsInput) -> WorkflowExecutionCount:
        request = encode.count_workflows(self._client.caller, input)
        return count_from_response(await self._call("CountWorkflowExecutions", request, input))

    async def query_workflow(self, input: inputs.QueryWorkflowInput) -> Any:
        request = await encode.query_workflow(self._client.caller, input)
        try:
            response: pb.QueryWorkflowResponse = await self._call("QueryWorkflow", request, input)
        except RPCError as error:
            # S-39: a handler that failed is an invalid argument on the wire.
            if error.status is RPCStatusCode.INVALID_ARGUMENT:
                raise WorkflowQueryFailedError(error.message) from error
            raise
        if response.HasField("query_rejected"):
            raise WorkflowQueryRejectedError(status_or_none(response.query_rejected.status))
        hints = [input.ret_type] if input.ret_type else None
        converter = self._client.caller.converter_for(input.id)
        return single(await converter.decode_wrapper(response.query_result, hints), "query result")

    async def signal_workflow(self, input: inputs.SignalWorkflowInput) -> None:
        request = await encode.signal_workflow(self._client.caller, input, new_id())
        await self._call("SignalWorkflowExecution", request, input)

    async def terminate_workflow(self, input: inputs.TerminateWorkflowInput) -> None:
        request = await encode.terminate_workflow(self._client.caller, input)
        await self._call("TerminateWorkflowExecution", request, input)

    async def start_workflow_update(
        self, input: inputs.StartWorkflowUpdateInput
    ) -> WorkflowUpdateHandle[Any]:
        update_id = input.update_id or new_id()
        request = await encode.start_workflow_update(self._client.caller, input, update_id)
        response = await self._update_until_accepted(request, input)
        handle: WorkflowUpdateHandle[Any] = WorkflowUpdateHandle(
            self._client,
            update_id,
            input.id,
            workflow_run_id=response.update_ref.workflow_execution.run_id,
            result_type=input.ret_type,
            known_outcome=response.outcome if response.HasField("outcome") else None,
        )
        if input.wait_for_stage is WorkflowUpdateStage.COMPLETED:
            await handle.wait_for_outcome(
                rpc_metadata=input.rpc_metadata, rpc_timeout=input.rpc_timeout
            )
        return handle

    async def _update_until_accepted(
        self, request: pb.UpdateWorkflowExecutionRequest, input: inputs.StartWorkflowUpdateInput
    ) -> pb.UpdateWorkflowExecutionResponse:
        """S-19: the call returns after a while whatever the stage; ask again until the update is durable."""
        while True:
            try:
                response = await self._call("UpdateWorkflowExecution", request, input)
            except RPCError as error:
                if error.status in {RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED}:
                    raise WorkflowUpdateRPCTimeoutOrCancelledError from error
                raise
            except asyncio.CancelledError as error:
                raise WorkflowUpdateRPCTimeoutOrCancelledError from error
            if response.stage >= WorkflowUpdateStage.ACCEPTED:
                return response

    # ── activities that are completed from outside: by task token or by ids ───────────────────────

    async def _complete_activity(
        self,
        verb: str,
        input: inputs.HeartbeatAsyncActivityInput
        | inputs.CompleteAsyncActivityInput
        | inputs.FailAsyncActivityInput
        | inputs.ReportCancellationAsyncActivityInput,
        **fields: Any,
    ) -> Any:
        target = input.id_or_token
        if isinstance(target, inputs.AsyncActivityIDReference):
            verb += "ById"
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
        response = await self._complete_activity(
            "RecordActivityTaskHeartbeat",
            input,
            details=await encode.payloads(converter, input.details),
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
        await self._complete_activity(
            "RespondActivityTaskCompleted", input, result=await encode.payloads(converter, values)
        )

    async def fail_async_activity(self, input: inputs.FailAsyncActivityInput) -> None:
        """See `OutboundInterceptor`."""
        converter = self._converter(input.data_converter_override)
        failure = failure_pb.Failure()
        await converter.encode_failure(input.error, failure)
        await self._complete_activity(
            "RespondActivityTaskFailed",
            input,
            failure=failure,
            last_heartbeat_details=await encode.payloads(converter, input.last_heartbeat_details),
        )

    async def report_cancellation_async_activity(
        self, input: inputs.ReportCancellationAsyncActivityInput
    ) -> None:
        """See `OutboundInterceptor`."""
        converter = self._converter(input.data_converter_override)
        await self._complete_activity(
            "RespondActivityTaskCanceled",
            input,
            details=await encode.payloads(converter, input.details),
        )


def single(values: Sequence[Any], what: str) -> Any:
    """The first value, or None when there is none."""
    if len(values) > 1:
        warnings.warn(f"Expected single {what}, got {len(values)}", stacklevel=3)
    return values[0] if values else None


def _already_started(
    error: RPCError, input: inputs.StartWorkflowInput
) -> WorkflowAlreadyStartedError | None:
    """S-22: the first detail names the run that holds the id."""
    if error.status is not RPCStatusCode.ALREADY_EXISTS or not error.grpc_status.details:
        return None
    detail = errordetails.WorkflowExecutionAlreadyStartedFailure()
    if not error.grpc_status.details[0].Unpack(detail):
        return None
    return WorkflowAlreadyStartedError(
        input.id,
        input.workflow,
        run_id=detail.run_id,
        first_run_id=detail.first_execution_run_id or None,
    )
