"""Failures that the engine builds for user code, in the official shape.

Invariants: message strings are those of the official SDKs, users match on them; the cause of an
activity's or child's failure is the one the server recorded.

What is not here: turning failures into exceptions (`perdure.converter`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from perdure.wire.api import common, enums
from perdure.wire.api import failure as api

if TYPE_CHECKING:
    from perdure.replay import commands as cmd
    from perdure.wire.api import history


class Activity(Protocol):
    """What a failure says about its activity."""

    @property
    def command(self) -> cmd.ScheduleActivity | cmd.ScheduleLocalActivity: ...
    @property
    def activity_id(self) -> str: ...


class ChildWorkflow(Protocol):
    """What a failure says about its child workflow."""

    run_id: str
    initiated_event_id: int
    started_event_id: int

    @property
    def command(self) -> cmd.StartChildWorkflow: ...


class NexusOperation(Protocol):
    """What a failure says about its nexus operation."""

    scheduled_event_id: int
    operation_token: str

    @property
    def command(self) -> cmd.ScheduleNexusOperation: ...


_RetryState = enums.RetryState


def canceled(details: common.Payloads | None = None) -> api.Failure:
    """A bare cancellation, used as a cause."""
    return api.Failure(canceled_failure_info=api.CanceledFailureInfo(details=details))


def _activity_info(
    activity: Activity,
    *,
    identity: str,
    retry_state: enums.RetryState.ValueType,
    started_event_id: int,
    scheduled_event_id: int,
) -> api.ActivityFailureInfo:
    return api.ActivityFailureInfo(
        identity=identity,
        activity_type=common.ActivityType(name=activity.command.activity_type),
        activity_id=activity.activity_id,
        retry_state=retry_state,
        started_event_id=started_event_id,
        scheduled_event_id=scheduled_event_id,
    )


def activity_failed(
    activity: Activity, event: history.ActivityTaskFailedEventAttributes
) -> api.Failure:
    """An activity that failed for good."""
    return api.Failure(
        message="Activity task failed",
        cause=event.failure if event.HasField("failure") else None,
        activity_failure_info=_activity_info(
            activity,
            identity=event.identity,
            retry_state=event.retry_state,
            started_event_id=event.started_event_id,
            scheduled_event_id=event.scheduled_event_id,
        ),
    )


def activity_timed_out(
    activity: Activity, event: history.ActivityTaskTimedOutEventAttributes
) -> api.Failure:
    """An activity that timed out for good."""
    return api.Failure(
        message="Activity task timed out",
        cause=event.failure if event.HasField("failure") else None,
        activity_failure_info=_activity_info(
            activity,
            identity="",
            retry_state=event.retry_state,
            started_event_id=event.started_event_id,
            scheduled_event_id=event.scheduled_event_id,
        ),
    )


def activity_cancelled(
    activity: Activity, event: history.ActivityTaskCanceledEventAttributes | None = None
) -> api.Failure:
    """A cancelled activity; without an event when the workflow did not wait for the server's answer."""
    details = event.details if event is not None and event.HasField("details") else None
    return api.Failure(
        message="Activity cancelled",
        cause=canceled(details),
        activity_failure_info=_activity_info(
            activity,
            identity=event.identity if event else "",
            retry_state=_RetryState.RETRY_STATE_CANCEL_REQUESTED,
            started_event_id=event.started_event_id if event else 0,
            scheduled_event_id=event.scheduled_event_id if event else 0,
        ),
    )


def local_activity_wrapped(activity: Activity, failure: api.Failure) -> api.Failure:
    """Cancellations and time-outs of a local activity, seen as an activity's; others as they are."""
    if failure.HasField("canceled_failure_info"):
        message = "Local Activity cancelled"
    elif failure.HasField("timeout_failure_info"):
        message = "Local Activity timed out"
    else:
        return failure
    return api.Failure(
        message=message,
        cause=failure,
        activity_failure_info=_activity_info(
            activity,
            identity="",
            retry_state=_RetryState.RETRY_STATE_CANCEL_REQUESTED,
            started_event_id=0,
            scheduled_event_id=0,
        ),
    )


def child_failure(
    child: ChildWorkflow,
    message: str,
    cause: api.Failure | None,
    retry_state: enums.RetryState.ValueType = _RetryState.RETRY_STATE_NON_RETRYABLE_FAILURE,
) -> api.Failure:
    """A child workflow that did not complete."""
    command = child.command
    return api.Failure(
        message=message,
        cause=cause,
        child_workflow_execution_failure_info=api.ChildWorkflowExecutionFailureInfo(
            namespace=command.namespace,
            workflow_execution=common.WorkflowExecution(
                workflow_id=command.workflow_id, run_id=child.run_id
            ),
            workflow_type=common.WorkflowType(name=command.workflow_type),
            initiated_event_id=child.initiated_event_id,
            started_event_id=child.started_event_id,
            retry_state=retry_state,
        ),
    )


def nexus_failure(operation: NexusOperation, message: str, cause: api.Failure) -> api.Failure:
    """A nexus operation that ended because of its cancellation."""
    command = operation.command
    return api.Failure(
        message=message,
        cause=cause,
        nexus_operation_execution_failure_info=api.NexusOperationFailureInfo(
            scheduled_event_id=operation.scheduled_event_id,
            endpoint=command.endpoint,
            service=command.service,
            operation=command.operation,
            operation_token=operation.operation_token,
        ),
    )


def timed_out() -> api.Failure:
    """The cause of a child's time-out."""
    return api.Failure(
        message="Timed out",
        timeout_failure_info=api.TimeoutFailureInfo(
            timeout_type=enums.TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE
        ),
    )


def terminated() -> api.Failure:
    """The cause of a child's termination."""
    return api.Failure(message="Terminated", terminated_failure_info=api.TerminatedFailureInfo())


def application(message: str, type_name: str) -> api.Failure:
    """A failure without a type of its own."""
    return api.Failure(
        message=message, application_failure_info=api.ApplicationFailureInfo(type=type_name)
    )
