"""Updates: the request, and what workers answer to it. Rules 17 to 20.

Role: `request_update` decides whether a run takes an update and makes sure that a workflow task carries it. What waits
for a worker is memory of the shell (`server/updates.py`), so the transitions are told of it (`TaskUpdates`). Answers
come as protocol messages with the completed workflow task: acceptance and response are events, a rejection leaves none.

Invariants: an update is accepted once and completed once; only what is in history outlives a crash, and a caller whose
update is lost before acceptance asks again with the same id.
Not here: waiting (`server/frontend/updates.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from perdure.history.command_checks import CommandChecks
from perdure.history.commands import Cause, Command, CommandContext, CommandRejected, handles
from perdure.history.draft import Draft, nothing
from perdure.history.phases import check_not_closing
from perdure.history.update_words import UpdateAdmission, UpdateRejection, UpdateView
from perdure.history.workflow_task_steps import schedule_workflow_task
from perdure.wire.api import command as commands_api
from perdure.wire.api import enums, failure, history, protocol, update
from perdure.wire.errors import (
    FailedPrecondition,
    not_found,
    resource_exhausted,
    workflow_not_ready,
)

if TYPE_CHECKING:
    from perdure.history.env import Env
    from perdure.history.state import RunState
    from perdure.history.transition import Transition

_BAD_MESSAGE = Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE
_NOT_READY_FROM_ATTEMPT = 3


def request_update(
    state: RunState, update_id: str, first_run_id: str, waiting: int, env: Env
) -> Transition:
    """A caller wants an update: let it in, and see to a workflow task; reply UpdateAdmission.

    Args:
        state: The run.
        update_id: Names the update; one that history knows is not let in again (rule 19).
        first_run_id: The chain that the caller means; empty for any.
        waiting: How many other updates wait for a worker.
        env: The world.

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
            # Rule 16 has a speculative task here, which vanishes when all it carried is rejected; a normal one does.
            schedule_workflow_task(draft)
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
    """The outcome of an accepted update whose run has closed (rule 20)."""
    return _server_failure(
        "Workflow Update failed because the Workflow completed before the Update completed.",
        "AcceptedUpdateCompletedWorkflow",
    )


def _server_failure(message: str, kind: str) -> failure.Failure:
    info = failure.ApplicationFailureInfo(type=kind, non_retryable=True)
    return failure.Failure(message=message, source="Server", application_failure_info=info)


# What workers answer.


@handles(enums.COMMAND_TYPE_PROTOCOL_MESSAGE)
def _message(
    draft: Draft,
    asked: commands_api.ProtocolMessageCommandAttributes,
    command: Command,
    context: CommandContext,
) -> None:
    """Rule 17: the command says where among the others a message belongs."""
    check = CommandChecks(command, _BAD_MESSAGE, draft.env.limits)
    check.id(asked.message_id, "message id")
    message = context.messages.pop(asked.message_id, None)
    if message is None:
        raise check.reject(f"no message has the id {asked.message_id}.")
    _apply(draft, message, context)


def apply_messages(draft: Draft, context: CommandContext) -> None:
    """The messages that no command mentioned, after all commands (rule 17)."""
    for message in context.messages.values():
        if not draft.state.is_running:
            return
        _apply(draft, message, context)


def reject_unanswered(context: CommandContext) -> None:
    """Rule 17: what the worker got and said nothing about, it does not support."""
    unanswered = _server_failure(
        "Workflow Update is rejected because it wasn't processed by worker. "
        "Probably, Workflow Update is not supported by the worker.",
        "UnprocessedUpdate",
    )
    for update_id in context.updates.sent:
        if update_id not in context.answered:
            context.rejections.append(UpdateRejection(update_id, unanswered))


def _apply(draft: Draft, message: protocol.Message, context: CommandContext) -> None:
    update_id = message.protocol_instance_id
    if not update_id:
        raise _bad(message, "protocol_instance_id is not set")
    for kind, handle in _BODIES.items():
        if message.body.Is(kind.DESCRIPTOR):
            body = kind()
            try:
                message.body.Unpack(body)
            except DecodeError:
                raise _bad(message, "its body can not be read") from None
            handle(draft, message, body, context)
            return
    raise _bad(message, f"its body is of the unknown type {message.body.TypeName()!r}")


def _accept(
    draft: Draft, message: protocol.Message, said: update.Acceptance, context: CommandContext
) -> None:
    update_id = message.protocol_instance_id
    if update_id in draft.state.updates:
        raise _bad(message, f"update {update_id} is accepted already")
    request = context.updates.sent.get(update_id)
    if request is None:
        # The server was restarted since it sent the request: the worker's copy is as good (rule 17).
        if not said.HasField("accepted_request"):
            raise _bad(message, f"update {update_id} is not known")
        request = said.accepted_request
    _check_size(draft, message, request.ByteSize())
    context.answered.add(update_id)
    draft.add(
        history.WorkflowExecutionUpdateAcceptedEventAttributes(
            protocol_instance_id=update_id,
            accepted_request_message_id=said.accepted_request_message_id,
            accepted_request_sequencing_event_id=said.accepted_request_sequencing_event_id,
            accepted_request=request,
        )
    )


def _reject(
    _draft: Draft, message: protocol.Message, said: update.Rejection, context: CommandContext
) -> None:
    update_id = message.protocol_instance_id
    context.answered.add(update_id)
    context.rejections.append(UpdateRejection(update_id, said.failure))


def _respond(
    draft: Draft, message: protocol.Message, said: update.Response, _context: CommandContext
) -> None:
    update_id = message.protocol_instance_id
    known = draft.state.updates.get(update_id)
    if known is None or known.completed_event_id:
        raise _bad(message, f"update {update_id} is not one that was accepted and is still open")
    if not said.HasField("outcome"):
        raise _bad(message, "outcome is not set")
    _check_size(draft, message, said.outcome.ByteSize())
    draft.add(
        history.WorkflowExecutionUpdateCompletedEventAttributes(
            meta=said.meta, accepted_event_id=known.accepted_event_id, outcome=said.outcome
        )
    )


_BODIES: dict[type[Any], Any] = {
    update.Acceptance: _accept,
    update.Rejection: _reject,
    update.Response: _respond,
}


def _check_size(draft: Draft, message: protocol.Message, size_bytes: int) -> None:
    limit = draft.env.limits.blob_size_bytes_max
    if size_bytes > limit:
        raise CommandRejected(
            _BAD_MESSAGE,
            f"message {message.id} has {size_bytes} bytes; the limit is {limit}.",
            terminates=True,
        )


def _bad(message: protocol.Message, why: str) -> CommandRejected:
    return CommandRejected(_BAD_MESSAGE, f"message {message.id}: {why}.")
