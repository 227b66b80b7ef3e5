"""The life of a workflow task, as workers drive it: taken, completed, failed; and what its time-outs do.

S-4 to S-15. The steps are in `workflow_task.steps`, the commands in `commands`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import msgspec

from perdure.entity.workers import PollInfo, StaleTask
from perdure.history.commands.messages import apply_messages, reject_unanswered
from perdure.history.commands.table import CommandContext, CommandRejected, apply_commands
from perdure.history.draft.deadlines import deadline, only
from perdure.history.draft.draft import Draft, nothing
from perdure.history.draft.flush import flush
from perdure.history.draft.replies import CompletionReply
from perdure.history.draft.transition import RunTransition
from perdure.history.draft.update_values import NO_UPDATES, TaskUpdates
from perdure.history.state.facts import FactKind, Sticky
from perdure.history.state.run_state import DeadlineKind
from perdure.history.workflow_task.phase import (
    AwaitingParent,
    FirstTaskDelayed,
    InNormalQueue,
    InStickyQueue,
    NotPending,
    Started,
    phase_of,
)
from perdure.history.workflow_task.reply import redeliver, tail, task_reply
from perdure.history.workflow_task.steps import (
    add_scheduled,
    clear_sticky,
    fail_if_started,
    offer,
    offer_on_normal_queue,
    schedule_again,
    start_task,
    terminate_by_server,
    write_completed,
    write_failed,
    write_timed_out,
)
from perdure.wire.api import common, enums, failure, history, workflowservice
from perdure.wire.errors import InvalidArgument, not_found
from perdure.wire.failures import headed
from perdure.wire.times import duration_ns

if TYPE_CHECKING:
    from perdure.core.ids import TaskRowId
    from perdure.entity.env import Env
    from perdure.entity.transition import Task
    from perdure.history.draft.tokens import WorkflowTaskToken
    from perdure.history.state.facts import WorkflowTask
    from perdure.history.state.run_state import RunState

__all__ = [
    "complete_workflow_task",
    "fail_workflow_task",
    "leave_sticky_queue",
    "redeliver",
    "reset_sticky",
    "start_workflow_task",
    "tail",
]

_CompletedRequest = workflowservice.RespondWorkflowTaskCompletedRequest
_FailedRequest = workflowservice.RespondWorkflowTaskFailedRequest
_INLINE_REQUEST_ID = "request-from-RespondWorkflowTaskCompleted"


def start_workflow_task(
    state: RunState, task: Task, row: TaskRowId | None, poll: PollInfo, env: Env
) -> RunTransition:
    """A poller takes `task`; reply: WorkflowTaskReply, or StaleTask when the run does not want it any more.

    Args:
        state: The run.
        task: As it was offered to matching.
        row: Where it lies, None when it never became a row.
        poll: Who takes it. A repeat with the same request id is the same start.
        env: Time, id source and limits.
    """
    phase = phase_of(state)
    match phase:
        case InNormalQueue(pending) | InStickyQueue(pending) if _is_same(pending, task):
            return _start(state, pending, row, poll, env)
        case Started(pending) if _is_same(pending, task) and pending.request_id == poll.request_id:
            return nothing(state.key, redeliver(state, env))
        case (
            InNormalQueue()
            | InStickyQueue()
            | Started()
            | NotPending()
            | AwaitingParent()
            | FirstTaskDelayed()
        ):
            finished = () if row is None else (row,)
            return RunTransition(key=state.key, finished_tasks=finished, reply=StaleTask())
        case _:
            assert_never(phase)


def _is_same(pending: WorkflowTask, task: Task) -> bool:
    return (pending.scheduled_event_id, pending.stamp) == (task.scheduled_event_id, task.stamp)


def _start(
    state: RunState, pending: WorkflowTask, row: TaskRowId | None, poll: PollInfo, env: Env
) -> RunTransition:
    with Draft(state, env) as draft:
        draft.finish_task(row)
        if poll.queue_name not in ("", pending.queue_name):
            # S-11: matching gave it to a worker of the normal queue, which needs the full history.
            clear_sticky(draft)
        start_task(draft, poll)
        is_sticky = pending.is_sticky and state.sticky is not None
        return draft.done(task_reply(state, env.limits, is_sticky=is_sticky))


def complete_workflow_task(
    state: RunState,
    token: WorkflowTaskToken,
    request: _CompletedRequest,
    env: Env,
    updates: TaskUpdates = NO_UPDATES,
) -> RunTransition:
    """The worker has made progress: apply its commands and messages, all or none.

    `updates` are those that no worker has accepted yet, as far as the shell knows (S-17).

    Reply: CompletionReply, with the next workflow task when the worker takes one inline (S-15), or an
    InvalidArgument value when the commands do not apply and the task failed (S-4 and S-7).

    Raises:
        NotFound: The token names no started task (S-13).
        InvalidArgument: The commands of a repeated attempt do not apply; nothing is written (S-7).
    """
    task = _started_task(state, token)
    if _is_idle_heartbeat(request) and _heartbeat_expired(task, env):
        return _end_heartbeats(state, env)
    draft = Draft(state, env)
    with draft:
        try:
            reply = _complete(draft, task, request, updates)
        except CommandRejected as rejection:
            rejected = rejection
        else:
            return draft.done(reply)
        draft.abandon()
    return _reject(state, task, request, rejected, env)


def _worker_version(request: _CompletedRequest) -> common.WorkerVersionStamp | None:
    """The build that completed the task: workflow code asks for it, on replay too.

    Workers name it in their stamp, but in one of the older fields when the server does not advertise
    the versioning by build ids that came with stamps.
    """
    if request.HasField("worker_version_stamp"):
        return request.worker_version_stamp
    build_id = request.deployment_options.build_id or request.binary_checksum
    return common.WorkerVersionStamp(build_id=build_id) if build_id else None


def _complete(
    draft: Draft, task: WorkflowTask, request: _CompletedRequest, updates: TaskUpdates
) -> CompletionReply:
    state = draft.state
    completed_event_id = write_completed(
        draft,
        history.WorkflowTaskCompletedEventAttributes(
            identity=request.identity,
            binary_checksum=request.binary_checksum,
            worker_version=_worker_version(request),
            sdk_metadata=request.sdk_metadata if request.HasField("sdk_metadata") else None,
            metering_metadata=(
                request.metering_metadata if request.HasField("metering_metadata") else None
            ),
        ),
    )
    _remember_sticky(draft, request)
    context = CommandContext(
        completed_event_id=completed_event_id, identity=request.identity, updates=updates
    )
    context.messages = {message.id: message for message in request.messages}
    apply_commands(draft, request.commands, context)
    apply_messages(draft, context)
    if state.is_running and not _is_idle_heartbeat(request):
        reject_unanswered(context)
    reply = CompletionReply(
        activities=tuple(context.eager_activities), rejected_updates=tuple(context.rejections)
    )
    if not state.is_running:
        return reply
    has_more = flush(draft)
    if _terminated_by_limits(draft):
        return reply
    has_more = has_more or context.needs_workflow_task or updates.others_wait
    if not (has_more or request.force_create_new_workflow_task):
        return reply
    original_ns = _original_ns(task) if _is_idle_heartbeat(request) else 0
    add_scheduled(draft, original_scheduled_ns=original_ns)
    if not request.return_new_workflow_task:
        offer(draft)
        return reply
    stamp = _worker_version(request)
    poll = PollInfo(
        identity=request.identity,
        request_id=_INLINE_REQUEST_ID,
        build_id=stamp.build_id if stamp is not None else "",
    )
    start_task(draft, poll)
    # A worker without a cache said so by sending no sticky queue: it needs the full history.
    inline = task_reply(state, draft.env.limits, is_sticky=state.sticky is not None)
    return msgspec.structs.replace(reply, workflow_task=inline)


def _reject(
    state: RunState,
    task: WorkflowTask,
    request: _CompletedRequest,
    rejection: CommandRejected,
    env: Env,
) -> RunTransition:
    """S-7: the task fails instead; none of its commands applies."""
    text = rejection.text
    is_unhandled = rejection.cause == enums.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
    if task.attempt > 1 and not is_unhandled:
        # No event and no new attempt: the task's time-out paces the retries.
        raise InvalidArgument(text)
    with Draft(state, env) as draft:
        previous = write_failed(
            draft,
            rejection.cause,
            message=failure.Failure(
                message=text,
                source="Server",
                server_failure_info=failure.ServerFailureInfo(non_retryable=False),
            ),
            identity=request.identity,
            binary_checksum=request.binary_checksum,
        )
        if rejection.terminates:
            flush(draft)
            terminate_by_server(draft, text)
        else:
            schedule_again(draft, previous, counts=True, follows_close=is_unhandled)
        return draft.done(InvalidArgument(text))


def fail_workflow_task(
    state: RunState, token: WorkflowTaskToken, request: _FailedRequest, env: Env
) -> RunTransition:
    """The worker could not make progress: record why, once, and try again (S-8).

    Raises:
        NotFound: The run is closed, or the token names no started task.
    """
    if not state.is_running:
        raise not_found("workflow execution already completed")
    _started_task(state, token)
    with Draft(state, env) as draft:
        if request.cause == enums.WORKFLOW_TASK_FAILED_CAUSE_GRPC_MESSAGE_TOO_LARGE:
            fail_if_started(draft)
            # The reference server's reason, and what the worker says about it.
            said = f": {request.failure.message}" if request.failure.message else ""
            terminate_by_server(draft, f"GrpcMessageTooLarge{said}")
        else:
            previous = write_failed(
                draft,
                request.cause,
                message=_fitting(request.failure, env) if request.HasField("failure") else None,
                identity=request.identity,
                binary_checksum=request.binary_checksum,
            )
            schedule_again(draft, previous, counts=True)
        return draft.done(workflowservice.RespondWorkflowTaskFailedResponse())


def _fitting(why: failure.Failure, env: Env) -> failure.Failure:
    """The failure that a worker has reported, or the head of one that is larger than a payload may be (S-47)."""
    limits = env.limits
    if why.ByteSize() <= limits.blob_size_bytes_max:
        return why
    return headed(why, limits.failure_head_bytes_max)


def reset_sticky(state: RunState, env: Env) -> RunTransition:
    """The worker has dropped the run from its cache, or is gone: its sticky queue is no option any more (S-11)."""
    with Draft(state, env) as draft:
        clear_sticky(draft)
        if isinstance(phase_of(state), InStickyQueue):
            offer_on_normal_queue(draft)
        return draft.done(workflowservice.ResetStickyTaskQueueResponse())


def leave_sticky_queue(state: RunState, task: Task, row: TaskRowId, env: Env) -> RunTransition:
    """The queue of `task` has no pollers: if it is sticky, its row is removed, and the run's queue gets the task."""
    with Draft(state, env) as draft:
        match phase_of(state):
            case InStickyQueue(pending) if _is_same(pending, task):
                draft.finish_task(row)
                clear_sticky(draft)
                offer_on_normal_queue(draft)
            case _:
                pass  # It is with a worker, or what waits is another task.
        return draft.done()


