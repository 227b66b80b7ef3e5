"""Children of a workflow, seen from the parent: the command that starts one, its start, its end. S-38.

Role: the three-step handshake. The parent writes Initiated and sends an effect; its delivery creates the child
(`child.start`), records ChildWorkflowExecutionStarted here, and only then lets the child do anything. The end of a
child's last run comes back as an effect of its own.

Invariants: a child ends once; a start that is delivered again finds what the first delivery left. A child that ends
before its start was recorded is recorded as started first.
Not here: the parent close policy (`close`).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from perdure.history.commands.checks import (
    CHILDREN_LIMIT,
    CommandChecks,
    metadata_of,
    pending_limit,
)
from perdure.history.commands.search_attributes import drop_empty
from perdure.history.commands.table import Command, CommandContext, handles
from perdure.history.draft.draft import Draft, nothing
from perdure.history.draft.effects import StartChild, send
from perdure.history.workflow_task.steps import schedule_workflow_task
from perdure.wire.api import command as commands_api
from perdure.wire.api import common, enums, history, taskqueue
from perdure.wire.events import attributes_of, execution_of
from perdure.wire.times import duration, duration_or_none

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from perdure.core.ids import EntityKey
    from perdure.entity.env import Env
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.run_state import Child, RunState

Attributes = commands_api.StartChildWorkflowExecutionCommandAttributes
Initiated = history.StartChildWorkflowExecutionInitiatedEventAttributes
FailedCause = enums.StartChildWorkflowExecutionFailedCause

_BAD_CHILD = enums.WORKFLOW_TASK_FAILED_CAUSE_BAD_START_CHILD_EXECUTION_ATTRIBUTES
_PASSED_ON = ("input", "header", "memo", "priority", "versioning_override")
_PLAIN = ("control", "inherit_build_id")


@handles(enums.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION)
def _start(draft: Draft, attributes: Attributes, command: Command, context: CommandContext) -> None:
    state, limits = draft.state, draft.env.limits
    check = CommandChecks(command, _BAD_CHILD, limits)
    check.workflow_id(attributes.workflow_id)
    check.id(attributes.workflow_type.name, "workflow type")
    if attributes.cron_schedule:
        raise check.reject("cron_schedule is not supported yet.")
    check.blob(attributes.input.ByteSize(), ". Input")
    check.memo(attributes.memo.ByteSize(), ".Memo")
    if attributes.HasField("priority"):
        check.priority(attributes.priority)
    pending_limit(
        CHILDREN_LIMIT,
        "child workflow executions",
        len(state.children),
        limits.pending_children_max,
    )
    initiated = _initiated_event(draft, attributes, check)
    initiated.workflow_task_completed_event_id = context.completed_event_id
    event_id = draft.add(initiated, user_metadata=metadata_of(command))
    context.initiated_children.add(attributes.workflow_id)
    send(draft, initiated.namespace_id, attributes.workflow_id, event_id, StartChild(event_id))


def _initiated_event(draft: Draft, attributes: Attributes, check: CommandChecks) -> Initiated:
    info, limits = draft.state.info, draft.env.limits
    own_id = draft.state.key.namespace_id
    namespace_id, namespace = check.namespace(attributes.namespace, draft.env, own_id)
    execution_ns = check.duration_ns(attributes.workflow_execution_timeout, "execution timeout")
    run_ns = check.duration_ns(attributes.workflow_run_timeout, "run timeout")
    if execution_ns:
        run_ns = min(run_ns or execution_ns, execution_ns)
    task_ns = check.duration_ns(attributes.workflow_task_timeout, "workflow task timeout")
    task_ns = min(
        task_ns or limits.workflow_task_timeout_default_ns, limits.workflow_task_timeout_max_ns
    )
    queue_name = attributes.task_queue.name or info.task_queue
    check.queue_name(queue_name)
    initiated = Initiated(
        namespace=namespace,
        namespace_id=namespace_id,
        workflow_id=attributes.workflow_id,
        workflow_type=attributes.workflow_type,
        task_queue=taskqueue.TaskQueue(name=queue_name, kind=enums.TASK_QUEUE_KIND_NORMAL),
        workflow_execution_timeout=duration_or_none(execution_ns),
        workflow_run_timeout=duration_or_none(run_ns),
        workflow_task_timeout=duration(min(task_ns, run_ns) if run_ns else task_ns),
        parent_close_policy=attributes.parent_close_policy or enums.PARENT_CLOSE_POLICY_TERMINATE,
        workflow_id_reuse_policy=(
            attributes.workflow_id_reuse_policy or enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
        ),
    )
    for name in _PLAIN:
        setattr(initiated, name, getattr(attributes, name))
    for name in _PASSED_ON:
        if attributes.HasField(name):
            getattr(initiated, name).CopyFrom(getattr(attributes, name))
    if attributes.HasField("search_attributes"):
        typed = check.search_attributes(attributes.search_attributes, draft.env, namespace)
        initiated.search_attributes.CopyFrom(typed)
    drop_empty(initiated)
    if attributes.HasField("retry_policy"):
        initiated.retry_policy.CopyFrom(check.retry_policy(attributes.retry_policy))
    return initiated


class ChildStart(Enum):
    """The state of a child's start, from the parent's point of view."""

    WANTED = "wanted"
    RECORDED = "recorded"
    """ChildWorkflowExecutionStarted is in its history: the child may go on, even when the parent has closed."""
    GONE = "gone"
    """The child has ended, or the parent closed before it knew of the start: the child must never begin."""


def child_start_of(state: RunState, initiated_event_id: int) -> ChildStart:
    """The state of a child's start, for its delivery."""
    child = state.children.get(initiated_event_id)
    if child is None:
        return ChildStart.GONE
    return ChildStart.RECORDED if child.started_event_id else ChildStart.WANTED


