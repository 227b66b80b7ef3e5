"""Signals and cancel requests that a workflow sends to others: the commands, and how they ended.

Role: a command writes Initiated and sends an effect; the effect's delivery changes the destination (`signal`, `cancel`)
and then records here, once, that it arrived or why it could not (S-38).

Invariants: Initiated is followed by one event that ends it; a delivery that is repeated changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.history.commands.checks import (
    CANCELS_LIMIT,
    SIGNALS_LIMIT,
    CommandChecks,
    metadata_of,
    pending_limit,
)
from perdure.history.commands.table import Command, CommandContext, handles
from perdure.history.draft.draft import Draft, nothing
from perdure.history.draft.effects import CancelExternal, SignalExternal, send
from perdure.history.workflow_task.steps import schedule_workflow_task
from perdure.wire.api import command as commands_api
from perdure.wire.api import common, enums, history
from perdure.wire.errors import shown

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from perdure.entity.env import Env
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.run_state import RunState

Signal = commands_api.SignalExternalWorkflowExecutionCommandAttributes
Cancel = commands_api.RequestCancelExternalWorkflowExecutionCommandAttributes
SignalInitiated = history.SignalExternalWorkflowExecutionInitiatedEventAttributes
CancelInitiated = history.RequestCancelExternalWorkflowExecutionInitiatedEventAttributes
SignalCause = enums.SignalExternalWorkflowExecutionFailedCause
CancelCause = enums.CancelExternalWorkflowExecutionFailedCause

_BAD_SIGNAL = enums.WORKFLOW_TASK_FAILED_CAUSE_BAD_SIGNAL_WORKFLOW_EXECUTION_ATTRIBUTES
_BAD_CANCEL = (
    enums.WORKFLOW_TASK_FAILED_CAUSE_BAD_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_ATTRIBUTES
)


@handles(enums.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION)
def _signal(draft: Draft, attributes: Signal, command: Command, context: CommandContext) -> None:
    state, limits = draft.state, draft.env.limits
    check = CommandChecks(command, _BAD_SIGNAL, limits)
    check.workflow_id(attributes.execution.workflow_id)
    check.id(attributes.signal_name, "signal name")
    namespace_id, namespace = check.namespace(
        attributes.namespace, draft.env, state.key.namespace_id
    )
    size_bytes = attributes.input.ByteSize() + attributes.header.ByteSize()
    check.blob(size_bytes, ".Input")
    pending_limit(
        SIGNALS_LIMIT,
        "signals to external workflows",
        len(state.external_signals),
        limits.pending_signals_external_max,
    )
    event_id = draft.add(
        SignalInitiated(
            workflow_task_completed_event_id=context.completed_event_id,
            namespace=namespace,
            namespace_id=namespace_id,
            workflow_execution=attributes.execution,
            signal_name=attributes.signal_name,
            input=attributes.input if attributes.HasField("input") else None,
            control=attributes.control,
            child_workflow_only=attributes.child_workflow_only,
            header=attributes.header if attributes.HasField("header") else None,
        ),
        user_metadata=metadata_of(command),
    )
    send(draft, namespace_id, attributes.execution.workflow_id, event_id, SignalExternal(event_id))


@handles(enums.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION)
def _cancel(draft: Draft, attributes: Cancel, command: Command, context: CommandContext) -> None:
    state, limits = draft.state, draft.env.limits
    check = CommandChecks(command, _BAD_CANCEL, limits)
    check.workflow_id(attributes.workflow_id)
    namespace_id, namespace = check.namespace(
        attributes.namespace, draft.env, state.key.namespace_id
    )
    if attributes.workflow_id in context.initiated_children:
        raise check.reject(
            f"child workflow {shown(attributes.workflow_id)} is started by the same workflow task."
        )
    pending_limit(
        CANCELS_LIMIT,
        "requests to cancel external workflows",
        len(state.external_cancels),
        limits.pending_cancels_external_max,
    )
    event_id = draft.add(
        CancelInitiated(
            workflow_task_completed_event_id=context.completed_event_id,
            namespace=namespace,
            namespace_id=namespace_id,
            workflow_execution=common.WorkflowExecution(
                workflow_id=attributes.workflow_id, run_id=attributes.run_id
            ),
            control=attributes.control,
            child_workflow_only=attributes.child_workflow_only,
            reason=attributes.reason,
        ),
        user_metadata=metadata_of(command),
    )
    send(draft, namespace_id, attributes.workflow_id, event_id, CancelExternal(event_id))


def is_external_answered(state: RunState, initiated_event_id: int) -> bool:
    """The sender has recorded how its signal or cancel request fared: delivering it again would be another one."""
    waiting = (state.external_signals, state.external_cancels)
    return not any(initiated_event_id in each for each in waiting)


def external_signaled(
    state: RunState,
    initiated_event_id: int,
    initiated: SignalInitiated,
    cause: SignalCause.ValueType | None,
    env: Env,
) -> RunTransition:
    """A signal to another workflow has arrived, or with a cause: will not.

    Args:
        state: The run that sent it.
        initiated_event_id: Of the event with which it did.
        initiated: That event.
        cause: Why it failed.
        env: Time, id source and limits.
    """
    target = _target(initiated, initiated_event_id)
    control, completed = initiated.control, initiated.workflow_task_completed_event_id
    attributes = (
        history.ExternalWorkflowExecutionSignaledEventAttributes(**target, control=control)
        if cause is None
        else history.SignalExternalWorkflowExecutionFailedEventAttributes(
            **target, control=control, cause=cause, workflow_task_completed_event_id=completed
        )
    )
    return _end(state, initiated_event_id, attributes, env)


def external_cancel_requested(
    state: RunState,
    initiated_event_id: int,
    initiated: CancelInitiated,
    cause: CancelCause.ValueType | None,
    env: Env,
) -> RunTransition:
    """As `external_signaled`, of a request to cancel another workflow."""
    target = _target(initiated, initiated_event_id)
    control, completed = initiated.control, initiated.workflow_task_completed_event_id
    attributes = (
        history.ExternalWorkflowExecutionCancelRequestedEventAttributes(**target)
        if cause is None
        else history.RequestCancelExternalWorkflowExecutionFailedEventAttributes(
            **target, control=control, cause=cause, workflow_task_completed_event_id=completed
        )
    )
    return _end(state, initiated_event_id, attributes, env)


def _target(
    attributes: SignalInitiated | CancelInitiated, initiated_event_id: int
) -> dict[str, Any]:
    """What every event that ends a signal or cancel request repeats of the one that began it."""
    return {
        "initiated_event_id": initiated_event_id,
        "namespace": attributes.namespace,
        "namespace_id": attributes.namespace_id,
        "workflow_execution": attributes.workflow_execution,
    }


def _end(state: RunState, initiated_event_id: int, attributes: Message, env: Env) -> RunTransition:
    if not state.is_running or is_external_answered(state, initiated_event_id):
        return nothing(state.key, None)
    with Draft(state, env) as draft:
        draft.buffer_or_add(attributes)
        schedule_workflow_task(draft)
        return draft.done()
