"""How workflow task events change the state: at most one is pending, from Scheduled to the event that ends it.

What these events do not say is in the WORKFLOW_TASK fact, which replaces what was folded: see `WorkflowTask.stamp`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perdure.history.state.facts import WorkflowTask
from perdure.history.state.fold.evolve import evolves
from perdure.history.state.fold.marker import with_build
from perdure.history.state.run_state import ResetPoint
from perdure.wire.api import enums, history
from perdure.wire.times import duration_ns, timestamp_ns

if TYPE_CHECKING:
    from perdure.history.state.run_state import RunState

RESET_POINTS_MAX = 20
"""Of a chain of runs; the oldest ones go first."""
_STICKY = enums.TASK_QUEUE_KIND_STICKY


@evolves(enums.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED)
def _scheduled(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.workflow_task_scheduled_event_attributes
    queue = attributes.task_queue
    state.workflow_task = WorkflowTask(
        scheduled_event_id=event.event_id,
        attempt=attributes.attempt,
        queue_name=queue.name,
        is_sticky=queue.kind == _STICKY,
        scheduled_ns=timestamp_ns(event.event_time),
        start_to_close_ns=duration_ns(attributes.start_to_close_timeout),
    )


@evolves(enums.EVENT_TYPE_WORKFLOW_TASK_STARTED)
def _started(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.workflow_task_started_event_attributes
    task = state.workflow_task
    assert task is not None, f"{state.key}: a workflow task started that was not scheduled"
    state.workflow_task = msgspec.structs.replace(
        task,
        started_event_id=event.event_id,
        started_ns=timestamp_ns(event.event_time),
        request_id=attributes.request_id,
        identity=attributes.identity,
        build_id=attributes.worker_version.build_id,
    )


@evolves(enums.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
def _completed(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.workflow_task_completed_event_attributes
    state.workflow_task = None
    state.last_started_event_id = attributes.started_event_id
    state.completed_workflow_tasks += 1
    checksum = attributes.binary_checksum
    version = attributes.worker_version
    state.build_id = version.build_id
    if state.build_id:
        state.search_attributes = with_build(
            state.search_attributes, state.build_id, is_versioned=version.use_versioning
        )
    build_id = "" if state.build_id == checksum else state.build_id
    if not any((p.build_id, p.binary_checksum) == (build_id, checksum) for p in state.reset_points):
        point = ResetPoint(
            state.key.run_id, event.event_id, timestamp_ns(event.event_time), build_id, checksum
        )
        state.reset_points = (*state.reset_points, point)[-RESET_POINTS_MAX:]


@evolves(enums.EVENT_TYPE_WORKFLOW_TASK_FAILED)
@evolves(enums.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT)
def _not_completed(state: RunState, _event: history.HistoryEvent) -> None:
    state.workflow_task = None
