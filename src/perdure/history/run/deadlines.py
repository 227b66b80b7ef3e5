"""The deadlines that a run has from its start, and its delayed first workflow task."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from perdure.history.draft.deadlines import arm, deadline, only
from perdure.history.state.run_state import DeadlineKind
from perdure.history.workflow_task.phase import (
    AwaitingParent,
    FirstTaskDelayed,
    InNormalQueue,
    InStickyQueue,
    NotPending,
    Started,
    phase_of,
)
from perdure.history.workflow_task.steps import schedule_workflow_task

if TYPE_CHECKING:
    from perdure.history.draft.draft import Draft
    from perdure.history.state.run_state import RunState


def run_expiration_ns(state: RunState) -> int:
    """When this run times out, 0 for never: its time starts with its first workflow task."""
    info = state.info
    if not info.run_timeout_ns:
        return 0
    return info.start_ns + info.first_task_backoff_ns + info.run_timeout_ns


def execution_expiration_ns(state: RunState) -> int:
    """When the chain of runs times out, 0 for never."""
    return state.info.execution_expiration_ns


def _first_task_due_ns(state: RunState, _key: int) -> int:
    phase = phase_of(state)
    match phase:
        case FirstTaskDelayed(until_ns):
            return until_ns
        case NotPending() | AwaitingParent() | InNormalQueue() | InStickyQueue() | Started():
            return 0
        case _:
            assert_never(phase)


def arm_run(draft: Draft) -> None:
    """The deadlines of a run that has just started."""
    state = draft.state
    for kind, at_ns in (
        (DeadlineKind.RUN_TIMEOUT, run_expiration_ns(state)),
        (DeadlineKind.EXECUTION_TIMEOUT, execution_expiration_ns(state)),
        (DeadlineKind.FIRST_TASK, _first_task_due_ns(state, 0)),
    ):
        if at_ns:
            arm(draft, kind, at_ns)


@deadline(DeadlineKind.FIRST_TASK, keys=only, due_ns=_first_task_due_ns)
def _first_task(draft: Draft, _key: int) -> None:
    schedule_workflow_task(draft, despite_backoff=True)
