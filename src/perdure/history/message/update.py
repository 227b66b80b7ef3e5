"""Updates: the request, and what workers answer to it. S-17 to S-20.

Role: `request_update` decides whether a run takes an update and makes sure that a workflow task carries it. An update
that waits for a worker is memory of the server (`server/pending/updates.py`), so transitions are told of it
(`TaskUpdates`). Workers answer with protocol messages in the completed workflow task: acceptance and response are
events, a rejection leaves none.

Invariants: an update is accepted once and completed once; only what is in history outlives a crash, and a caller whose
update is lost before acceptance asks again with the same id.
Not here: waiting (`server/frontend/updates.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.history.commands.messages import check_size, handles_message, rejected
from perdure.history.commands.table import CommandContext
from perdure.history.draft.draft import Draft, nothing
from perdure.history.draft.update_values import (
    UpdateAdmission,
    UpdateRejection,
    UpdateView,
    server_failure,
)
from perdure.history.workflow_task.phase import check_not_closing
from perdure.history.workflow_task.steps import schedule_workflow_task
from perdure.wire.api import enums, failure, history, protocol, update
from perdure.wire.errors import (
    FailedPrecondition,
    not_found,
    resource_exhausted,
    shown,
    workflow_not_ready,
)

if TYPE_CHECKING:
    from perdure.entity.env import Env
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.run_state import RunState

_NOT_READY_FROM_ATTEMPT = 3


def request_update(
    state: RunState, update_id: str, first_run_id: str, waiting: int, env: Env
) -> RunTransition:
    """A caller wants an update: let it in, and see to a workflow task; reply UpdateAdmission.

    Args:
        state: The run.
        update_id: Names the update; one that history knows is not let in again (S-19).
        first_run_id: The chain that the caller means; empty for any.
        waiting: How many other updates wait for a worker.
        env: Time, id source and limits.

    Raises:
        NotFound: The run is of another chain, or has closed and does not know the update.
        FailedPrecondition: The workflow task keeps failing, or the run has had too many updates.
        ResourceExhausted: Too many updates are under way, or the run is about to close.
    """
    if first_run_id and state.info.first_run_id != first_run_id:
        raise not_found("workflow execution not found")
    if update_id in state.updates:
        return nothing(state.key, UpdateAdmission(state.key.run_id, is_new=False))
    if not state.is_running:
        raise not_found("workflow execution already completed")
    task = state.workflow_task
    if task is not None and task.attempt >= _NOT_READY_FROM_ATTEMPT:
        raise workflow_not_ready(
            "Unable to perform workflow execution update due to Workflow Task in failed state."
        )
    limits = env.limits
    if waiting + state.open_updates >= limits.updates_in_flight_max:
        raise resource_exhausted(
            "limit on number of concurrent in-flight updates has been reached "
            f"({limits.updates_in_flight_max})",
            enums.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT,
        )
    if waiting + len(state.updates) >= limits.updates_per_run_max:
        raise FailedPrecondition(
            "limit on the total number of distinct updates in this workflow has been reached "
            f"({limits.updates_per_run_max}): let the workflow continue as new."
        )
    check_not_closing(state)
    with Draft(state, env) as draft:
        if state.workflow_task is None:
            # S-16: the reference has a speculative task here; a normal one does.
            # An update does not wait until a held back first task is due (S-37): its caller would give up.
            schedule_workflow_task(draft, despite_backoff=True)
        return draft.done(UpdateAdmission(state.key.run_id, is_new=True))


def update_view(state: RunState, update_id: str) -> UpdateView:
    known = state.updates.get(update_id)
    return UpdateView(
        is_running=state.is_running,
        is_accepted=known is not None,
        completed_event_id=known.completed_event_id if known else 0,
        last_started_event_id=state.last_started_event_id,
        last_event_id=state.next_event_id - 1,
    )


def closed_before_completion() -> failure.Failure:
    """The outcome of an accepted update whose run has closed (S-20)."""
    return server_failure(
        "Workflow Update failed because the Workflow completed before the Update completed.",
        "AcceptedUpdateCompletedWorkflow",
    )


# What workers answer.


@handles_message(update.Acceptance)
def _accept(
    draft: Draft, message: protocol.Message, attributes: update.Acceptance, context: CommandContext
) -> None:
    update_id = message.protocol_instance_id
    if update_id in draft.state.updates:
        raise rejected(message, f"update {shown(update_id)} is accepted already")
    request = context.updates.sent.get(update_id)
    if request is None:
        # The server was restarted since it sent the request: the worker's copy is as good (S-17).
        if not attributes.HasField("accepted_request"):
            raise rejected(message, f"update {shown(update_id)} is not known")
        request = attributes.accepted_request
    check_size(draft, message, request.ByteSize())
    context.answered.add(update_id)
    draft.add(
        history.WorkflowExecutionUpdateAcceptedEventAttributes(
            protocol_instance_id=update_id,
            accepted_request_message_id=attributes.accepted_request_message_id,
            accepted_request_sequencing_event_id=attributes.accepted_request_sequencing_event_id,
            accepted_request=request,
        )
    )


@handles_message(update.Rejection)
def _reject(
    _draft: Draft, message: protocol.Message, attributes: update.Rejection, context: CommandContext
) -> None:
    update_id = message.protocol_instance_id
    context.answered.add(update_id)
    context.rejections.append(UpdateRejection(update_id, attributes.failure))


@handles_message(update.Response)
def _respond(
    draft: Draft, message: protocol.Message, attributes: update.Response, _context: CommandContext
) -> None:
    update_id = message.protocol_instance_id
    known = draft.state.updates.get(update_id)
    if known is None or known.completed_event_id:
        raise rejected(
            message, f"update {shown(update_id)} is not one that was accepted and is still open"
        )
    if not attributes.HasField("outcome"):
        raise rejected(message, "outcome is not set")
    check_size(draft, message, attributes.outcome.ByteSize())
    draft.add(
        history.WorkflowExecutionUpdateCompletedEventAttributes(
            meta=attributes.meta,
            accepted_event_id=known.accepted_event_id,
            outcome=attributes.outcome,
        )
    )
