"""A task that waits for a sticky worker which is not there: anyone may have it (rule 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.history.draft.draft import Draft
from perdure.history.workflow_task.steps import clear_sticky, offer_on_normal_queue

if TYPE_CHECKING:
    from perdure.core.ids import TaskRowId
    from perdure.entity.env import Env
    from perdure.entity.transition import Task
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.run_state import RunState


def unstick(state: RunState, task: Task, row: TaskRowId, env: Env) -> RunTransition:
    """Nobody polls the queue of `task`: if it is a sticky one, its row goes, and the run's own queue gets the task."""
    pending = state.workflow_task
    with Draft(state, env) as draft:
        if (
            state.is_running
            and pending is not None
            and pending.is_sticky
            and not pending.started_event_id
            and (pending.scheduled_event_id, pending.stamp) == (task.scheduled_event_id, task.stamp)
        ):
            draft.finish_task(row)
            clear_sticky(draft)
            offer_on_normal_queue(draft)
        return draft.done()
