"""The attributes of commands as the protobuf messages that RespondWorkflowTaskCompleted carries.

Pure: a command, the run's namespace and its worker's task queue in, one message out. An empty task
queue means the run's own, so legacy build-id inheritance applies to it (R-47).

What is not here: which kind of command has which form (`operation_table`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from perdure.replay import commands as cmd
from perdure.wire import times
from perdure.wire.api import command as api
from perdure.wire.api import common, enums, sdk, taskqueue

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.message import Message

    from perdure.replay.task import RunInfo


def _forms() -> dict[str, tuple[enums.CommandType.ValueType, str]]:
    forms: dict[str, tuple[enums.CommandType.ValueType, str]] = {}
    for field in api.Command.DESCRIPTOR.oneofs_by_name["attributes"].fields:
        assert field.message_type is not None
        name = field.name.removesuffix("_command_attributes").upper()
        command_type = enums.CommandType.Value(f"COMMAND_TYPE_{name}")
        forms[field.message_type.full_name] = command_type, field.name
    return forms


_FORMS: Final = _forms()
"""Name of an attributes message → the command type that has it, and the field that it goes into."""


def with_attributes(attributes: Message, command: cmd.Command) -> api.Command:
    """The protobuf command that has these attributes, with the annotations of `command`."""
    command_type, field = _FORMS[attributes.DESCRIPTOR.full_name]
    fields: dict[str, Any] = {field: attributes}
    result = api.Command(command_type=command_type, **fields)
    if command.summary is not None or command.details is not None:
        result.user_metadata.CopyFrom(
            sdk.UserMetadata(summary=command.summary, details=command.details)
        )
    if command.event_group_markers:
        result.event_group_markers.extend(command.event_group_markers)
    return result


def _duration(ns: int | None) -> Duration | None:
    return None if ns is None else times.duration(ns)


def _payloads(payloads: Sequence[common.Payload]) -> common.Payloads | None:
    return common.Payloads(payloads=payloads) if payloads else None


def _header(fields: Mapping[str, common.Payload]) -> common.Header | None:
    return common.Header(fields=fields) if fields else None


def _queue(name: str) -> taskqueue.TaskQueue:
    return taskqueue.TaskQueue(name=name)


def _inherits_build(intent: cmd.VersioningIntent, task_queue: str, run: RunInfo) -> bool:
    if intent == cmd.VersioningIntent.UNSPECIFIED:
        return not task_queue or task_queue == run.task_queue
    return intent == cmd.VersioningIntent.COMPATIBLE


def start_timer(command: cmd.StartTimer, _run: RunInfo) -> api.StartTimerCommandAttributes:
    return api.StartTimerCommandAttributes(
        timer_id=str(command.seq),
        start_to_fire_timeout=times.duration(command.start_to_fire_timeout_ns),
    )


def cancel_timer(command: cmd.CancelTimer, _run: RunInfo) -> api.CancelTimerCommandAttributes:
    return api.CancelTimerCommandAttributes(timer_id=str(command.seq))


def schedule_activity(
    command: cmd.ScheduleActivity, run: RunInfo
) -> api.ScheduleActivityTaskCommandAttributes:
    return api.ScheduleActivityTaskCommandAttributes(
        activity_id=command.activity_id or str(command.seq),
        activity_type=common.ActivityType(name=command.activity_type),
        task_queue=_queue(command.task_queue or run.task_queue),
        header=_header(command.headers),
        input=_payloads(command.arguments),
        schedule_to_close_timeout=_duration(command.schedule_to_close_timeout_ns),
        schedule_to_start_timeout=_duration(command.schedule_to_start_timeout_ns),
        start_to_close_timeout=_duration(command.start_to_close_timeout_ns),
        heartbeat_timeout=_duration(command.heartbeat_timeout_ns),
        retry_policy=command.retry_policy,
        request_eager_execution=not command.do_not_eagerly_execute,
        use_workflow_build_id=_inherits_build(command.versioning_intent, command.task_queue, run),
        priority=command.priority,
    )


def cancel_activity(
    command: cmd.CancelActivityTask, _run: RunInfo
) -> api.RequestCancelActivityTaskCommandAttributes:
    return api.RequestCancelActivityTaskCommandAttributes(
        scheduled_event_id=command.scheduled_event_id
    )


def record_marker(command: cmd.RecordMarker, _run: RunInfo) -> api.RecordMarkerCommandAttributes:
    return api.RecordMarkerCommandAttributes(
        marker_name=command.marker_name, details=command.marker_details, failure=command.failure
    )


def upsert_search_attributes(
    command: cmd.UpsertSearchAttributes, _run: RunInfo
) -> api.UpsertWorkflowSearchAttributesCommandAttributes:
    return api.UpsertWorkflowSearchAttributesCommandAttributes(
        search_attributes=command.search_attributes
    )


def modify_properties(
    command: cmd.ModifyProperties, _run: RunInfo
) -> api.ModifyWorkflowPropertiesCommandAttributes:
    return api.ModifyWorkflowPropertiesCommandAttributes(upserted_memo=command.upserted_memo)


def start_child(
    command: cmd.StartChildWorkflow, run: RunInfo
) -> api.StartChildWorkflowExecutionCommandAttributes:
    return api.StartChildWorkflowExecutionCommandAttributes(
        namespace=command.namespace or run.namespace,
        workflow_id=command.workflow_id,
        workflow_type=common.WorkflowType(name=command.workflow_type),
        task_queue=_queue(command.task_queue or run.task_queue),
        input=_payloads(command.input),
        workflow_execution_timeout=_duration(command.workflow_execution_timeout_ns),
        workflow_run_timeout=_duration(command.workflow_run_timeout_ns),
        workflow_task_timeout=_duration(command.workflow_task_timeout_ns),
        parent_close_policy=enums.ParentClosePolicy.ValueType(command.parent_close_policy),
        workflow_id_reuse_policy=enums.WorkflowIdReusePolicy.ValueType(
            command.workflow_id_reuse_policy
        ),
        retry_policy=command.retry_policy,
        cron_schedule=command.cron_schedule,
        header=_header(command.headers),
        memo=common.Memo(fields=command.memo) if command.memo else None,
        search_attributes=command.search_attributes,
        inherit_build_id=_inherits_build(command.versioning_intent, command.task_queue, run),
        priority=command.priority,
        versioning_override=command.versioning_override,
    )


def cancel_external(
    command: cmd.RequestCancelExternal, run: RunInfo
) -> api.RequestCancelExternalWorkflowExecutionCommandAttributes:
    return api.RequestCancelExternalWorkflowExecutionCommandAttributes(
        namespace=command.namespace or run.namespace,
        workflow_id=command.workflow_id,
        run_id=command.run_id,
        child_workflow_only=command.child_workflow_only,
        reason=command.reason,
    )


def signal_external(
    command: cmd.SignalExternal, run: RunInfo
) -> api.SignalExternalWorkflowExecutionCommandAttributes:
    return api.SignalExternalWorkflowExecutionCommandAttributes(
        namespace=command.namespace or run.namespace,
        execution=common.WorkflowExecution(workflow_id=command.workflow_id, run_id=command.run_id),
        signal_name=command.signal_name,
        input=_payloads(command.args),
        child_workflow_only=command.child_workflow_only,
        header=_header(command.headers),
    )


def schedule_nexus(
    command: cmd.ScheduleNexusOperation, _run: RunInfo
) -> api.ScheduleNexusOperationCommandAttributes:
    return api.ScheduleNexusOperationCommandAttributes(
        endpoint=command.endpoint,
        service=command.service,
        operation=command.operation,
        input=command.input,
        schedule_to_close_timeout=_duration(command.schedule_to_close_timeout_ns),
        schedule_to_start_timeout=_duration(command.schedule_to_start_timeout_ns),
        start_to_close_timeout=_duration(command.start_to_close_timeout_ns),
        nexus_header=command.nexus_header,
    )


def cancel_nexus(
    command: cmd.CancelNexusOperation, _run: RunInfo
) -> api.RequestCancelNexusOperationCommandAttributes:
    return api.RequestCancelNexusOperationCommandAttributes(
        scheduled_event_id=command.scheduled_event_id
    )


def protocol_message(
    command: cmd.SendAcceptance | cmd.SendOutcome, _run: RunInfo
) -> api.ProtocolMessageCommandAttributes:
    return api.ProtocolMessageCommandAttributes(message_id=command.message_id)


def complete_workflow(
    command: cmd.CompleteWorkflow, _run: RunInfo
) -> api.CompleteWorkflowExecutionCommandAttributes:
    result = None if command.result is None else common.Payloads(payloads=[command.result])
    return api.CompleteWorkflowExecutionCommandAttributes(result=result)


def fail_workflow(
    command: cmd.FailWorkflow, _run: RunInfo
) -> api.FailWorkflowExecutionCommandAttributes:
    return api.FailWorkflowExecutionCommandAttributes(failure=command.failure)


def cancel_workflow(
    command: cmd.CancelWorkflowExecution, _run: RunInfo
) -> api.CancelWorkflowExecutionCommandAttributes:
    return api.CancelWorkflowExecutionCommandAttributes(details=command.cancellation_details)


def continue_as_new(
    command: cmd.ContinueAsNew, run: RunInfo
) -> api.ContinueAsNewWorkflowExecutionCommandAttributes:
    behavior = enums.ContinueAsNewVersioningBehavior.ValueType(command.initial_versioning_behavior)
    return api.ContinueAsNewWorkflowExecutionCommandAttributes(
        workflow_type=common.WorkflowType(name=command.workflow_type or run.workflow_type),
        task_queue=_queue(command.task_queue or run.task_queue),
        input=_payloads(command.arguments),
        workflow_run_timeout=_duration(command.workflow_run_timeout_ns),
        workflow_task_timeout=_duration(command.workflow_task_timeout_ns),
        memo=common.Memo(fields=command.memo) if command.memo else None,
        header=_header(command.headers),
        retry_policy=command.retry_policy,
        search_attributes=command.search_attributes,
        backoff_start_interval=_duration(command.backoff_start_interval_ns),
        inherit_build_id=_inherits_build(command.versioning_intent, command.task_queue, run),
        initial_versioning_behavior=behavior,
    )
