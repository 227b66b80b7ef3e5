"""DescribeWorkflowExecution, from the state alone (S-35 for activities)."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from google.protobuf.timestamp_pb2 import Timestamp

from perdure.history.activity.phase import attempt_scheduled_ns, progress_of, shown
from perdure.history.activity.retry import expiration_ns
from perdure.history.draft.visible import memo_of, reset_points_of, search_attributes_of
from perdure.history.message.cancel import is_cancel_requested
from perdure.history.run.deadlines import execution_expiration_ns, run_expiration_ns
from perdure.history.workflow_task import phase as workflow_task
from perdure.wire.api import activity as activity_api
from perdure.wire.api import (
    common,
    enums,
    failure,
    history,
    sdk,
    taskqueue,
    workflow,
    workflowservice,
)
from perdure.wire.times import duration, duration_or_none, timestamp, timestamp_or_none

if TYPE_CHECKING:
    from perdure.core.ids import EntityKey
    from perdure.entity.env import Env
    from perdure.history.state.run_state import Activity, RunState

_Response = workflowservice.DescribeWorkflowExecutionResponse
_YEAR_1_SECONDS = -62_135_596_800


def describe(state: RunState, env: Env) -> _Response:
    """What the run is, how it stands, and what it waits for."""
    info = state.info
    metadata = sdk.UserMetadata.FromString(info.user_metadata) if info.user_metadata else None
    return _Response(
        execution_config=workflow.WorkflowExecutionConfig(
            task_queue=taskqueue.TaskQueue(name=info.task_queue, kind=enums.TASK_QUEUE_KIND_NORMAL),
            workflow_execution_timeout=duration_or_none(info.execution_timeout_ns),
            workflow_run_timeout=duration_or_none(info.run_timeout_ns),
            default_workflow_task_timeout=duration(info.workflow_task_timeout_ns),
            user_metadata=metadata,
        ),
        workflow_execution_info=execution_info(state),
        pending_activities=[
            _activity(state, activity, env) for _, activity in sorted(state.activities.items())
        ],
        pending_children=_children(state),
        pending_workflow_task=_workflow_task(state),
        workflow_extended_info=workflow.WorkflowExecutionExtendedInfo(
            execution_expiration_time=timestamp_or_none(execution_expiration_ns(state)),
            run_expiration_time=_run_expiration(state),
            cancel_requested=is_cancel_requested(state),
            original_start_time=timestamp(info.start_ns),
            request_id_infos=_request_ids(state),
        ),
    )


def _run_expiration(state: RunState) -> Timestamp:
    """When the run times out; year 1, as on the reference server, for a run that never does."""
    at_ns = run_expiration_ns(state)
    return timestamp(at_ns) if at_ns else Timestamp(seconds=_YEAR_1_SECONDS)


def execution_info(state: RunState) -> workflow.WorkflowExecutionInfo:
    """The part that lists show as well."""
    info, key = state.info, state.key
    execution_ns = info.start_ns + info.first_task_backoff_ns
    result = workflow.WorkflowExecutionInfo(
        execution=_execution(key),
        type=common.WorkflowType(name=info.workflow_type),
        start_time=timestamp(info.start_ns),
        execution_time=timestamp(execution_ns),
        close_time=timestamp_or_none(state.close_ns),
        status=enums.WorkflowExecutionStatus.ValueType(state.status),
        history_length=state.next_event_id - 1,
        history_size_bytes=state.history_size_bytes,
        memo=memo_of(state),
        search_attributes=search_attributes_of(state),
        task_queue=info.task_queue,
        first_run_id=info.first_run_id,
        root_execution=common.WorkflowExecution(
            workflow_id=info.root_workflow_id, run_id=info.root_run_id
        ),
        priority=common.Priority.FromString(info.priority) if info.priority else None,
    )
    result.auto_reset_points.CopyFrom(reset_points_of(state.reset_points))
    if state.build_id:
        result.most_recent_worker_version_stamp.build_id = state.build_id
    if state.close_ns:
        result.execution_duration.CopyFrom(duration(max(0, state.close_ns - execution_ns)))
    if info.parent is not None:
        result.parent_namespace_id = info.parent.namespace_id
        result.parent_execution.CopyFrom(_execution(info.parent))
    return result


def _execution(key: EntityKey) -> common.WorkflowExecution:
    return common.WorkflowExecution(workflow_id=key.name, run_id=key.run_id)


def _children(state: RunState) -> list[workflow.PendingChildExecutionInfo]:
    if not state.is_running:
        return []
    return [
        workflow.PendingChildExecutionInfo(
            workflow_id=child.workflow_id,
            run_id=child.run_id,
            workflow_type_name=child.workflow_type,
            initiated_id=child.initiated_event_id,
            parent_close_policy=enums.ParentClosePolicy.ValueType(child.parent_close_policy),
        )
        for _, child in sorted(state.children.items())
    ]


def _workflow_task(state: RunState) -> workflow.PendingWorkflowTaskInfo | None:
    phase = workflow_task.phase_of(state)
    match phase:
        case workflow_task.InNormalQueue(task) | workflow_task.InStickyQueue(task):
            shown = enums.PENDING_WORKFLOW_TASK_STATE_SCHEDULED
        case workflow_task.Started(task):
            shown = enums.PENDING_WORKFLOW_TASK_STATE_STARTED
        case (
            workflow_task.NotPending()
            | workflow_task.AwaitingParent()
            | workflow_task.FirstTaskDelayed()
        ):
            return None
        case _:
            assert_never(phase)
    return workflow.PendingWorkflowTaskInfo(
        state=shown,
        scheduled_time=timestamp(task.scheduled_ns),
        original_scheduled_time=timestamp(task.original_scheduled_ns or task.scheduled_ns),
        started_time=timestamp_or_none(task.started_ns),
        attempt=task.attempt,
    )


def _activity(state: RunState, activity: Activity, env: Env) -> workflow.PendingActivityInfo:
    progress = progress_of(state, activity.scheduled_event_id)
    scheduled = history.ActivityTaskScheduledEventAttributes.FromString(activity.attributes)
    result = workflow.PendingActivityInfo(
        activity_id=activity.activity_id,
        activity_type=common.ActivityType(name=activity.activity_type),
        attempt=progress.attempt,
        scheduled_time=timestamp(attempt_scheduled_ns(activity, progress)),
        last_started_time=timestamp_or_none(progress.started_ns),
        last_heartbeat_time=timestamp_or_none(progress.last_heartbeat_ns),
        last_attempt_complete_time=timestamp_or_none(progress.last_attempt_complete_ns),
        last_worker_identity=progress.started_identity or progress.last_worker_identity,
        priority=scheduled.priority if scheduled.HasField("priority") else None,
        activity_options=_options(scheduled),
    )
    if progress.heartbeat_details:
        result.heartbeat_details.ParseFromString(progress.heartbeat_details)
    if progress.last_failure:
        result.last_failure.CopyFrom(failure.Failure.FromString(progress.last_failure))
    result.MergeFrom(shown(state, activity, env.now_ns))
    if activity.retry_policy is not None:
        result.maximum_attempts = activity.retry_policy.maximum_attempts
        if expires_ns := expiration_ns(activity):
            result.expiration_time.CopyFrom(timestamp(expires_ns))
    return result


def _options(
    scheduled: history.ActivityTaskScheduledEventAttributes,
) -> activity_api.ActivityOptions:
    return activity_api.ActivityOptions(
        task_queue=scheduled.task_queue,
        schedule_to_close_timeout=scheduled.schedule_to_close_timeout,
        schedule_to_start_timeout=scheduled.schedule_to_start_timeout,
        start_to_close_timeout=scheduled.start_to_close_timeout,
        heartbeat_timeout=scheduled.heartbeat_timeout,
        retry_policy=scheduled.retry_policy if scheduled.HasField("retry_policy") else None,
        priority=scheduled.priority if scheduled.HasField("priority") else None,
    )


def _request_ids(state: RunState) -> dict[str, workflow.RequestIdInfo]:
    """Which event each known request caused; links of other systems point at them."""
    result = {
        request_id: workflow.RequestIdInfo(
            event_type=enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, event_id=event_id
        )
        for request_id, event_id in state.request_ids.items()
    }
    if state.create_request_id:
        result[state.create_request_id] = workflow.RequestIdInfo(
            event_type=enums.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, event_id=1
        )
    return result
