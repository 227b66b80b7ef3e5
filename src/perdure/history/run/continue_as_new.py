"""The command ContinueAsNewWorkflowExecution: the run ends, and another with a fresh history follows (S-36)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.history.commands.checks import CommandChecks
from perdure.history.commands.search_attributes import drop_empty
from perdure.history.commands.table import Cause, Command, CommandContext, handles
from perdure.history.draft.close import close_run
from perdure.history.run.chain import follow
from perdure.history.run.commands import require_no_new_events
from perdure.wire.api import command as commands_api
from perdure.wire.api import common, enums, history, taskqueue
from perdure.wire.times import duration, duration_or_none

if TYPE_CHECKING:
    from perdure.history.draft.draft import Draft

_Attributes = commands_api.ContinueAsNewWorkflowExecutionCommandAttributes
_PASSED_ON = ("input", "header", "memo", "last_completion_result")
"""Fields that command, close event and first event of the new run share."""


@handles(enums.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION)
def _continue_as_new(
    draft: Draft, attributes: _Attributes, command: Command, context: CommandContext
) -> None:
    require_no_new_events(draft, context)
    checks = CommandChecks(
        command,
        Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_CONTINUE_AS_NEW_ATTRIBUTES,
        draft.env.limits,
    )
    closing = _closing_event(draft, attributes, checks)
    closing.workflow_task_completed_event_id = context.completed_event_id
    closing.new_execution_run_id = draft.env.new_id()
    backoff_ns = checks.duration_ns(attributes.backoff_start_interval, "backoff_start_interval")
    closing.backoff_start_interval.CopyFrom(duration(backoff_ns))
    started = _started_event(draft, attributes, closing, checks)
    close_run(draft, closing, has_successor=True)
    follow(draft, closing.new_execution_run_id, started, backoff_ns)


def _closing_event(
    draft: Draft, attributes: _Attributes, checks: CommandChecks
) -> history.WorkflowExecutionContinuedAsNewEventAttributes:
    info, limits = draft.state.info, draft.env.limits
    if attributes.cron_schedule:
        raise checks.reject("cron_schedule is not supported yet.")
    checks.blob(attributes.input.ByteSize(), ". Input")
    checks.memo(attributes.memo.ByteSize(), ". Memo")
    workflow_type = attributes.workflow_type.name or info.workflow_type
    queue_name = attributes.task_queue.name or info.task_queue
    checks.id(workflow_type, "workflow_type")
    checks.queue_name(queue_name)
    run_ns = checks.duration_ns(attributes.workflow_run_timeout, "workflow_run_timeout")
    run_ns = run_ns or info.run_timeout_ns
    if info.execution_timeout_ns:
        run_ns = min(run_ns or info.execution_timeout_ns, info.execution_timeout_ns)
    task_ns = checks.duration_ns(attributes.workflow_task_timeout, "workflow_task_timeout")
    task_ns = min(task_ns or info.workflow_task_timeout_ns, limits.workflow_task_timeout_max_ns)
    closing = history.WorkflowExecutionContinuedAsNewEventAttributes(
        workflow_type=common.WorkflowType(name=workflow_type),
        task_queue=taskqueue.TaskQueue(name=queue_name, kind=enums.TASK_QUEUE_KIND_NORMAL),
        workflow_run_timeout=duration_or_none(run_ns),
        workflow_task_timeout=duration(min(task_ns, run_ns) if run_ns else task_ns),
        initiator=attributes.initiator or enums.CONTINUE_AS_NEW_INITIATOR_WORKFLOW,
        failure=attributes.failure if attributes.HasField("failure") else None,
    )
    for name in _PASSED_ON:
        if attributes.HasField(name):
            getattr(closing, name).CopyFrom(getattr(attributes, name))
    if attributes.HasField("search_attributes"):
        typed = checks.search_attributes(attributes.search_attributes, draft.env)
        closing.search_attributes.CopyFrom(typed)
    drop_empty(closing)
    return closing


def _started_event(
    draft: Draft,
    attributes: _Attributes,
    closing: history.WorkflowExecutionContinuedAsNewEventAttributes,
    checks: CommandChecks,
) -> history.WorkflowExecutionStartedEventAttributes:
    is_retry = closing.initiator == enums.CONTINUE_AS_NEW_INITIATOR_RETRY
    started = history.WorkflowExecutionStartedEventAttributes(
        workflow_type=closing.workflow_type,
        task_queue=closing.task_queue,
        workflow_run_timeout=closing.workflow_run_timeout,
        workflow_task_timeout=closing.workflow_task_timeout,
        initiator=closing.initiator,
        continued_failure=closing.failure if closing.HasField("failure") else None,
        identity=draft.state.info.identity,
        attempt=draft.state.info.attempt + 1 if is_retry else 1,
    )
    for name in (*_PASSED_ON, "search_attributes"):
        if closing.HasField(name):
            getattr(started, name).CopyFrom(getattr(closing, name))
    if attributes.HasField("retry_policy"):
        started.retry_policy.CopyFrom(checks.retry_policy(attributes.retry_policy))
    return started