def child_started(state: RunState, initiated_event_id: int, run_id: str, env: Env) -> RunTransition:
    """The child was created; reply: True when that is recorded, now or before, so that it may go on.

    Args:
        state: The parent.
        initiated_event_id: Of the event that asked for the child.
        run_id: Of the child's first run.
        env: Time, id source and limits.
    """
    child = state.children.get(initiated_event_id)
    if child is None:
        return nothing(state.key, reply=False)
    if child.started_event_id or is_start_buffered(state, initiated_event_id):
        return nothing(state.key, reply=True)
    with Draft(state, env) as draft:
        _record_start(draft, child, run_id)
        schedule_workflow_task(draft)
        return draft.done(reply=True)


def child_start_failed(
    state: RunState,
    initiated_event_id: int,
    attributes: Initiated,
    cause: FailedCause.ValueType,
    env: Env,
) -> RunTransition:
    """The child cannot be created; `attributes` are those of the event that asked for it."""
    if not state.is_running or initiated_event_id not in state.children:
        return nothing(state.key, None)
    with Draft(state, env) as draft:
        draft.buffer_or_add(
            history.StartChildWorkflowExecutionFailedEventAttributes(
                namespace=attributes.namespace,
                namespace_id=attributes.namespace_id,
                workflow_id=attributes.workflow_id,
                workflow_type=attributes.workflow_type,
                cause=cause,
                control=attributes.control,
                initiated_event_id=initiated_event_id,
                workflow_task_completed_event_id=attributes.workflow_task_completed_event_id,
            )
        )
        schedule_workflow_task(draft)
        return draft.done()


def child_closed(
    state: RunState,
    initiated_event_id: int,
    last_run: EntityKey,
    first_run_id: str,
    closing: history.HistoryEvent,
    env: Env,
) -> RunTransition:
    """The last run of a child has ended; a repetition, or news for a closed parent, changes nothing.

    Args:
        state: The parent.
        initiated_event_id: Of the event that asked for the child.
        last_run: The run that ended.
        first_run_id: Of the child's first run.
        closing: The event that ended it.
        env: Time, id source and limits.
    """
    child = state.children.get(initiated_event_id)
    if child is None or not state.is_running:
        return nothing(state.key, None)
    with Draft(state, env) as draft:
        if not child.started_event_id and not is_start_buffered(state, initiated_event_id):
            _record_start(draft, child, first_run_id)
        draft.buffer_or_add(_end(state.children[initiated_event_id], last_run, closing))
        schedule_workflow_task(draft)
        return draft.done()


def is_start_buffered(state: RunState, initiated_event_id: int) -> bool:
    return state.buffered.starts(initiated_event_id)


def _record_start(draft: Draft, child: Child, run_id: str) -> None:
    draft.buffer_or_add(
        history.ChildWorkflowExecutionStartedEventAttributes(
            namespace=child.namespace,
            namespace_id=child.namespace_id,
            initiated_event_id=child.initiated_event_id,
            workflow_execution=common.WorkflowExecution(
                workflow_id=child.workflow_id, run_id=run_id
            ),
            workflow_type=common.WorkflowType(name=child.workflow_type),
        )
    )


_ENDS: dict[int, tuple[type[Any], tuple[str, ...]]] = {
    enums.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: (
        history.ChildWorkflowExecutionCompletedEventAttributes,
        ("result",),
    ),
    enums.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: (
        history.ChildWorkflowExecutionFailedEventAttributes,
        ("failure", "retry_state"),
    ),
    enums.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: (
        history.ChildWorkflowExecutionCanceledEventAttributes,
        ("details",),
    ),
    enums.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: (
        history.ChildWorkflowExecutionTimedOutEventAttributes,
        ("retry_state",),
    ),
    enums.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: (
        history.ChildWorkflowExecutionTerminatedEventAttributes,
        (),
    ),
}
"""Close event of the child -> the parent's event, and what both say."""


def _end(child: Child, last_run: EntityKey, closing: history.HistoryEvent) -> Message:
    attributes = attributes_of(closing)
    kind, shared = _ENDS[closing.event_type]
    known = {field.name for field, _ in attributes.ListFields()}
    return kind(
        namespace=child.namespace,
        namespace_id=child.namespace_id,
        workflow_execution=execution_of(last_run),
        workflow_type=common.WorkflowType(name=child.workflow_type),
        initiated_event_id=child.initiated_event_id,
        started_event_id=child.started_event_id,
        **{name: getattr(attributes, name) for name in shared if name in known},
    )
