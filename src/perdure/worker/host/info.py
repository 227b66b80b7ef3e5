"""`workflow.Info` from the start event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from perdure.common import Priority, RetryPolicy, SearchAttributePair, TypedSearchAttributes
from perdure.converter import decode_search_attributes, decode_typed_search_attributes
from perdure.workflow._info import Info, ParentInfo, RootInfo

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

    from perdure.replay.jobs import Activation, InitializeWorkflow
    from perdure.replay.task import RunInfo
    from perdure.wire.api import history as history_pb

    WorkflowExecutionStartedEventAttributes = history_pb.WorkflowExecutionStartedEventAttributes


def _utc(time_ns: int) -> datetime:
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=rest // 1000)


_Timeout = Literal["workflow_execution_timeout", "workflow_run_timeout"]


def _timeout(started: WorkflowExecutionStartedEventAttributes, field: _Timeout) -> timedelta | None:
    if not started.HasField(field):
        return None
    value: Duration = getattr(started, field)
    return value.ToTimedelta()


def build_info(run: RunInfo, activation: Activation, job: InitializeWorkflow) -> Info:
    """What `workflow.info()` says for the rest of the run.

    Args:
        run: The run, and the queue that its worker polls.
        activation: The first activation; its time is the workflow's `start_time`.
        job: Its first job, with the start event's attributes.
    """
    started = job.attributes
    parent = None
    if started.HasField("parent_workflow_execution"):
        parent = ParentInfo(
            namespace=started.parent_workflow_namespace,
            run_id=started.parent_workflow_execution.run_id,
            workflow_id=started.parent_workflow_execution.workflow_id,
        )
    root = None
    if started.HasField("root_workflow_execution"):
        root = RootInfo(
            run_id=started.root_workflow_execution.run_id,
            workflow_id=started.root_workflow_execution.workflow_id,
        )
    typed = decode_typed_search_attributes(started.search_attributes)
    pairs: list[SearchAttributePair[Any]] = list(typed.search_attributes)
    return Info(
        attempt=started.attempt,
        continued_run_id=started.continued_execution_run_id or None,
        cron_schedule=started.cron_schedule or None,
        execution_timeout=_timeout(started, "workflow_execution_timeout"),
        first_execution_run_id=started.first_execution_run_id,
        headers=dict(job.headers),
        namespace=run.namespace,
        original_execution_run_id=started.original_execution_run_id or run.run_id,
        parent=parent,
        root=root,
        priority=Priority.from_proto(started.priority),
        raw_memo={key: started.memo.fields[key] for key in sorted(started.memo.fields)},
        retry_policy=RetryPolicy.from_proto(started.retry_policy)
        if started.HasField("retry_policy")
        else None,
        run_id=run.run_id,
        run_timeout=_timeout(started, "workflow_run_timeout"),
        search_attributes=dict(decode_search_attributes(started.search_attributes)),
        start_time=_utc(activation.time_ns),
        task_queue=run.task_queue,
        task_timeout=started.workflow_task_timeout.ToTimedelta(),
        typed_search_attributes=TypedSearchAttributes(pairs),
        workflow_id=job.workflow_id,
        workflow_start_time=_utc(job.start_time_ns),
        workflow_type=job.workflow_type,
    )
