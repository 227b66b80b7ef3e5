"""The transitions that the shell itself calls: start a task, take a start back, wake up. Others come from callers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from perdure.core.ids import QueueKind, TaskRowId
from perdure.entity.env import Env
from perdure.entity.transition import Task, Transition
from perdure.history.activity import attempts as activity
from perdure.history.activity import void
from perdure.history.draft.replies import PollInfo, WorkflowTaskReply
from perdure.history.draft.tokens import ActivityTaskToken
from perdure.history.run import start, wake
from perdure.history.state.pointer import CurrentRun
from perdure.history.state.run_state import RunState
from perdure.history.workflow_task import attempts as workflow_task
from perdure.wire.api import workflowservice

StartRequest = workflowservice.StartWorkflowExecutionRequest


class Verbs(NamedTuple):
    """See the module. `production()` is the table in use."""

    start: Callable[
        [CurrentRun | None, RunState | None, StartRequest, str, Env], tuple[Transition, ...]
    ]
    needs_existing: Callable[[CurrentRun, StartRequest], bool]
    start_task: Callable[[RunState, Task, TaskRowId | None, PollInfo, Env], Transition]
    undo_activity_start: Callable[[RunState, ActivityTaskToken, Env], Transition]
    void_attempts: Callable[[RunState, Env], Transition]
    redeliver: Callable[[RunState, Env], WorkflowTaskReply | None]
    wake: Callable[[RunState, Env], Transition]


def _start_task(
    state: RunState, task: Task, row: TaskRowId | None, poll: PollInfo, env: Env
) -> Transition:
    if task.queue.kind is QueueKind.WORKFLOW:
        return workflow_task.start_workflow_task(state, task, row, poll, env)
    return activity.start_activity(state, task, row, poll, env)


def production() -> Verbs:
    """The run engine's own transitions."""
    return Verbs(
        start=start.start,
        needs_existing=start.needs_existing,
        start_task=_start_task,
        undo_activity_start=activity.undo_activity_start,
        void_attempts=void.void_attempts,
        redeliver=workflow_task.redeliver,
        wake=wake.wake,
    )
