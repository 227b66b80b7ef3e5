"""How the first and the last event of a run change its state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.core.ids import run_key
from perdure.history.state.fold.activity import retry_policy_of
from perdure.history.state.fold.evolve import evolves
from perdure.history.state.fold.marker import payload_map
from perdure.history.state.run_state import ResetPoint, RunInfo, RunStatus
from perdure.wire.api import enums, history
from perdure.wire.times import duration_ns, timestamp_ns

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.history.state.run_state import RunState


@evolves(enums.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
def _started(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.workflow_execution_started_event_attributes
    parent = None
    if attributes.HasField("parent_workflow_execution"):
        execution = attributes.parent_workflow_execution
        parent = run_key(
            attributes.parent_workflow_namespace_id, execution.workflow_id, execution.run_id
        )
    info = RunInfo(
        workflow_type=attributes.workflow_type.name,
        task_queue=attributes.task_queue.name,
        first_run_id=attributes.first_execution_run_id,
        continued_run_id=attributes.continued_execution_run_id,
        attempt=attributes.attempt,
        cron_schedule=attributes.cron_schedule,
        retry_policy=retry_policy_of(attributes.retry_policy)
        if attributes.HasField("retry_policy")
        else None,
        execution_timeout_ns=duration_ns(attributes.workflow_execution_timeout),
        run_timeout_ns=duration_ns(attributes.workflow_run_timeout),
        workflow_task_timeout_ns=duration_ns(attributes.workflow_task_timeout),
        start_ns=timestamp_ns(event.event_time),
        execution_expiration_ns=timestamp_ns(attributes.workflow_execution_expiration_time),
        first_task_backoff_ns=duration_ns(attributes.first_workflow_task_backoff),
        identity=attributes.identity,
        parent=parent,
        parent_namespace=attributes.parent_workflow_namespace,
        parent_initiated_event_id=attributes.parent_initiated_event_id,
        # A run without a parent is its own root, and its event does not say so.
        root_workflow_id=attributes.root_workflow_execution.workflow_id or state.key.name,
        root_run_id=attributes.root_workflow_execution.run_id or state.key.run_id,
        priority=attributes.priority.SerializeToString(),
        eager_execution_accepted=attributes.eager_execution_accepted,
        # Deterministic: a load must fold to the same bytes, whatever the order of maps in memory.
        user_metadata=event.user_metadata.SerializeToString(deterministic=True),
        started_attributes=(
            attributes.SerializeToString(deterministic=True)
            if attributes.HasField("retry_policy")
            else b""
        ),
    )
    state.status = RunStatus.RUNNING
    state.info = info
    state.reset_points = tuple(
        ResetPoint(
            point.run_id,
            point.first_workflow_task_completed_id,
            timestamp_ns(point.create_time),
            point.build_id,
            point.binary_checksum,
            timestamp_ns(point.expire_time),
        )
        for point in attributes.prev_auto_reset_points.points
    )
    state.memo = payload_map(attributes.memo.fields)
    state.search_attributes = payload_map(attributes.search_attributes.indexed_fields)


def _closes(status: RunStatus) -> Callable[[RunState, history.HistoryEvent], None]:
    def close(state: RunState, event: history.HistoryEvent) -> None:
        state.status = status
        state.close_event_id = event.event_id
        state.close_ns = timestamp_ns(event.event_time)
        state.workflow_task = None
        # Nothing of a closed run is pending: its closing event says so, no event of their own does.
        for key in tuple(state.activities):
            state.drop_activity(key)
        for key in tuple(state.timers_by_event):
            state.drop_timer(key)
        for key, child in tuple(state.children.items()):
            if not child.started_event_id:
                state.children.remove(key)

    return close


evolves(enums.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED)(_closes(RunStatus.COMPLETED))
evolves(enums.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED)(_closes(RunStatus.FAILED))
evolves(enums.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED)(_closes(RunStatus.CANCELED))
evolves(enums.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED)(_closes(RunStatus.TERMINATED))
evolves(enums.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW)(_closes(RunStatus.CONTINUED_AS_NEW))
evolves(enums.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT)(_closes(RunStatus.TIMED_OUT))