# Time-outs.


def _schedule_to_start_due_ns(state: RunState, _key: int) -> int:
    phase = phase_of(state)
    match phase:
        case InStickyQueue(task) if state.sticky is not None:
            return task.scheduled_ns + state.sticky.schedule_to_start_ns
        case (
            InStickyQueue()
            | InNormalQueue()
            | Started()
            | NotPending()
            | AwaitingParent()
            | FirstTaskDelayed()
        ):
            return 0
        case _:
            assert_never(phase)


@deadline(DeadlineKind.WORKFLOW_TASK_SCHEDULE_TO_START, keys=only, due_ns=_schedule_to_start_due_ns)
def _no_sticky_worker(draft: Draft, _key: int) -> None:
    """S-10: the sticky worker did not come; the normal queue gets the task, as the same attempt."""
    previous = write_timed_out(draft, enums.TIMEOUT_TYPE_SCHEDULE_TO_START)
    schedule_again(draft, previous, counts=False)


def _start_to_close_due_ns(state: RunState, _key: int) -> int:
    phase = phase_of(state)
    match phase:
        case Started(task):
            return task.started_ns + task.start_to_close_ns
        case (
            NotPending() | AwaitingParent() | FirstTaskDelayed() | InNormalQueue() | InStickyQueue()
        ):
            return 0
        case _:
            assert_never(phase)


