"""What happens to the one pending workflow task, as steps within a draft.

Role: schedule, start, fail and time out. The transitions that RPCs and wake-ups call are in `workflow_task.attempts`.
A normal task is as its events say. A *transient* one (attempt 2 and up, S-8) is a fact alone: its Scheduled and
Started are shown to the worker, and written when it completes. When other events overtake it before a worker took it,
it becomes normal.

Invariant: `state.workflow_task.is_a_fact` iff its WORKFLOW_TASK row exists, which `_keep` and `_drop_fact` look after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import msgspec

from perdure.core.backoff import exponential_ns
from perdure.core.units import SECOND_NS
from perdure.history.draft.close import close_run
from perdure.history.draft.deadlines import arm
from perdure.history.draft.flush import flush
from perdure.history.state.facts import FactKind, WorkflowTask, WorkflowTaskKind
from perdure.history.state.run_state import DeadlineKind
from perdure.history.workflow_task.phase import (
    AwaitingParent,
    FirstTaskDelayed,
    InNormalQueue,
    InStickyQueue,
    NotPending,
    Started,
    phase_of,
    wanted_task,
)
from perdure.wire import events
from perdure.wire.api import enums, failure, history, taskqueue
from perdure.wire.times import duration

if TYPE_CHECKING:
    from perdure.core.limits import Limits
    from perdure.entity.workers import PollInfo
    from perdure.history.draft.draft import Draft
    from perdure.history.state.run_state import RunState

_Cause = enums.WorkflowTaskFailedCause
_PACED_FROM_ATTEMPT = 3
_PACE_INITIAL_NS = 5 * SECOND_NS
SERVER_IDENTITY = "history-service"


# Scheduling.


def schedule_workflow_task(draft: Draft, *, despite_backoff: bool = False) -> None:
    """The workflow has something to look at: make sure that a task is pending.

    Nothing to do while one is (what was buffered during a started one makes the next), nor, unless told, before a
    delayed first task (S-37).
    """
    state = draft.state
    if draft.postpones_workflow_task and not despite_backoff:
        draft.owes_workflow_task = True
        return
    if not state.is_running:
        return
    phase = phase_of(state)
    match phase:
        case InNormalQueue() | InStickyQueue() | Started():
            _respect_buffer_limit(draft)
            return
        case AwaitingParent():
            return
        case FirstTaskDelayed():
            if not despite_backoff:
                return
        case NotPending():
            pass
        case _:
            assert_never(phase)
    add_scheduled(draft)
    offer(draft)


def _respect_buffer_limit(draft: Draft) -> None:
    """A slow worker must not make the buffer grow without end: its task fails, and the next one sees it all."""
    waiting = draft.state.buffered
    limits = draft.env.limits
    is_long = len(waiting) > limits.buffered_events_max
    if not is_long and waiting.size_bytes <= limits.buffered_events_bytes_max:
        return
    previous = write_failed(draft, enums.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND)
    schedule_again(draft, previous, counts=True)


def schedule_again(
    draft: Draft, previous: WorkflowTask, *, counts: bool, follows_close: bool = False
) -> None:
    """After a task that did not complete: the next attempt (S-8 to S-10).

    Args:
        draft: The draft in which the previous task has just ended.
        previous: The workflow task that just closed.
        counts: It was an attempt; False when no worker ever had it.
        follows_close: It wanted to close the run, which had events to see first.
    """
    state = draft.state
    # A worker that lost the run from its cache is no failing workflow: first try the normal queue, as attempt 1.
    counts = counts and state.sticky is None
    clear_sticky(draft)
    if flush(draft) or not counts:
        add_scheduled(draft)
    else:
        _schedule_transient(draft, previous)
    if follows_close:
        _keep(draft, msgspec.structs.replace(_pending(state), follows_close=True, stamp=1))
    offer(draft)


def add_scheduled(draft: Draft, *, original_scheduled_ns: int = 0) -> None:
    """Write WorkflowTaskScheduled. `original_scheduled_ns` is carried through heartbeats (S-14)."""
    state = draft.state
    draft.add(
        history.WorkflowTaskScheduledEventAttributes(
            task_queue=_queue_of(state),
            start_to_close_timeout=duration(state.info.workflow_task_timeout_ns),
            attempt=1,
        )
    )
    if original_scheduled_ns:
        task = _pending(state)
        _keep(
            draft,
            msgspec.structs.replace(task, original_scheduled_ns=original_scheduled_ns, stamp=1),
        )


def _schedule_transient(draft: Draft, previous: WorkflowTask) -> None:
    state = draft.state
    attempt = previous.attempt + 1
    timeout_ns = state.info.workflow_task_timeout_ns
    if attempt > _PACED_FROM_ATTEMPT:
        # S-9: a workflow task that keeps failing is retried when it times out, later each time.
        timeout_ns += exponential_ns(
            _PACE_INITIAL_NS,
            2.0,
            draft.env.limits.workflow_task_retry_backoff_max_ns,
            attempt - _PACED_FROM_ATTEMPT,
        )
    task = WorkflowTask(
        kind=WorkflowTaskKind.TRANSIENT,
        scheduled_event_id=state.next_event_id,
        attempt=attempt,
        queue_name=state.info.task_queue,
        scheduled_ns=draft.now_ns,
        start_to_close_ns=timeout_ns,
        stamp=previous.stamp + 1,
    )
    _keep(draft, task)


def offer(draft: Draft) -> None:
    """Give the pending task to matching."""
    state = draft.state
    task = wanted_task(state)
    assert task is not None, f"{state.key} has no workflow task for a queue"
    draft.task(task.row(state.key, draft.now_ns))
    if state.sticky is not None:
        arm(
            draft,
            DeadlineKind.WORKFLOW_TASK_SCHEDULE_TO_START,
            task.visible_ns + state.sticky.schedule_to_start_ns,
        )


def offer_on_normal_queue(draft: Draft) -> None:
    """The sticky worker is gone: the task that waits for it goes to everyone; its old row is stale (S-11)."""
    state = draft.state
    task = _pending(state)
    _keep(
        draft,
        msgspec.structs.replace(
            task, queue_name=state.info.task_queue, is_sticky=False, stamp=task.stamp + 1
        ),
    )
    offer(draft)


def clear_sticky(draft: Draft) -> None:
    if draft.state.sticky is not None:
        draft.fact(FactKind.STICKY, "", None)


# Starting.


def start_task(draft: Draft, poll: PollInfo) -> None:
    """A worker takes the pending task."""
    state = draft.state
    task = _pending(state)
    if task.kind is WorkflowTaskKind.TRANSIENT:
        if task.scheduled_event_id == state.next_event_id:
            task = msgspec.structs.replace(
                task,
                started_event_id=task.scheduled_event_id + 1,
                started_ns=draft.now_ns,
                request_id=poll.request_id,
                identity=poll.identity,
                build_id=poll.build_id,
            )
            _keep(draft, task)
            _arm_start_to_close(draft)
            return
        # S-8: something happened since the last attempt, so this is a new task, with events of its own.
        _drop_fact(draft)
        draft.add(_scheduled_attributes(state, task, attempt=1))
        task = _pending(state)
    draft.add(
        _started_attributes(
            state,
            draft.env.limits,
            scheduled_event_id=task.scheduled_event_id,
            identity=poll.identity,
            request_id=poll.request_id,
            build_id=poll.build_id,
        )
    )
    if task.is_a_fact:
        _keep(draft, _pending(state))
    _arm_start_to_close(draft)


def _arm_start_to_close(draft: Draft) -> None:
    task = _pending(draft.state)
    arm(
        draft,
        DeadlineKind.WORKFLOW_TASK_START_TO_CLOSE,
        task.started_ns + task.start_to_close_ns,
    )


def transient_events(state: RunState, limits: Limits) -> tuple[history.HistoryEvent, ...]:
    """The Scheduled and, once started, Started of a transient task, which history does not hold; else none."""
    task = state.workflow_task
    if task is None or task.kind is not WorkflowTaskKind.TRANSIENT:
        return ()
    if task.scheduled_event_id != state.next_event_id:
        return ()  # overtaken: it will be a normal task
    scheduled = events.event(
        _scheduled_attributes(state, task, attempt=task.attempt),
        event_id=task.scheduled_event_id,
        time_ns=task.scheduled_ns,
    )
    if not task.started_event_id:
        return (scheduled,)
    started = events.event(
        _started_attributes(
            state,
            limits,
            scheduled_event_id=task.scheduled_event_id,
            identity=task.identity,
            request_id=task.request_id,
            build_id=task.build_id,
        ),
        event_id=task.started_event_id,
        time_ns=task.started_ns,
    )
    return (scheduled, started)


# Ending.


def write_completed(draft: Draft, attributes: history.WorkflowTaskCompletedEventAttributes) -> int:
    """End the started task with WorkflowTaskCompleted, whose ids are filled in here; the event's id."""
    state = draft.state
    task = _pending(state)
    # Built before the fact goes: what the worker was shown becomes history.
    shown = transient_events(state, draft.env.limits)
    _drop_fact(draft)
    for event in shown:
        draft.add_event(event)
    attributes.scheduled_event_id = task.scheduled_event_id
    attributes.started_event_id = task.started_event_id
    return draft.add(attributes)


