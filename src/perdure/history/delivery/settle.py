"""The half of a delivery at its source: which message an effect becomes, and what is recorded of its outcome.

Role: `first_message` and `next_message` say what to send; `settle` records the outcome in the history of the source.
The start of a child is the handshake of S-38: create the child, record it, release it; or discard it, if the parent
cannot record it.

Invariant: the outcome of a message is recorded once; a delivery that begins again goes on where the last one ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.history.child.command import (
    ChildStart,
    child_start_failed,
    child_start_of,
    child_started,
)
from perdure.history.child.start import child_request
from perdure.history.delivery.messages import (
    Address,
    CreateChild,
    DiscardChild,
    Refusal,
    ReleaseChild,
    ReportClose,
    RequestCancel,
    Signal,
    Terminate,
)
from perdure.history.draft.effects import (
    CancelExternal,
    ChildClosed,
    ParentClosed,
    SignalExternal,
    StartChild,
)
from perdure.history.message.external import (
    external_cancel_requested,
    external_signaled,
    is_external_answered,
)
from perdure.history.run.start import Parent
from perdure.history.workflow_task.steps import SERVER_IDENTITY
from perdure.wire.api import enums, history, workflowservice
from perdure.wire.events import attributes_of

if TYPE_CHECKING:
    from perdure.core.ids import EntityKey
    from perdure.entity.env import Env
    from perdure.entity.transition import Effect
    from perdure.history.delivery.messages import Message, Receipt
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.run_state import RunState

PARENT_CLOSED_REASON = "by parent close policy"

_StartCause = enums.StartChildWorkflowExecutionFailedCause
_SIGNAL_FAILED = "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE"
_CANCEL_FAILED = "CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE"

_SIGNAL_CAUSES = {
    refusal: enums.SignalExternalWorkflowExecutionFailedCause.Value(f"{_SIGNAL_FAILED}_{cause}")
    for refusal, cause in (
        (Refusal.NOT_FOUND, "EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND"),
        (Refusal.NO_NAMESPACE, "NAMESPACE_NOT_FOUND"),
        (Refusal.LIMIT, "SIGNAL_COUNT_LIMIT_EXCEEDED"),
    )
}
_CANCEL_CAUSES = {
    refusal: enums.CancelExternalWorkflowExecutionFailedCause.Value(f"{_CANCEL_FAILED}_{cause}")
    for refusal, cause in (
        (Refusal.NOT_FOUND, "EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND"),
        (Refusal.NO_NAMESPACE, "NAMESPACE_NOT_FOUND"),
    )
}
_START_CAUSES = {
    Refusal.EXISTS: _StartCause.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS,
    Refusal.NO_NAMESPACE: _StartCause.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_NAMESPACE_NOT_FOUND,
    Refusal.INVALID: _StartCause.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_UNSPECIFIED,
}


EventBody = SignalExternal | CancelExternal | StartChild | ChildClosed
"""What needs an event of the source; the parent close policy of a closed run needs nothing of it."""


def event_of(body: EventBody) -> int:
    """The event of the source that a delivery needs."""
    return body.close_event_id if isinstance(body, ChildClosed) else body.initiated_event_id


def first_message(
    state: RunState, effect: Effect, body: EventBody, event: history.HistoryEvent, env: Env
) -> Message | None:
    """The message with which the delivery of an effect begins, or begins again; None: there is nothing left to do.

    Args:
        state: The source.
        effect: The row of the outbox.
        body: Its decoded body.
        event: The event that `event_of` names.
        env: Time, id source and limits.
    """
    attributes: Any = attributes_of(event)
    match body:
        case SignalExternal():
            return _signal(state, effect, event.event_id, attributes)
        case CancelExternal():
            return _request_cancel(state, effect, event.event_id, attributes)
        case StartChild():
            return _start_child(state, effect, event.event_id, attributes, env)
        case ChildClosed():
            parent = body.parent
            return ReportClose(
                to=Address(parent.namespace_id, parent.name, parent.run_id),
                initiated_event_id=body.initiated_event_id,
                child=state.key,
                first_run_id=body.first_run_id,
                closing=event,
            )


def _signal(
    state: RunState,
    effect: Effect,
    event_id: int,
    attributes: history.SignalExternalWorkflowExecutionInitiatedEventAttributes,
) -> Message | None:
    # A later run under the same workflow id must not receive it.
    if is_external_answered(state, event_id):
        return None
    execution = attributes.workflow_execution
    return Signal(
        to=Address(attributes.namespace_id, execution.workflow_id, execution.run_id),
        sender=state.key,
        sender_event_id=event_id,
        request=workflowservice.SignalWorkflowExecutionRequest(
            signal_name=attributes.signal_name,
            input=attributes.input if attributes.HasField("input") else None,
            header=attributes.header if attributes.HasField("header") else None,
            identity=SERVER_IDENTITY,
            request_id=effect.request_id,
        ),
        child_only=attributes.child_workflow_only,
    )


def _request_cancel(
    state: RunState,
    effect: Effect,
    event_id: int,
    attributes: history.RequestCancelExternalWorkflowExecutionInitiatedEventAttributes,
) -> Message | None:
    if is_external_answered(state, event_id):
        return None
    execution = attributes.workflow_execution
    request = workflowservice.RequestCancelWorkflowExecutionRequest(
        identity=SERVER_IDENTITY, request_id=effect.request_id, reason=attributes.reason
    )
    return RequestCancel(
        to=Address(attributes.namespace_id, execution.workflow_id, execution.run_id),
        sender=state.key,
        request=request,
        sender_event_id=event_id,
        child_only=attributes.child_workflow_only,
    )


def _start_child(
    state: RunState,
    effect: Effect,
    event_id: int,
    attributes: history.StartChildWorkflowExecutionInitiatedEventAttributes,
    env: Env,
) -> Message:
    to = Address(attributes.namespace_id, attributes.workflow_id)
    match child_start_of(state, event_id):
        case ChildStart.WANTED:
            parent = Parent(
                key=state.key,
                namespace=env.namespace,
                initiated_event_id=event_id,
                root_workflow_id=state.info.root_workflow_id,
                root_run_id=state.info.root_run_id,
            )
            request = child_request(attributes, effect.request_id, state.info.priority)
            return CreateChild(to, parent, request)
        case ChildStart.RECORDED:
            return ReleaseChild(to, state.key, effect.request_id)
        case ChildStart.GONE:
            return DiscardChild(to, state.key, effect.request_id)


def parent_closed(source: EntityKey, effect: Effect, body: ParentClosed) -> Message:
    """The only message of an effect of the parent close policy."""
    to = Address(effect.destination.namespace_id, effect.destination.name)
    if body.terminates:
        ending = workflowservice.TerminateWorkflowExecutionRequest(
            first_execution_run_id=body.first_run_id,
            reason=PARENT_CLOSED_REASON,
            identity=SERVER_IDENTITY,
        )
        return Terminate(to, ending)
    request = workflowservice.RequestCancelWorkflowExecutionRequest(
        first_execution_run_id=body.first_run_id,
        identity=SERVER_IDENTITY,
        request_id=effect.request_id,
    )
    return RequestCancel(to, source, request)


def is_settled(message: Message) -> bool:
    """Whether the source records the outcome of this message."""
    match message:
        case Signal() | CreateChild():
            return True
        case RequestCancel():
            return message.sender_event_id > 0
        case Terminate() | ReleaseChild() | DiscardChild() | ReportClose():
            return False


def settle(
    state: RunState, message: Message, receipt: Receipt, attributes: Any, env: Env
) -> RunTransition:
    """Record the outcome of a message. For `CreateChild` the reply is true if the child may begin.

    Args:
        state: The source.
        message: What was sent; see `is_settled`.
        receipt: What the destination made of it.
        attributes: Those of the event that asked for it.
        env: Time, id source and limits.
    """
    refusal = receipt.refusal
    match message:
        case Signal():
            cause = None if refusal is None else _SIGNAL_CAUSES[refusal]
            return external_signaled(state, message.sender_event_id, attributes, cause, env)
        case RequestCancel():
            cause = None if refusal is None else _CANCEL_CAUSES[refusal]
            return external_cancel_requested(state, message.sender_event_id, attributes, cause, env)
        case CreateChild():
            event_id = message.parent.initiated_event_id
            if refusal is None:
                return child_started(state, event_id, receipt.run_id, env)
            return child_start_failed(state, event_id, attributes, _START_CAUSES[refusal], env)
        case Terminate() | ReleaseChild() | DiscardChild() | ReportClose():
            raise TypeError(f"the outcome of {type(message).__name__} is not recorded")


def next_message(message: Message, receipt: Receipt, recorded: object) -> Message | None:
    """The message that follows this one; None: the effect is delivered.

    Args:
        message: What was sent.
        receipt: What the destination made of it.
        recorded: The reply of `settle`.
    """
    if not isinstance(message, CreateChild) or receipt.refusal is not None:
        return None
    kind = ReleaseChild if recorded else DiscardChild
    return kind(message.to, message.parent.key, message.request.request_id)
