"""Where the one workflow task of a run stands, as a sum type computed in one place.

`phase_of` is the only reader of what the state stores about it. Callers match its result exhaustively, so that a new
phase is a type error wherever its meaning has not been decided. Whether an attempt is transient is another question:
such a task waits and starts as others do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import msgspec

from perdure.core.ids import QueueKey, QueueKind
from perdure.entity.transition import DEFAULT_PRIORITY, WantedTask
from perdure.history.state.facts import WorkflowTask
from perdure.wire.api import enums
from perdure.wire.errors import resource_exhausted

if TYPE_CHECKING:
    from perdure.history.state.run_state import RunState


class NotPending(msgspec.Struct, frozen=True, gc=False):
    """The workflow has nothing to look at, or is closed."""


class AwaitingParent(msgspec.Struct, frozen=True, gc=False):
    """The first task of a child: the child may do nothing until its parent has recorded its start (S-38)."""


class FirstTaskDelayed(msgspec.Struct, frozen=True, gc=False):
    """The first task of a run with a start delay, a retry's back-off or a cron time (S-37)."""

    until_ns: int


class InNormalQueue(msgspec.Struct, frozen=True, gc=False):
    """Any worker of the run's task queue may take it."""

    task: WorkflowTask


class InStickyQueue(msgspec.Struct, frozen=True, gc=False):
    """It waits for the worker that has the run in its cache (S-10)."""

    task: WorkflowTask


class Started(msgspec.Struct, frozen=True, gc=False):
    """A worker has it."""

    task: WorkflowTask


WorkflowTaskPhase = (
    NotPending | AwaitingParent | FirstTaskDelayed | InNormalQueue | InStickyQueue | Started
)

_NOT_PENDING = NotPending()
_AWAITING_PARENT = AwaitingParent()


def phase_of(state: RunState) -> WorkflowTaskPhase:
    """The phase of the run's workflow task."""
    task = state.workflow_task
    if task is None:
        if not state.is_running or state.completed_workflow_tasks:
            return _NOT_PENDING
        info = state.info
        if info.parent is not None and not info.continued_run_id:
            return _AWAITING_PARENT
        return FirstTaskDelayed(info.start_ns + info.first_task_backoff_ns)
    if task.started_event_id:
        return Started(task)
    return InStickyQueue(task) if task.is_sticky else InNormalQueue(task)


def is_with_worker(state: RunState) -> bool:
    """Whether the phase is `Started` or `InStickyQueue`, without making it: this is asked after every change."""
    task = state.workflow_task
    return task is not None and (task.started_event_id != 0 or task.is_sticky)


def wanted_task(state: RunState) -> WantedTask | None:
    """What the run wants in a queue so that its workflow task is started; None when it wants nothing there."""
    phase = phase_of(state)
    match phase:
        case InNormalQueue(task) | InStickyQueue(task):
            return WantedTask(
                queue=QueueKey(state.key.namespace_id, task.queue_name, QueueKind.WORKFLOW),
                scheduled_event_id=task.scheduled_event_id,
                stamp=task.stamp,
                visible_ns=task.scheduled_ns,
                priority=state.info.priority_key or DEFAULT_PRIORITY,
                is_sticky=task.is_sticky,
            )
        case NotPending() | AwaitingParent() | FirstTaskDelayed() | Started():
            return None
        case _:
            assert_never(phase)


def check_not_closing(state: RunState) -> None:
    """Refuse what would put off once more the closing of a run that has tried to close; its caller tries again.

    The reference server refuses signals and updates alike, with these words, until the task ends.

    Raises:
        ResourceExhausted: The workflow task that follows such an attempt is with a worker.
    """
    match phase_of(state):
        case Started(task) if task.follows_close:
            raise resource_exhausted(
                "workflow operation can not be applied because workflow is closing",
                enums.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW,
            )
        case _:
            pass
