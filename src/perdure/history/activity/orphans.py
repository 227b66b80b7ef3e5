"""Orphans: tasks in flight whose worker died together with the engine. They time out at once (D-34).

Only an engine that shares a process with its workers can know that they died. For an activity attempt, the retry policy
decides what follows. A started workflow task is scheduled again, and one on a dead worker's sticky queue moves to the
normal queue. The server stores a row for each run for which `has_task_in_flight` is true, so the
next process finds these runs without loading those that sleep.

Not here: the stickiness of runs without a task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from perdure.history.activity.attempts import time_out_started
from perdure.history.draft.deadlines import DEADLINE_HANDLERS
from perdure.history.draft.draft import Draft
from perdure.history.state.run_state import DeadlineKind
from perdure.history.workflow_task.phase import (
    AwaitingParent,
    FirstTaskDelayed,
    InNormalQueue,
    InStickyQueue,
    NotPending,
    Started,
    is_with_worker,
    phase_of,
)
from perdure.history.workflow_task.steps import schedule_workflow_task

if TYPE_CHECKING:
    from perdure.entity.env import Env
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.run_state import RunState


def has_task_in_flight(state: RunState) -> bool:
    """Whether a task of this run is in flight, so that `time_out_orphans` would change it. Called often, so O(1)."""
    return bool(state.started_activities) or is_with_worker(state)


def is_asleep(state: RunState) -> bool:
    """Whether no worker is working for this run and no task of it is queued: it waits only for time or other runs."""
    return state.is_running and state.workflow_task is None and not state.activities


def time_out_orphans(state: RunState, env: Env) -> RunTransition:
    """Time out now every attempt that a worker had or was about to get, if any."""
    with Draft(state, env) as draft:
        draft.postpones_workflow_task = True
        phase = phase_of(state)
        match phase:
            case Started():
                DEADLINE_HANDLERS[DeadlineKind.WORKFLOW_TASK_START_TO_CLOSE].fire(draft, 0)
            case InStickyQueue():
                DEADLINE_HANDLERS[DeadlineKind.WORKFLOW_TASK_SCHEDULE_TO_START].fire(draft, 0)
            case NotPending() | AwaitingParent() | FirstTaskDelayed() | InNormalQueue():
                pass
            case _:
                assert_never(phase)
        time_out_started(draft)
        draft.postpones_workflow_task = False
        if draft.owes_workflow_task:
            schedule_workflow_task(draft)
        return draft.done()
