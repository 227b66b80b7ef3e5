"""Commands as the protobuf messages that RespondWorkflowTaskCompleted carries.

Pure: a command, the run's namespace and its worker's task queue in, one message out. An empty task
queue means the run's own, so legacy build-id inheritance applies to it (R-47).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from perdure.replay import commands as cmd
from perdure.replay import outgoing as out
from perdure.wire import times
from perdure.wire.api import command as api
from perdure.wire.api import common, enums, sdk, taskqueue

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

    from perdure.replay.task import RunInfo

_T = enums.CommandType


def to_api(command: out.Wirable, run: RunInfo) -> api.Command:
    """The protobuf form of ``command``."""
    result = _BUILDERS[type(command)](command, run)
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


def _start_timer(command: cmd.StartTimer, _run: RunInfo) -> api.Command:
    return api.Command(
        command_type=_T.COMMAND_TYPE_START_TIMER,
        start_timer_command_attributes=api.StartTimerCommandAttributes(
            timer_id=str(command.seq),
            start_to_fire_timeout=times.duration(command.start_to_fire_timeout_ns),
        ),
    )


def _cancel_timer(command: cmd.CancelTimer, _run: RunInfo) -> api.Command:
    return api.Command(
        command_type=_T.COMMAND_TYPE_CANCEL_TIMER,
        cancel_timer_command_attributes=api.CancelTimerCommandAttributes(timer_id=str(command.seq)),
    )


def _schedule_activity(command: cmd.ScheduleActivity, run: RunInfo) -> api.Command:
    attributes = api.ScheduleActivityTaskCommandAttributes(
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
    return api.Command(
        command_type=_T.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK,
        schedule_activity_task_command_attributes=attributes,
    )


def _cancel_activity(command: out.CancelActivityTask, _run: RunInfo) -> api.Command:
    return api.Command(
        command_type=_T.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK,
        request_cancel_activity_task_command_attributes=(
            api.RequestCancelActivityTaskCommandAttributes(
                scheduled_event_id=command.scheduled_event_id
            )
        ),
    )


def _record_marker(command: out.RecordMarker, _run: RunInfo) -> api.Command:
    return api.Command(
        command_type=_T.COMMAND_TYPE_RECORD_MARKER,
        record_marker_command_attributes=api.RecordMarkerCommandAttributes(
            marker_name=command.marker_name, details=command.marker_details, failure=command.failure
        ),
    )


def _upsert(command: cmd.UpsertSearchAttributes, _run: RunInfo) -> api.Command:
    return api.Command(
        command_type=_T.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
        upsert_workflow_search_attributes_command_attributes=(
            api.UpsertWorkflowSearchAttributesCommandAttributes(
                search_attributes=command.search_attributes
            )
        ),
    )


def _modify_properties(command: cmd.ModifyProperties, _run: RunInfo) -> api.Command:
    return api.Command(
        command_type=_T.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES,
        modify_workflow_properties_command_attributes=(
            api.ModifyWorkflowPropertiesCommandAttributes(upserted_memo=command.upserted_memo)
        ),
    )


def _start_child(command: cmd.StartChildWorkflow, run: RunInfo) -> api.Command:
    attributes = api.StartChildWorkflowExecutionCommandAttributes(
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
    return api.Command(
        command_type=_T.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION,
        start_child_workflow_execution_command_attributes=attributes,
    )


def _cancel_external(command: out.CancelExternal, run: RunInfo) -> api.Command:
    return api.Command(
        command_type=_T.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION,
        request_cancel_external_workflow_execution_command_attributes=(
            api.RequestCancelExternalWorkflowExecutionCommandAttributes(
                namespace=command.namespace or run.namespace,
                workflow_id=command.workflow_id,
                run_id=command.run_id,
                child_workflow_only=command.child_workflow_only,
                reason=command.reason,
            )
        ),
    )


def _signal_external(command: cmd.SignalExternal, run: RunInfo) -> api.Command:
    attributes = api.SignalExternalWorkflowExecutionCommandAttributes(
        namespace=command.namespace or run.namespace,
        execution=common.WorkflowExecution(workflow_id=command.workflow_id, run_id=command.run_id),
        signal_name=command.signal_name,
        input=_payloads(command.args),
        child_workflow_only=command.child_workflow_only,
        header=_header(command.headers),
    )
    return api.Command(
        command_type=_T.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION,
        signal_external_workflow_execution_command_attributes=attributes,
    )


def _schedule_nexus(command: cmd.ScheduleNexusOperation, _run: RunInfo) -> api.Command:
    attributes = api.ScheduleNexusOperationCommandAttributes(
        endpoint=command.endpoint,
        service=command.service,
        operation=command.operation,
        input=command.input,
        schedule_to_close_timeout=_duration(command.schedule_to_close_timeout_ns),
        schedule_to_start_timeout=_duration(command.schedule_to_start_timeout_ns),
        start_to_close_timeout=_duration(command.start_to_close_timeout_ns),
        nexus_header=command.nexus_header,
    )
    return api.Command(
        command_type=_T.COMMAND_TYPE_SCHEDULE_NEXUS_OPERATION,
        schedule_nexus_operation_command_attributes=attributes,
    )


def _cancel_nexus(command: out.CancelNexusOperation, _run: RunInfo) -> api.Command:
    return api.Command(
        command_type=_T.COMMAND_TYPE_REQUEST_CANCEL_NEXUS_OPERATION,
        request_cancel_nexus_operation_command_attributes=(
            api.RequestCancelNexusOperationCommandAttributes(
                scheduled_event_id=command.scheduled_event_id
            )
        ),
    )


def _message(command: out.SendMessage, _run: RunInfo) -> api.Command:
    return api.Command(
        command_type=_T.COMMAND_TYPE_PROTOCOL_MESSAGE,
        protocol_message_command_attributes=api.ProtocolMessageCommandAttributes(
            message_id=command.message_id
        ),
    )


def _complete(command: cmd.CompleteWorkflow, _run: RunInfo) -> api.Command:
    result = None if command.result is None else common.Payloads(payloads=[command.result])
    return api.Command(
        command_type=_T.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
        complete_workflow_execution_command_attributes=(
            api.CompleteWorkflowExecutionCommandAttributes(result=result)
        ),
    )


def _fail(command: cmd.FailWorkflow, _run: RunInfo) -> api.Command:
    return api.Command(
        command_type=_T.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION,
        fail_workflow_execution_command_attributes=api.FailWorkflowExecutionCommandAttributes(
            failure=command.failure
        ),
    )


def _cancel(command: cmd.CancelWorkflowExecution, _run: RunInfo) -> api.Command:
    return api.Command(
        command_type=_T.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION,
        cancel_workflow_execution_command_attributes=api.CancelWorkflowExecutionCommandAttributes(
            details=command.cancellation_details
        ),
    )


def _continue_as_new(command: cmd.ContinueAsNew, run: RunInfo) -> api.Command:
    behavior = enums.ContinueAsNewVersioningBehavior.ValueType(command.initial_versioning_behavior)
    attributes = api.ContinueAsNewWorkflowExecutionCommandAttributes(
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
    return api.Command(
        command_type=_T.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION,
        continue_as_new_workflow_execution_command_attributes=attributes,
    )


_BUILDERS: Final[dict[type, Callable[[Any, RunInfo], api.Command]]] = {
    cmd.StartTimer: _start_timer,
    cmd.CancelTimer: _cancel_timer,
    cmd.ScheduleActivity: _schedule_activity,
    out.CancelActivityTask: _cancel_activity,
    out.RecordMarker: _record_marker,
    cmd.UpsertSearchAttributes: _upsert,
    cmd.ModifyProperties: _modify_properties,
    cmd.StartChildWorkflow: _start_child,
    out.CancelExternal: _cancel_external,
    cmd.SignalExternal: _signal_external,
    cmd.ScheduleNexusOperation: _schedule_nexus,
    out.CancelNexusOperation: _cancel_nexus,
    out.SendMessage: _message,
    cmd.CompleteWorkflow: _complete,
    cmd.FailWorkflow: _fail,
    cmd.CancelWorkflowExecution: _cancel,
    cmd.ContinueAsNew: _continue_as_new,
}
