"""`workflow.Info` from the start event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from perdure.common import Priority, RetryPolicy, SearchAttributePair, TypedSearchAttributes
from perdure.converter import decode_search_attributes, decode_typed_search_attributes
from perdure.wire.api import common as common_pb
from perdure.wire.api import history as history_pb
from perdure.wire.times import timedelta_of
from perdure.workflow._runtime import Info, ParentInfo, RootInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.duration_pb2 import Duration

    from perdure.replay.jobs import InitializeWorkflow
    from perdure.replay.task import RunInfo

    WorkflowExecutionStartedEventAttributes = history_pb.WorkflowExecutionStartedEventAttributes


def _utc(time_ns: int) -> datetime:
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=rest // 1000)


_Timeout = Literal["workflow_execution_timeout", "workflow_run_timeout"]


def _timeout(started: WorkflowExecutionStartedEventAttributes, field: _Timeout) -> timedelta | None:
    if not started.HasField(field):
        return None
    value: Duration = getattr(started, field)
    return timedelta_of(value)


class Start(NamedTuple):
    """What a run keeps of its first job.

    It refers to no API message, because a part of a message keeps the whole page of history in memory.
    """

    attributes: bytes
    """The attributes of the start event, encoded, without arguments and headers."""
    headers: Mapping[str, common_pb.Payload]
    workflow_id: str
    workflow_type: str
    event_time_ns: int
    first_task_ns: int

    @staticmethod
    def from_job(job: InitializeWorkflow, time_ns: int) -> Start:
        """Args: the first job, and the time of its activation."""
        attributes = history_pb.WorkflowExecutionStartedEventAttributes()
        attributes.CopyFrom(job.attributes)
        attributes.ClearField("input")
        attributes.ClearField("header")
        return Start(
            attributes.SerializeToString(),
            {
                key: common_pb.Payload.FromString(payload.SerializeToString())
                for key, payload in job.headers.items()
            },
            job.workflow_id,
            job.workflow_type,
            job.start_time_ns,
            time_ns,
        )

    def started(self) -> WorkflowExecutionStartedEventAttributes:
        """The attributes of the start event, decoded for each call."""
        return history_pb.WorkflowExecutionStartedEventAttributes.FromString(self.attributes)


def build_info(run: RunInfo, start: Start) -> Info:
    """What `workflow.info()` says for the rest of the run.

    Args:
        run: The run, and the queue that its worker polls.
        start: Its start event; the time of the first task is the workflow's `start_time`.
    """
    started = start.started()
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
        headers=dict(start.headers),
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
        start_time=_utc(start.first_task_ns),
        task_queue=run.task_queue,
        task_timeout=timedelta_of(started.workflow_task_timeout),
        typed_search_attributes=TypedSearchAttributes(pairs),
        workflow_id=start.workflow_id,
        workflow_start_time=_utc(start.event_time_ns),
        workflow_type=start.workflow_type,
    )
