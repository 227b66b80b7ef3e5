"""What was in the hands of workers that died with their engine: void, and handled as timed out at once (DESIGN 6.4).

Only an engine that lives in its workers' process can know. Activity attempts leave the decision to their retry policy;
a workflow task goes to the next worker, one that waited for the dead worker's cache goes to anyone.
Not here: which runs may be concerned (the shell looks for them), stickiness of runs without a task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.history.activity import void_started
from perdure.history.deadlines import WATCHES
from perdure.history.draft import Draft
from perdure.history.state import DeadlineKind
from perdure.history.workflow_task_steps import schedule_workflow_task

if TYPE_CHECKING:
    from perdure.history.env import Env
    from perdure.history.state import RunState
    from perdure.history.transition import Transition


def void_attempts(state: RunState, env: Env) -> Transition:
    """Time out, now, whatever a worker had or was to have; nothing when there is none of it."""
    with Draft(state, env) as draft:
        if not state.is_running:
            return draft.done()
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
