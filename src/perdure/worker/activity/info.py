"""`activity.Info` from a poll response."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from perdure.activity import Info
from perdure.common.priority import Priority
from perdure.common.retry import RetryPolicy
from perdure.wire.api import workflowservice
from perdure.wire.times import datetime_of, timedelta_of, timestamp_ns

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration


def info_of(
    task: workflowservice.PollActivityTaskQueueResponse,
    heartbeat_details: Sequence[Any],
    *,
    task_queue: str,
    namespace: str,
    is_local: bool = False,
) -> Info:
    """What `activity.info()` returns.

    Args:
        task: As polled.
        heartbeat_details: Decoded.
        task_queue: That the worker polls.
        namespace: Of the worker, for tasks that do not say.
        is_local: Whether it runs inside a workflow task.
    """
    execution = task.workflow_execution
    return Info(
        activity_id=task.activity_id,
        activity_type=task.activity_type.name,
        attempt=task.attempt,
        current_attempt_scheduled_time=datetime_of(task.current_attempt_scheduled_time),
        heartbeat_details=heartbeat_details,
        heartbeat_timeout=_span(task.heartbeat_timeout),
        is_local=is_local,
        namespace=task.workflow_namespace or namespace,
        schedule_to_close_timeout=_span(task.schedule_to_close_timeout),
        scheduled_time=datetime_of(task.scheduled_time),
        start_to_close_timeout=_span(task.start_to_close_timeout),
        started_time=datetime_of(task.started_time),
        task_queue=task_queue,
        task_token=task.task_token,
        workflow_id=execution.workflow_id or None,
        workflow_namespace=task.workflow_namespace or None,
        workflow_run_id=execution.run_id or None,
        workflow_type=task.workflow_type.name or None,
        priority=Priority.from_proto(task.priority),
        retry_policy=RetryPolicy.from_proto(task.retry_policy)
        if task.HasField("retry_policy")
        else None,
        activity_run_id=None if execution.workflow_id else task.activity_run_id or None,
        fencing_token=None if is_local else _fencing_token(task),
    )


def _fencing_token(task: workflowservice.PollActivityTaskQueueResponse) -> int | None:
    """The time at which the server started the attempt, in ns: its clock never goes back, and it starts each attempt.

    The number of the attempt decides between attempts of one moment, which a clock of tests may give.
    """
    return timestamp_ns(task.started_time) + task.attempt if task.HasField("started_time") else None


def _span(value: Duration) -> timedelta | None:
    return timedelta_of(value) or None
