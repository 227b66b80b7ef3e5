"""The plan of a workflow task's delivery: which history, which token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.history.draft.replies import HistoryTail, WorkflowTaskReply
from perdure.history.draft.tokens import WorkflowTaskToken
from perdure.history.state.facts import WorkflowTaskKind
from perdure.history.workflow_task.steps import transient_events

if TYPE_CHECKING:
    from perdure.core.limits import Limits
    from perdure.entity.env import Env
    from perdure.history.state.run_state import RunState


def task_reply(state: RunState, limits: Limits, *, is_sticky: bool) -> WorkflowTaskReply:
    """The started workflow task for a worker.

    Args:
        state: A run whose workflow task is started.
        limits: Of the run's namespace.
        is_sticky: The worker has the run in its cache: only what it does not know is sent (S-12).
    """
    task = state.workflow_task
    assert task is not None, f"{state.key} has no workflow task"
    assert task.started_event_id, f"the workflow task of {state.key} is not started"
    is_transient = task.kind is WorkflowTaskKind.TRANSIENT
    key = state.key
    return WorkflowTaskReply(
        token=WorkflowTaskToken(
            namespace_id=key.namespace_id,
            workflow_id=key.name,
            run_id=key.run_id,
            scheduled_event_id=task.scheduled_event_id,
            started_event_id=task.started_event_id,
            attempt=task.attempt,
            started_ns=task.started_ns,
        ),
        workflow_type=state.info.workflow_type,
        previous_started_event_id=state.last_started_event_id,
        started_event_id=task.started_event_id,
        attempt=task.attempt,
        first_event_id=state.last_started_event_id + 1 if is_sticky else 1,
        last_event_id=state.next_event_id - 1 if is_transient else task.started_event_id,
        transient_events=transient_events(state, limits),
        is_sticky=is_sticky,
        queue_name=state.info.task_queue,
        scheduled_ns=task.scheduled_ns,
        started_ns=task.started_ns,
    )


def redeliver(state: RunState, env: Env) -> WorkflowTaskReply | None:
    """The started task again, for another poller: the one it was started for has gone (D-46).

    Same token, full history. None when no task is started any more.
    """
    if not state.is_running or not state.workflow_task_is_started:
        return None
    return task_reply(state, env.limits, is_sticky=False)


def tail(state: RunState, env: Env) -> HistoryTail:
    """How far the run's history reaches."""
    return HistoryTail(
        entity=state.key,
        next_event_id=state.next_event_id,
        is_running=state.is_running,
        close_event_id=state.close_event_id,
        transient_events=transient_events(state, env.limits) if state.is_running else (),
    )
