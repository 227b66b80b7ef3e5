"""The request to cancel a run. S-24 and S-37."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.history.draft.draft import Draft, nothing
from perdure.history.state.facts import CancelRequestFact, FactKind
from perdure.history.workflow_task.steps import schedule_workflow_task
from perdure.wire.api import enums, history, workflowservice
from perdure.wire.errors import not_found
from perdure.wire.events import execution_of

if TYPE_CHECKING:
    from perdure.core.ids import EntityKey
    from perdure.entity.env import Env
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.run_state import RunState

Request = workflowservice.RequestCancelWorkflowExecutionRequest
Response = workflowservice.RequestCancelWorkflowExecutionResponse


def request_cancel(
    state: RunState,
    request: Request,
    env: Env,
    *,
    sender: EntityKey | None = None,
    sender_event_id: int = 0,
    child_only: bool = False,
) -> RunTransition:
    """Ask the workflow to cancel itself. A repeat changes nothing, and so does asking a closed run (S-24).

    Args:
        state: The run.
        request: The caller's identity and the reason.
        env: Time, id source and limits.
        sender: The run that asks, when a workflow does.
        sender_event_id: The event with which it did.
        child_only: It is meant for a child of the sender.

    Raises:
        NotFound: The run is not of the chain that `first_execution_run_id` names, or no child of the sender.
    """
    if not state.is_running:
        return nothing(state.key, Response())
    first_run_id = request.first_execution_run_id
    if first_run_id and first_run_id != state.info.first_run_id:
        raise not_found("workflow execution not found")
    if child_only and state.info.parent != sender:
        raise not_found("workflow parent does not match")
    if is_cancel_requested(state):
        return nothing(state.key, Response())
    with Draft(state, env) as draft:
        if request.request_id:
            draft.fact(FactKind.CANCEL_REQUEST, "", CancelRequestFact(request.request_id))
        draft.buffer_or_add(
            history.WorkflowExecutionCancelRequestedEventAttributes(
                cause=request.reason,
                identity=request.identity,
                external_initiated_event_id=sender_event_id,
                external_workflow_execution=sender and execution_of(sender),
            ),
            links=request.links,
        )
        # S-37: unlike a signal, the request does not wait for a delayed first task.
        schedule_workflow_task(draft, despite_backoff=True)
        return draft.done(Response())


def is_cancel_requested(state: RunState) -> bool:
    """True also while the request waits in the buffer."""
    if state.cancel_requested_event_id:
        return True
    return state.buffered.count(enums.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED) > 0
