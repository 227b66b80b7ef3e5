"""Time-outs of a whole run: the run closes, and its retry policy may let another follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.history.draft.close import close_run
from perdure.history.draft.deadlines import deadline, only
from perdure.history.run.chain import decide_run_retry, retry_run, run_timeout_failure
from perdure.history.run.deadlines import execution_expiration_ns, run_expiration_ns
from perdure.history.state.run_state import DeadlineKind
from perdure.history.workflow_task.steps import fail_if_started
from perdure.wire.api import enums, history

if TYPE_CHECKING:
    from perdure.history.draft.draft import Draft


@deadline(DeadlineKind.RUN_TIMEOUT, keys=only, due_ns=lambda state, _key: run_expiration_ns(state))
def _run_timed_out(draft: Draft, _key: int) -> None:
    cause = run_timeout_failure()
    decision = decide_run_retry(draft, cause)
    next_run_id = draft.env.new_id() if decision.again else ""
    _time_out(draft, decision.state, next_run_id)
    if decision.again:
        retry_run(draft, next_run_id, cause, decision.interval_ns)


@deadline(
    DeadlineKind.EXECUTION_TIMEOUT,
    keys=only,
    due_ns=lambda state, _key: execution_expiration_ns(state),
)
def _execution_timed_out(draft: Draft, _key: int) -> None:
    _time_out(draft, enums.RETRY_STATE_TIMEOUT)


def _time_out(draft: Draft, retry_state: enums.RetryState.ValueType, next_run_id: str = "") -> None:
    fail_if_started(draft)
    close_run(
        draft,
        history.WorkflowExecutionTimedOutEventAttributes(
            retry_state=retry_state, new_execution_run_id=next_run_id
        ),
        has_successor=bool(next_run_id),
    )
