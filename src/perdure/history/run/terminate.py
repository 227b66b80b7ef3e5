"""Terminating a run at once, without asking the workflow: for a caller, or because its history is too large."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.history.draft.close import close_run
from perdure.history.draft.deadlines import deadline, only
from perdure.history.draft.draft import Draft
from perdure.history.state.run_state import DeadlineKind
from perdure.history.workflow_task.steps import fail_if_started, terminate_by_server
from perdure.wire.api import history, workflowservice
from perdure.wire.errors import not_found

if TYPE_CHECKING:
    from perdure.entity.env import Env
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.run_state import RunState

_Request = workflowservice.TerminateWorkflowExecutionRequest


def terminate(state: RunState, request: _Request, env: Env) -> RunTransition:
    """End the run with WorkflowExecutionTerminated; a started workflow task is failed before.

    Raises:
        NotFound: The run is closed (S-24), or not of the chain that `first_execution_run_id` names.
    """
    if not state.is_running:
        raise not_found("workflow execution already completed")
    check_chain(state, request.first_execution_run_id)
    with Draft(state, env) as draft:
        fail_if_started(draft)
        close_run(
            draft,
            history.WorkflowExecutionTerminatedEventAttributes(
                reason=request.reason,
                details=request.details if request.HasField("details") else None,
                identity=request.identity,
            ),
            links=request.links,
        )
        return draft.done(workflowservice.TerminateWorkflowExecutionResponse())


def check_chain(state: RunState, first_run_id: str) -> None:
    """NotFound when the caller means another chain of runs than the one that this run belongs to."""
    if first_run_id and state.info.first_run_id != first_run_id:
        raise not_found("workflow execution not found")


@deadline(DeadlineKind.HISTORY_LIMIT, keys=only, due_ns=lambda state, _key: state.history_limit_ns)
def _history_limit_passed(draft: Draft, _key: int) -> None:
    fail_if_started(draft)
    terminate_by_server(draft, draft.state.passed_history_limit(draft.env.limits))
