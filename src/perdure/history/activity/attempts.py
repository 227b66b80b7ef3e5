"""Activity attempts: start, heartbeat, complete, fail, cancel. S-28 to S-32 and S-35.

Role: the transitions behind the RPCs of activity workers. Each checks that the token is the current attempt's and
answers NotFound otherwise, before anything changes; a worker then stops, because it no longer owns the attempt.
Invariants: an attempt is started for one poller; a start that repeats its request id is the same start.
Not here: scheduling and cancel commands (`activity.command`), deadlines (`activity.timeouts`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import msgspec

from perdure.entity.workers import PollInfo, StaleTask
from perdure.history.activity.close import (
    advance,
    attempt_failed,
    attempt_timed_out,
    back_to_queue,
    close,
    put_progress,
)
from perdure.history.activity.phase import (
    attempt_scheduled_ns,
    progress_of,
    running,
    tell_worker,
    wanted_task,
)
from perdure.history.draft.draft import Draft, nothing
from perdure.history.draft.replies import ActivityTaskReply
from perdure.history.draft.tokens import ActivityTaskToken
from perdure.wire.api import enums, history, workflowservice
from perdure.wire.errors import (
    InvalidArgument,
    not_found,
    shown,
)
from perdure.wire.failures import headed, too_large

if TYPE_CHECKING:
    from perdure.core.ids import TaskRowId
    from perdure.entity.env import Env
    from perdure.entity.transition import Task
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.run_state import Activity, RunState
    from perdure.wire.api import common

Completed = workflowservice.RespondActivityTaskCompletedRequest
CompletedById = workflowservice.RespondActivityTaskCompletedByIdRequest
Failed = workflowservice.RespondActivityTaskFailedRequest
FailedById = workflowservice.RespondActivityTaskFailedByIdRequest
Canceled = workflowservice.RespondActivityTaskCanceledRequest
CanceledById = workflowservice.RespondActivityTaskCanceledByIdRequest
Heartbeat = workflowservice.RecordActivityTaskHeartbeatRequest
HeartbeatById = workflowservice.RecordActivityTaskHeartbeatByIdRequest

_HEARTBEAT_TOO_LARGE = "Heartbeat details exceed size limit."
_HEARD_SPARE = 16


def start_activity(
    state: RunState, task: Task, row: TaskRowId | None, poll: PollInfo, env: Env
) -> RunTransition:
    """A poller takes an attempt. S-28: a fact, no event.

    Args:
        state: The run.
        task: What the poller was matched with.
        row: The task's row, which goes whether the task is stale or not; None when it never became one.
        poll: Who takes it.
        env: Time and limits.

    Returns:
        A transition whose reply is an `ActivityTaskReply`, or a `StaleTask` when the task is no longer wanted.
    """
    with Draft(state, env) as draft:
        draft.finish_task(row)
        activity = state.activities.get(task.scheduled_event_id)
        if activity is None:
            return draft.done(StaleTask())
        attempt = running(state, activity)
        if attempt is not None:
            repeated = attempt.request_id == poll.request_id
            return draft.done(_task_reply(state, activity) if repeated else StaleTask())
        wanted = wanted_task(state, activity)
        if wanted is None or wanted.stamp != task.stamp:
            return draft.done(StaleTask())
        return draft.done(start_attempt(draft, activity, poll))


def start_attempt(draft: Draft, activity: Activity, poll: PollInfo) -> ActivityTaskReply:
    """Mark the current attempt as started by this poller; what to tell it."""
    progress = progress_of(draft.state, activity.scheduled_event_id)
    started = msgspec.structs.replace(
        progress,
        is_started=True,
        started_ns=draft.now_ns,
        started_request_id=poll.request_id,
        started_identity=poll.identity,
        started_build_id=poll.build_id,
    )
    advance(draft, activity, started)
    return _task_reply(draft.state, activity)


def undo_activity_start(state: RunState, token: ActivityTaskToken, env: Env) -> RunTransition:
    """The poller vanished before it was told: the same attempt goes back to its queue (D-46).

    Each start has a stamp of its own. The number of the attempt does not tell: a reset may have set it back meanwhile.
    """
    with Draft(state, env) as draft:
        activity = state.activities.get(token.scheduled_event_id)
        if (
            activity is not None
            and progress_of(state, token.scheduled_event_id).stamp == token.stamp
            and running(state, activity) is not None
        ):
            back_to_queue(draft, activity)
        return draft.done()


def time_out_started(draft: Draft) -> None:
    """Time out every started attempt at once, because the process that ran them died."""
    state = draft.state
    for activity in tuple(state.activities.values()):
        if running(state, activity) is not None:
            attempt_timed_out(draft, activity, enums.TIMEOUT_TYPE_START_TO_CLOSE)


def complete_activity(
    state: RunState, token: ActivityTaskToken, request: Completed | CompletedById, env: Env
) -> RunTransition:
    """The attempt succeeded. By id it may even complete an activity that no worker has started.

    Raises:
        NotFound: The token is not the current attempt's, or the run has closed.
    """
    by_id = isinstance(request, CompletedById)
    activity = _pending(state, token, started=not by_id)
    response = (
        workflowservice.RespondActivityTaskCompletedByIdResponse()
        if by_id
        else workflowservice.RespondActivityTaskCompletedResponse()
    )
    with Draft(state, env) as draft:
        if request.result.ByteSize() > env.limits.blob_size_bytes_max:
            attempt_failed(
                draft, activity, too_large("Complete result exceeds size limit."), request.identity
            )
            return draft.done(response)
        if running(state, activity) is None:
            start_attempt(draft, activity, PollInfo(identity=request.identity, request_id=""))
        close(
            draft,
            activity,
            history.ActivityTaskCompletedEventAttributes(
                result=request.result if request.HasField("result") else None,
                scheduled_event_id=activity.scheduled_event_id,
                identity=request.identity,
            ),
        )
        return draft.done(response)


def fail_activity(
    state: RunState, token: ActivityTaskToken, request: Failed | FailedById, env: Env
) -> RunTransition:
    """The attempt failed: it is retried, or the activity fails (S-28 to S-31).

    Raises:
        NotFound: The token is not the current attempt's, or the run has closed.
    """
    activity = _pending(state, token)
    response = (
        workflowservice.RespondActivityTaskFailedByIdResponse()
        if isinstance(request, FailedById)
        else workflowservice.RespondActivityTaskFailedResponse()
    )
    with Draft(state, env) as draft:
        limit = env.limits.blob_size_bytes_max
        details = request.last_heartbeat_details
        if details.ByteSize() > limit:
            response.failures.append(too_large(_HEARTBEAT_TOO_LARGE))
        elif request.HasField("last_heartbeat_details"):
            _record_heartbeat(draft, activity, details)
        cause = request.failure if request.HasField("failure") else None
        if cause is not None and cause.ByteSize() > limit:
            cause = headed(cause, env.limits.failure_head_bytes_max)
            response.failures.append(cause)
        attempt_failed(draft, activity, cause, request.identity)
        return draft.done(response)


def cancel_activity(
    state: RunState, token: ActivityTaskToken, request: Canceled | CanceledById, env: Env
) -> RunTransition:
    """The worker stopped the attempt because it was asked to (S-32).

    Raises:
        NotFound: The token is not the current attempt's, or the run has closed.
        InvalidArgument: No cancellation was requested.
    """
    activity = _pending(state, token)
    if not activity.cancel_requested_event_id:
        raise InvalidArgument(
            f"Activity {shown(activity.activity_id)} cannot be reported as canceled: its workflow has not "
            "requested that. Report it as failed instead."
        )
    response = (
        workflowservice.RespondActivityTaskCanceledByIdResponse()
        if isinstance(request, CanceledById)
        else workflowservice.RespondActivityTaskCanceledResponse()
    )
    with Draft(state, env) as draft:
        if request.details.ByteSize() > env.limits.blob_size_bytes_max:
            attempt_failed(
                draft, activity, too_large("Cancel details exceed size limit."), request.identity
            )
            return draft.done(response)
        close(
            draft,
            activity,
            history.ActivityTaskCanceledEventAttributes(
                details=request.details if request.HasField("details") else None,
                latest_cancel_requested_event_id=activity.cancel_requested_event_id,
                scheduled_event_id=activity.scheduled_event_id,
                identity=request.identity,
            ),
        )
        return draft.done(response)


def heartbeat(
    state: RunState, token: ActivityTaskToken, request: Heartbeat | HeartbeatById, env: Env
) -> RunTransition:
    """Record a heartbeat (S-31). It is written only if its details changed; liveness is kept in memory (D-48).

    Raises:
        NotFound: The token is not the current attempt's, or the run has closed.
    """
    activity = _pending(state, token)
    response = (
        workflowservice.RecordActivityTaskHeartbeatByIdResponse()
        if isinstance(request, HeartbeatById)
        else workflowservice.RecordActivityTaskHeartbeatResponse()
    )
    tell_worker(state, activity, response)
    key = activity.scheduled_event_id
    if request.details.ByteSize() > env.limits.blob_size_bytes_max:
        with Draft(state, env) as draft:
            attempt_failed(draft, activity, too_large(_HEARTBEAT_TOO_LARGE), request.identity)
            response.cancel_requested = True
            return draft.done(response)
    _hear(state, key, env.now_ns)
    if (
        request.details.SerializeToString(deterministic=True)
        == progress_of(state, key).heartbeat_details
    ):
        return nothing(state.key, response)
    with Draft(state, env) as draft:
        _record_heartbeat(draft, activity, request.details)
        return draft.done(response)


def activity_token_by_id(state: RunState, activity_id: str) -> ActivityTaskToken:
    """The token of the current attempt, for the RPCs that name an activity by its id.

    Raises:
        NotFound: No such activity is pending.
        InvalidArgument: The id is empty.
    """
    if not activity_id:
        raise InvalidArgument("The activity id is empty: name the activity to report on.")
    scheduled_event_id = state.activity_ids.get(activity_id)
    if not state.is_running:
        raise not_found("workflow execution already completed")
    if scheduled_event_id is None:
        raise not_found(
            f"Workflow {shown(state.key.name)} has no pending activity {shown(activity_id)}; "
            "its history says whether it has ended."
        )
    return _token(state, state.activities[scheduled_event_id])


def _pending(state: RunState, token: ActivityTaskToken, *, started: bool = True) -> Activity:
    if not state.is_running:
        raise not_found("workflow execution already completed")
    activity = state.activities.get(token.scheduled_event_id)
    if activity is None or not _is_current(state, activity, token, started=started):
        _gone(token)
    return activity


def _is_current(
    state: RunState, activity: Activity, token: ActivityTaskToken, *, started: bool = True
) -> bool:
    progress = progress_of(state, token.scheduled_event_id)
    if (progress.attempt, progress.stamp) != (token.attempt, token.stamp):
        return False
    return running(state, activity) is not None or not started


def _gone(token: ActivityTaskToken) -> NoReturn:
    raise not_found(
        f"Activity {shown(token.activity_id)} has no running attempt {token.attempt}: "
        "it completed, timed out or was replaced by a later attempt."
    )


def _hear(state: RunState, key: int, now_ns: int) -> None:
    """Note that the worker lives: in memory, outside any draft, so entries of ended activities go only here."""
    heard = state.heard_ns
    if len(heard) > _HEARD_SPARE + 2 * len(state.activities):
        state.heard_ns = heard = {k: at for k, at in heard.items() if k in state.activities}
    heard[key] = max(now_ns, heard.get(key, 0))


def _record_heartbeat(draft: Draft, activity: Activity, details: common.Payloads) -> None:
    key = activity.scheduled_event_id
    progress = progress_of(draft.state, key)
    put_progress(
        draft,
        key,
        msgspec.structs.replace(
            progress,
            heartbeat_details=details.SerializeToString(deterministic=True),
            last_heartbeat_ns=draft.now_ns,
        ),
    )


def _token(state: RunState, activity: Activity) -> ActivityTaskToken:
    progress = progress_of(state, activity.scheduled_event_id)
    return ActivityTaskToken(
        namespace_id=state.key.namespace_id,
        workflow_id=state.key.name,
        run_id=state.key.run_id,
        scheduled_event_id=activity.scheduled_event_id,
        attempt=progress.attempt,
        activity_id=activity.activity_id,
        stamp=progress.stamp,
    )


def _task_reply(state: RunState, activity: Activity) -> ActivityTaskReply:
    progress = progress_of(state, activity.scheduled_event_id)
    return ActivityTaskReply(
        token=_token(state, activity),
        workflow_type=state.info.workflow_type,
        attributes=activity.attributes,
        attempt=progress.attempt,
        heartbeat_details=progress.heartbeat_details,
        scheduled_ns=activity.scheduled_ns,
        current_attempt_scheduled_ns=attempt_scheduled_ns(activity, progress),
        started_ns=progress.started_ns,
        run_priority=state.info.priority,
    )
