"""Runs with workflow tasks that fail, for the tests of this folder."""

from __future__ import annotations

from perdure.core.limits import Limits
from perdure.history import transitions
from perdure.history.draft.replies import WorkflowTaskReply
from perdure.wire.api import enums, failure, workflowservice
from tests.unit.history.harness import (
    Run,
)

Cause = enums.WorkflowTaskFailedCause
FailedRequest = workflowservice.RespondWorkflowTaskFailedRequest


def started_run(limits: Limits | None = None) -> Run:
    run = Run() if limits is None else Run(limits=limits)
    run.start()
    return run


def fail(run: Run, task: WorkflowTaskReply) -> None:
    request = FailedRequest(
        cause=Cause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR,
        failure=failure.Failure(message="history does not match"),
        identity="worker",
    )
    run.do(transitions.fail_workflow_task, task.token, request)


def failing_run(attempt: int) -> Run:
    """A run whose next task is this transient attempt."""
    run = started_run()
    for _ in range(attempt - 1):
        fail(run, run.poll_workflow())
    task = run.state.workflow_task
    assert task is not None
    assert task.attempt == attempt
    return run