@deadline(DeadlineKind.WORKFLOW_TASK_START_TO_CLOSE, keys=only, due_ns=_start_to_close_due_ns)
def _no_answer(draft: Draft, _key: int) -> None:
    """The worker that took the task did not answer in time."""
    previous = write_timed_out(draft, enums.TIMEOUT_TYPE_START_TO_CLOSE)
    schedule_again(draft, previous, counts=True)


# Heartbeats of workflow tasks that wait for local activities (S-14).


def _is_idle_heartbeat(request: _CompletedRequest) -> bool:
    """Only more time is asked for; with commands or messages the workflow makes progress."""
    return request.force_create_new_workflow_task and not request.commands and not request.messages


def _original_ns(task: WorkflowTask) -> int:
    return task.original_scheduled_ns or task.scheduled_ns


def _heartbeat_expired(task: WorkflowTask, env: Env) -> bool:
    return env.now_ns > _original_ns(task) + env.limits.workflow_task_heartbeat_ns


def _end_heartbeats(state: RunState, env: Env) -> RunTransition:
    with Draft(state, env) as draft:
        previous = write_timed_out(draft, enums.TIMEOUT_TYPE_START_TO_CLOSE)
        schedule_again(draft, previous, counts=True)
        return draft.done(not_found("workflow task heartbeat timeout"))


# Helpers.


def _started_task(state: RunState, token: WorkflowTaskToken) -> WorkflowTask:
    """The task that the token names; S-13."""
    match phase_of(state):
        case Started(task) if (
            task.scheduled_event_id == token.scheduled_event_id
            and task.started_event_id == token.started_event_id
            and task.attempt == token.attempt
            and task.started_ns == token.started_ns
        ):
            return task
        case _:
            raise not_found("Workflow task not found.")


def _remember_sticky(draft: Draft, request: _CompletedRequest) -> None:
    """S-10: each completion says anew whether and where the worker caches the run."""
    name = request.sticky_attributes.worker_task_queue.name
    if not name:
        clear_sticky(draft)
        return
    timeout_ns = duration_ns(request.sticky_attributes.schedule_to_start_timeout)
    limits = draft.env.limits
    sticky = Sticky(name, timeout_ns or limits.sticky_schedule_to_start_default_ns)
    if draft.state.sticky != sticky:
        draft.fact(FactKind.STICKY, "", sticky)


def _terminated_by_limits(draft: Draft) -> bool:
    """A history that only grows would end up unreadable: the run is terminated at the limits (S-43)."""
    reason = draft.state.passed_history_limit(draft.env.limits)
    if reason:
        terminate_by_server(draft, reason)
    return bool(reason)
