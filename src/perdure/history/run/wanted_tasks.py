"""Which tasks a run wants in queues: the one answer behind stale checks, row sweeps, the audit and time skipping.

A poller who takes a row that is not wanted gets nothing, and the row goes (`start_workflow_task`, `start_activity`).
Rows in queues that have lost their worker never meet a poller; the sweep removes them when `is_stale` says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.core.ids import QueueKind
from perdure.history.activity import phase as activity_phase
from perdure.history.workflow_task import phase as workflow_task_phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perdure.entity.transition import Task, WantedTask
    from perdure.history.state.run_state import RunState


def wanted_tasks(state: RunState) -> Iterator[WantedTask]:
    """The tasks that no worker has yet and that one may take now."""
    task = workflow_task_phase.wanted_task(state)
    if task is not None:
        yield task
    for activity in state.activities.values():
        task = activity_phase.wanted_task(state, activity)
        if task is not None:
            yield task


def is_stale(state: RunState, task: Task) -> bool:
    """True when no poller can start `task` any more: it was started, replaced, or its step is pending no more."""
    if task.queue.kind is QueueKind.WORKFLOW:
        wanted = workflow_task_phase.wanted_task(state)
    else:
        activity = state.activities.get(task.scheduled_event_id)
        wanted = None if activity is None else activity_phase.wanted_task(state, activity)
    return wanted is None or (wanted.scheduled_event_id, wanted.stamp) != (
        task.scheduled_event_id,
        task.stamp,
    )
