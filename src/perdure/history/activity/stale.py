"""Whether a task that waits in a queue still means something: the question behind removing rows nobody will poll.

A poller who takes a stale task gets nothing and its row goes (`start_workflow_task`, `start_activity`). Rows in queues
that have lost their worker never meet a poller; whoever sweeps them asks here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.core.ids import QueueKind
from perdure.history.activity.close import progress_of

if TYPE_CHECKING:
    from perdure.entity.transition import Task
    from perdure.history.state.run_state import RunState


def is_stale(state: RunState, task: Task) -> bool:
    """True when no poller can start `task` any more: it was started, replaced, or its step is pending no more."""
    if task.queue.kind is QueueKind.WORKFLOW:
        pending = state.workflow_task
        return (
            pending is None
            or bool(pending.started_event_id)
            or (pending.scheduled_event_id, pending.stamp) != (task.scheduled_event_id, task.stamp)
        )
    if task.scheduled_event_id not in state.activities:
        return True
    progress = progress_of(state, task.scheduled_event_id)
    return progress.is_started or bool(progress.next_attempt_ns) or progress.stamp != task.stamp
