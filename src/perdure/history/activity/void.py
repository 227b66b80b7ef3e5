"""What was in the hands of workers that died with their engine: void, and handled as timed out at once (DESIGN 6.4).

Only an engine that lives in its workers' process can know. Activity attempts leave the decision to their retry policy;
a workflow task goes to the next worker, one that waited for the dead worker's cache goes to anyone.
The shell keeps a row of each run for which `is_held` is true, so that the next process finds them without looking
at those that sleep. Not here: stickiness of runs without a task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.history.activity.attempts import void_started
from perdure.history.draft.deadlines import WATCHES
from perdure.history.draft.draft import Draft
from perdure.history.state.run_state import DeadlineKind
from perdure.history.workflow_task.steps import schedule_workflow_task

if TYPE_CHECKING:
    from perdure.entity.env import Env
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.run_state import RunState


def is_held(state: RunState) -> bool:
    """A worker holds something of this run: `void_attempts` would change it. Asked after every change: O(1)."""
    task = state.workflow_task
    return state.started_activities > 0 or (
        task is not None and (task.started_event_id != 0 or task.is_sticky)
    )


def is_asleep(state: RunState) -> bool:
    """Nobody works for this run, and nothing of it is queued: it waits for time, for others, or for ever."""
    return state.is_running and state.workflow_task is None and not state.activities


def void_attempts(state: RunState, env: Env) -> RunTransition:
    """Time out, now, whatever a worker had or was to have; nothing when there is none of it."""
    with Draft(state, env) as draft:
        draft.postpones_workflow_task = True
        task = state.workflow_task
        if task is not None and task.started_event_id:
            WATCHES[DeadlineKind.WORKFLOW_TASK_START_TO_CLOSE].fire(draft, 0)
        elif task is not None and task.is_sticky:
            WATCHES[DeadlineKind.WORKFLOW_TASK_SCHEDULE_TO_START].fire(draft, 0)
        void_started(draft)
        draft.postpones_workflow_task = False
        if draft.owes_workflow_task:
            schedule_workflow_task(draft)
        return draft.done()
