"""Time-outs of a whole run, and its delayed first workflow task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.history.close import close_run
from perdure.history.deadlines import arm, deadline, only
from perdure.history.state import DeadlineKind
from perdure.history.workflow_task_steps import (
    awaits_first_task,
    fail_if_started,
    schedule_workflow_task,
)
from perdure.wire.api import enums, history

if TYPE_CHECKING:
    from perdure.history.draft import Draft
    from perdure.history.state import RunState


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
    if not awaits_first_task(state):
        return 0
    return state.info.start_ns + state.info.first_task_backoff_ns


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


@deadline(DeadlineKind.RUN_TIMEOUT, keys=only, due_ns=lambda state, _key: run_expiration_ns(state))
def _run_timed_out(draft: Draft, _key: int) -> None:
    _time_out(draft, enums.RETRY_STATE_RETRY_POLICY_NOT_SET)


@deadline(
    DeadlineKind.EXECUTION_TIMEOUT,
    keys=only,
    due_ns=lambda state, _key: execution_expiration_ns(state),
)
def _execution_timed_out(draft: Draft, _key: int) -> None:
    _time_out(draft, enums.RETRY_STATE_TIMEOUT)


@deadline(DeadlineKind.FIRST_TASK, keys=only, due_ns=_first_task_due_ns)
def _first_task(draft: Draft, _key: int) -> None:
    schedule_workflow_task(draft, despite_backoff=True)


def _time_out(draft: Draft, retry_state: enums.RetryState.ValueType) -> None:
    fail_if_started(draft)
    close_run(draft, history.WorkflowExecutionTimedOutEventAttributes(retry_state=retry_state))
