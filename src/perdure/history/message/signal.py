"""Signals to a run. S-2, S-24 and S-37.

Not here: signals that a workflow sends to others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.core.limits import bytes_if_longer
from perdure.history.draft.draft import Draft, nothing
from perdure.history.workflow_task.phase import check_not_closing
from perdure.history.workflow_task.steps import schedule_workflow_task
from perdure.wire.api import enums, history, workflowservice
from perdure.wire.errors import (
    InvalidArgument,
    not_found,
    shown,
)
from perdure.wire.events import execution_of

if TYPE_CHECKING:
    from perdure.core.ids import EntityKey
    from perdure.entity.env import Env
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.run_state import RunState

Request = workflowservice.SignalWorkflowExecutionRequest
Response = workflowservice.SignalWorkflowExecutionResponse
_SIGNALED = enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED


def signal(
    state: RunState,
    request: Request,
    env: Env,
    *,
    sender: EntityKey | None = None,
    child_only: bool = False,
) -> RunTransition:
    """Record the signal and wake the workflow, unless its first task is still to come (S-37).

    A request id that the run has seen is answered again and changes nothing, also after the run has closed (S-24).

    Args:
        state: The run.
        request: The signal.
        env: Time, id source and limits.
        sender: The run that sends it, when a workflow does.
        child_only: It is meant for a child of the sender.

    Raises:
        NotFound: The run has closed, or is no child of the sender.
        InvalidArgument: The signal has no name or is too large, or the run has had too many.
        ResourceExhausted: The run is about to close.
    """
    if request.request_id and _seen(state, request.request_id):
        return nothing(state.key, Response())
    if not state.is_running:
        raise not_found("workflow execution already completed")
    if child_only and state.info.parent != sender:
        raise not_found("workflow parent does not match")
    check_signal(state, request, env)
    check_not_closing(state)
    with Draft(state, env) as draft:
        add_signal(draft, request, sender)
        return draft.done(Response())


def add_signal(draft: Draft, request: Request, sender: EntityKey | None = None) -> None:
    """The signal as a step of a draft: its event, and a workflow task to look at it."""
    draft.buffer_or_add(
        history.WorkflowExecutionSignaledEventAttributes(
            signal_name=request.signal_name,
            input=request.input if request.HasField("input") else None,
            identity=request.identity,
            header=request.header if request.HasField("header") else None,
            request_id=request.request_id,
            external_workflow_execution=sender and execution_of(sender),
        ),
        links=request.links,
    )
    schedule_workflow_task(draft)


def _seen(state: RunState, request_id: str) -> bool:
    if request_id in state.request_ids:
        return True
    return state.buffered.has_request(request_id)


def check_signal(state: RunState, request: Request, env: Env) -> None:
    """What would make this signal one that the run cannot take."""
    limits = env.limits
    if not request.signal_name:
        raise InvalidArgument("The signal has no name: set signal_name.")
    if length_bytes := bytes_if_longer(request.signal_name, limits.id_length_max):
        raise InvalidArgument(
            f"The signal's name has {length_bytes} bytes; the limit is {limits.id_length_max}."
        )
    size_bytes = request.input.ByteSize() + request.header.ByteSize()
    if size_bytes > limits.blob_size_bytes_max:
        raise InvalidArgument(
            f"Signal {shown(request.signal_name)}: input and header have {size_bytes} bytes; "
            f"the limit is {limits.blob_size_bytes_max}: keep large values elsewhere and pass references."
        )
    waiting = state.buffered.count(_SIGNALED)
    if state.signal_count + waiting >= limits.signals_per_run_max:
        raise InvalidArgument(
            f"The run has had {limits.signals_per_run_max} signals, which is the limit: "
            "let the workflow continue as new."
        )
