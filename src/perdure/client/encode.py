"""Conversion of inputs to requests. No calls and no state: everything that a request needs is an argument.

The functions are asynchronous only because payload codecs are. Request ids come from the caller, who makes one for each
call of the user, so that all attempts of the call have the same id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from perdure.client import inputs
from perdure.client.caller import Caller
from perdure.converter import DataConverter, encode_search_attributes
from perdure.wire.api import common as common_pb
from perdure.wire.api import query as query_pb
from perdure.wire.api import sdk as sdk_pb
from perdure.wire.api import update as update_pb
from perdure.wire.api import workflowservice as pb
from perdure.wire.times import set_duration

StartRequest: TypeAlias = (
    pb.StartWorkflowExecutionRequest | pb.SignalWithStartWorkflowExecutionRequest
)


def _execution(workflow_id: str, run_id: str | None) -> common_pb.WorkflowExecution:
    return common_pb.WorkflowExecution(workflow_id=workflow_id, run_id=run_id or "")


async def payloads(converter: DataConverter, values: Sequence[Any]) -> common_pb.Payloads | None:
    """Encoded values; None when there are none, which leaves the field unset."""
    return await converter.encode_wrapper(values) if values else None


async def _header(caller: Caller, headers: inputs.Headers | None) -> common_pb.Header | None:
    if not headers:
        return None
    payloads = list(headers.values())
    if caller.encodes_headers:
        # One by one: a codec may merge several payloads into fewer.
        payloads = [(await caller.data_converter.encode_payloads([item]))[0] for item in payloads]
    return common_pb.Header(fields=dict(zip(headers, payloads, strict=True)))


async def user_metadata(
    converter: DataConverter, summary: str | None, details: str | None
) -> sdk_pb.UserMetadata | None:
    """Texts for people."""
    if summary is None and details is None:
        return None
    return sdk_pb.UserMetadata(
        summary=None if summary is None else (await converter.encode([summary]))[0],
        details=None if details is None else (await converter.encode([details]))[0],
    )


async def start_workflow(
    caller: Caller, input: inputs.StartWorkflowInput, request_id: str
) -> StartRequest:
    """A start, or with `start_signal` a signal-with-start."""
    converter = caller.converter_for(input.id)
    request: StartRequest
    if input.start_signal is None:
        request = pb.StartWorkflowExecutionRequest()
    else:
        request = pb.SignalWithStartWorkflowExecutionRequest(
            signal_name=input.start_signal,
            signal_input=await payloads(converter, input.start_signal_args),
        )
    request.namespace = caller.namespace
    request.identity = caller.identity
    request.request_id = request_id
    request.workflow_id = input.id
    request.workflow_type.name = input.workflow
    request.task_queue.name = input.task_queue
    request.workflow_id_reuse_policy = int(input.id_reuse_policy)  # pyright: ignore[reportAttributeAccessIssue]
    request.workflow_id_conflict_policy = int(input.id_conflict_policy)  # pyright: ignore[reportAttributeAccessIssue]
    request.cron_schedule = input.cron_schedule
    _set_durations(request, input)
    if input.retry_policy is not None:
        input.retry_policy.apply_to_proto(request.retry_policy)
    if input.search_attributes is not None:
        encode_search_attributes(input.search_attributes, request.search_attributes)
    request.priority.CopyFrom(input.priority.to_proto())
    if input.versioning_override is not None:
        request.versioning_override.CopyFrom(input.versioning_override.to_proto())
    await _set_payloads(caller, converter, request, input)
    return request


def _set_durations(request: StartRequest, input: inputs.StartWorkflowInput) -> None:
    for name, value in (
        ("workflow_execution_timeout", input.execution_timeout),
        ("workflow_run_timeout", input.run_timeout),
        ("workflow_task_timeout", input.task_timeout),
        ("workflow_start_delay", input.start_delay),
    ):
        if value is not None:
            set_duration(getattr(request, name), value)


async def _set_payloads(
    caller: Caller,
    converter: DataConverter,
    request: StartRequest,
    input: inputs.StartWorkflowInput,
) -> None:
    if input.args:
        request.input.payloads.extend(await converter.encode(input.args))
    if input.memo is not None:
        request.memo.CopyFrom(await converter.encode_memo(input.memo))
    metadata = await user_metadata(converter, input.static_summary, input.static_details)
    if metadata is not None:
        request.user_metadata.CopyFrom(metadata)
    header = await _header(caller, input.headers)
    if header is not None:
        request.header.CopyFrom(header)


def cancel_workflow(
    caller: Caller, input: inputs.CancelWorkflowInput, request_id: str
) -> pb.RequestCancelWorkflowExecutionRequest:
    """A request to cancel."""
    return pb.RequestCancelWorkflowExecutionRequest(
        namespace=caller.namespace,
        workflow_execution=_execution(input.id, input.run_id),
        identity=caller.identity,
        request_id=request_id,
        first_execution_run_id=input.first_execution_run_id or "",
        reason=input.reason,
    )


async def terminate_workflow(
    caller: Caller, input: inputs.TerminateWorkflowInput
) -> pb.TerminateWorkflowExecutionRequest:
    """A termination."""
    return pb.TerminateWorkflowExecutionRequest(
        namespace=caller.namespace,
        workflow_execution=_execution(input.id, input.run_id),
        reason=input.reason or "",
        details=await payloads(caller.converter_for(input.id), input.args),
        identity=caller.identity,
        first_execution_run_id=input.first_execution_run_id or "",
    )


async def signal_workflow(
    caller: Caller, input: inputs.SignalWorkflowInput, request_id: str
) -> pb.SignalWorkflowExecutionRequest:
    """A signal."""
    return pb.SignalWorkflowExecutionRequest(
        namespace=caller.namespace,
        workflow_execution=_execution(input.id, input.run_id),
        signal_name=input.signal,
        input=await payloads(caller.converter_for(input.id), input.args),
        identity=caller.identity,
        request_id=request_id,
        header=await _header(caller, input.headers),
    )


async def query_workflow(
    caller: Caller, input: inputs.QueryWorkflowInput
) -> pb.QueryWorkflowRequest:
    """A query."""
    return pb.QueryWorkflowRequest(
        namespace=caller.namespace,
        execution=_execution(input.id, input.run_id),
        query=query_pb.WorkflowQuery(
            query_type=input.query,
            query_args=await payloads(caller.converter_for(input.id), input.args),
            header=await _header(caller, input.headers),
        ),
        query_reject_condition=int(input.reject_condition or 0),  # pyright: ignore[reportArgumentType]
    )


def describe_workflow(
    caller: Caller, input: inputs.DescribeWorkflowInput
) -> pb.DescribeWorkflowExecutionRequest:
    """A describe."""
    return pb.DescribeWorkflowExecutionRequest(
        namespace=caller.namespace, execution=_execution(input.id, input.run_id)
    )


def count_workflows(
    caller: Caller, input: inputs.CountWorkflowsInput
) -> pb.CountWorkflowExecutionsRequest:
    """A count."""
    return pb.CountWorkflowExecutionsRequest(namespace=caller.namespace, query=input.query or "")


async def start_workflow_update(
    caller: Caller, input: inputs.StartWorkflowUpdateInput, update_id: str
) -> pb.UpdateWorkflowExecutionRequest:
    """An update; its id makes repeated tries one update."""
    return pb.UpdateWorkflowExecutionRequest(
        namespace=caller.namespace,
        workflow_execution=_execution(input.id, input.run_id),
        first_execution_run_id=input.first_execution_run_id or "",
        wait_policy=_wait_for(input.wait_for_stage),
        request=update_pb.Request(
            meta=update_pb.Meta(update_id=update_id, identity=caller.identity),
            input=update_pb.Input(
                name=input.update,
                args=await payloads(caller.converter_for(input.id), input.args),
                header=await _header(caller, input.headers),
            ),
        ),
    )


def _wait_for(stage: int) -> update_pb.WaitPolicy:
    return update_pb.WaitPolicy(lifecycle_stage=stage)  # pyright: ignore[reportArgumentType]


def poll_workflow_update(
    caller: Caller, workflow_id: str, run_id: str | None, update_id: str, stage: int
) -> pb.PollWorkflowExecutionUpdateRequest:
    """Waiting for an update."""
    return pb.PollWorkflowExecutionUpdateRequest(
        namespace=caller.namespace,
        update_ref=update_pb.UpdateRef(
            workflow_execution=_execution(workflow_id, run_id), update_id=update_id
        ),
        identity=caller.identity,
        wait_policy=_wait_for(stage),
    )
