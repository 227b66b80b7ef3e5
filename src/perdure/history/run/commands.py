"""Commands with which a workflow ends its run: complete, fail, cancel.

None applies while events wait in the buffer that the workflow has not seen (S-4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.history.commands.checks import CommandChecks
from perdure.history.commands.table import Cause, Command, CommandContext, CommandRejected, handles
from perdure.history.draft.close import close_run
from perdure.history.run.chain import decide_run_retry, retry_run
from perdure.wire.api import command as commands_api
from perdure.wire.api import enums, history

if TYPE_CHECKING:
    from perdure.history.draft.draft import Draft


def require_no_new_events(draft: Draft, context: CommandContext) -> None:
    """S-4: a workflow ends only when it has seen everything. Commands before may have taken events away (S-5)."""
    if context.has_new_events(draft.state):
        raise CommandRejected(Cause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND)


@handles(enums.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION)
def _complete(
    draft: Draft,
    attributes: commands_api.CompleteWorkflowExecutionCommandAttributes,
    command: Command,
    context: CommandContext,
) -> None:
    require_no_new_events(draft, context)
    checks = CommandChecks(
        command,
        Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_COMPLETE_WORKFLOW_EXECUTION_ATTRIBUTES,
        draft.env.limits,
    )
    checks.blob(attributes.result.ByteSize(), ".Result")
    close_run(
        draft,
        history.WorkflowExecutionCompletedEventAttributes(
            result=attributes.result if attributes.HasField("result") else None,
            workflow_task_completed_event_id=context.completed_event_id,
        ),
    )


@handles(enums.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION)
def _fail(
    draft: Draft,
    attributes: commands_api.FailWorkflowExecutionCommandAttributes,
    command: Command,
    context: CommandContext,
) -> None:
    require_no_new_events(draft, context)
    checks = CommandChecks(
        command,
        Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_FAIL_WORKFLOW_EXECUTION_ATTRIBUTES,
        draft.env.limits,
    )
    if not attributes.HasField("failure"):
        raise checks.reject("failure is not set.")
    checks.blob(attributes.failure.ByteSize(), ".Failure")
    decision = decide_run_retry(draft, attributes.failure)
    next_run_id = draft.env.new_id() if decision.again else ""
    close_run(
        draft,
        history.WorkflowExecutionFailedEventAttributes(
            failure=attributes.failure,
            retry_state=decision.state,
            workflow_task_completed_event_id=context.completed_event_id,
            new_execution_run_id=next_run_id,
        ),
        has_successor=decision.again,
    )
    if decision.again:
        retry_run(draft, next_run_id, attributes.failure, decision.interval_ns)


@handles(enums.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION)
def _cancel(
    draft: Draft,
    attributes: commands_api.CancelWorkflowExecutionCommandAttributes,
    command: Command,
    context: CommandContext,
) -> None:
    require_no_new_events(draft, context)
    checks = CommandChecks(
        command,
        Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_CANCEL_WORKFLOW_EXECUTION_ATTRIBUTES,
        draft.env.limits,
    )
    checks.blob(attributes.details.ByteSize(), ".Details")
    close_run(
        draft,
        history.WorkflowExecutionCanceledEventAttributes(
            details=attributes.details if attributes.HasField("details") else None,
            workflow_task_completed_event_id=context.completed_event_id,
        ),
    )