def write_failed(
    draft: Draft,
    cause: _Cause.ValueType,
    *,
    message: failure.Failure | None = None,
    identity: str = SERVER_IDENTITY,
    binary_checksum: str = "",
) -> WorkflowTask:
    """End the started task with WorkflowTaskFailed, or without an event when it is transient; the task it was."""
    task = _pending(draft.state)
    _drop_fact(draft)
    if task.kind is not WorkflowTaskKind.TRANSIENT:
        draft.add(
            history.WorkflowTaskFailedEventAttributes(
                scheduled_event_id=task.scheduled_event_id,
                started_event_id=task.started_event_id,
                cause=cause,
                failure=message,
                identity=identity,
                binary_checksum=binary_checksum,
            )
        )
    return task


def write_timed_out(draft: Draft, timeout: enums.TimeoutType.ValueType) -> WorkflowTask:
    """End the pending task with WorkflowTaskTimedOut, or without an event when it is transient; the task it was."""
    task = _pending(draft.state)
    _drop_fact(draft)
    if task.kind is not WorkflowTaskKind.TRANSIENT:
        draft.add(
            history.WorkflowTaskTimedOutEventAttributes(
                scheduled_event_id=task.scheduled_event_id,
                started_event_id=task.started_event_id,
                timeout_type=timeout,
            )
        )
    return task


def fail_if_started(draft: Draft) -> None:
    """Before the server itself closes a run: the started task cannot complete, and its buffer is kept in history."""
    if draft.state.workflow_task_is_started:
        write_failed(draft, _Cause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND)
    flush(draft)


# Helpers.


def _pending(state: RunState) -> WorkflowTask:
    task = state.workflow_task
    assert task is not None, f"{state.key} has no workflow task"
    return task


def _keep(draft: Draft, task: WorkflowTask) -> None:
    draft.fact(FactKind.WORKFLOW_TASK, "", task)


def _drop_fact(draft: Draft) -> None:
    if _pending(draft.state).is_a_fact:
        draft.fact(FactKind.WORKFLOW_TASK, "", None)


def _queue_of(state: RunState) -> taskqueue.TaskQueue:
    if state.sticky is None:
        return taskqueue.TaskQueue(name=state.info.task_queue, kind=enums.TASK_QUEUE_KIND_NORMAL)
    return taskqueue.TaskQueue(
        name=state.sticky.queue_name,
        kind=enums.TASK_QUEUE_KIND_STICKY,
        normal_name=state.info.task_queue,
    )


def _scheduled_attributes(
    state: RunState, task: WorkflowTask, *, attempt: int
) -> history.WorkflowTaskScheduledEventAttributes:
    return history.WorkflowTaskScheduledEventAttributes(
        task_queue=_queue_of(state),
        start_to_close_timeout=duration(task.start_to_close_ns),
        attempt=attempt,
    )


def _started_attributes(
    state: RunState,
    limits: Limits,
    *,
    scheduled_event_id: int,
    identity: str,
    request_id: str,
    build_id: str,
) -> history.WorkflowTaskStartedEventAttributes:
    attributes = history.WorkflowTaskStartedEventAttributes(
        scheduled_event_id=scheduled_event_id,
        identity=identity,
        request_id=request_id,
        history_size_bytes=state.history_size_bytes,
    )
    if build_id:
        attributes.worker_version.build_id = build_id
    reasons = attributes.suggest_continue_as_new_reasons
    if state.history_size_bytes >= limits.history_size_suggest_continue_bytes:
        reasons.append(enums.SUGGEST_CONTINUE_AS_NEW_REASON_HISTORY_SIZE_TOO_LARGE)
    if state.next_event_id >= limits.history_count_suggest_continue:
        reasons.append(enums.SUGGEST_CONTINUE_AS_NEW_REASON_TOO_MANY_HISTORY_EVENTS)
    if reasons:
        attributes.suggest_continue_as_new = True
    return attributes


def terminate_by_server(draft: Draft, reason: str) -> None:
    """End the run without asking the workflow. A started workflow task has been ended before."""
    close_run(
        draft,
        history.WorkflowExecutionTerminatedEventAttributes(reason=reason, identity=SERVER_IDENTITY),
    )
