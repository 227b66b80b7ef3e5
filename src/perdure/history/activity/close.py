"""The end of an activity attempt: another attempt, or the one event that closes the activity.

Role: the helpers that all paths share (RPCs, time-outs, cancel commands). Every function works on an open draft.
Invariants: an attempt's start reaches history only here, directly before the close event (S-28). Closing an activity
removes its progress in the same draft, so it is closed once.
Not here: validation of tokens (`activity`), which deadlines are due (`activity.timeouts`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perdure.core.units import later_ns
from perdure.history.activity.due import arm_all
from perdure.history.activity.phase import pause_of, progress_of, running, wanted_task
from perdure.history.activity.retry import TIMEOUT_NAMES, RetryDecision, decide_retry
from perdure.history.state.facts import ActivityProgress, FactKind
from perdure.history.workflow_task.steps import schedule_workflow_task
from perdure.wire.api import common, enums, failure, history
from perdure.wire.events import event as build_event
from perdure.wire.failures import headed

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from perdure.history.draft.draft import Draft
    from perdure.history.state.run_state import Activity

Failure = failure.Failure
_BY_LIMITS = frozenset({enums.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED, enums.RETRY_STATE_TIMEOUT})


def put_progress(draft: Draft, scheduled_event_id: int, progress: ActivityProgress) -> None:
    """Write what has changed within a phase."""
    draft.fact(FactKind.ACTIVITY, str(scheduled_event_id), progress)


def advance(draft: Draft, activity: Activity, progress: ActivityProgress) -> None:
    """Write the attempt's progress, and do what the phase asks for that it enters."""
    put_progress(draft, activity.scheduled_event_id, progress)
    enter_phase(draft, activity)


def enter_phase(draft: Draft, activity: Activity) -> None:
    """A task for the queue, if the attempt waits there, and the deadlines of its phase."""
    task = wanted_task(draft.state, activity)
    if task is not None:
        draft.task(task.row(draft.state.key, draft.now_ns))
    arm_all(draft, activity)


def retry(draft: Draft, activity: Activity, cause: Failure | None, interval_ns: int) -> None:
    """The attempt failed and another follows after the interval or the pause: nothing reaches history (S-28)."""
    old = _carried(progress_of(draft.state, activity.scheduled_event_id))
    next_ns = later_ns(draft.now_ns, interval_ns)
    advance(
        draft,
        activity,
        ActivityProgress(
            attempt=old.attempt + 1,
            stamp=old.stamp + 1,
            scheduled_ns=next_ns,
            next_attempt_ns=next_ns,
            retry_interval_ns=interval_ns,
            last_failure=_fitting(draft, cause).SerializeToString() if cause is not None else b"",
            last_worker_identity=old.started_identity or old.last_worker_identity,
            last_attempt_complete_ns=draft.now_ns,
            heartbeat_details=old.heartbeat_details,
            last_heartbeat_ns=old.last_heartbeat_ns,
            pause=old.pause,
        ),
    )


def _carried(progress: ActivityProgress) -> ActivityProgress:
    """What the next attempt takes over from one that is over; a reset of that one is over too."""
    drops = progress.reset is not None and progress.reset.drops_heartbeat
    return msgspec.structs.replace(
        progress,
        reset=None,
        heartbeat_details=b"" if drops else progress.heartbeat_details,
        last_heartbeat_ns=0 if drops else progress.last_heartbeat_ns,
    )


def back_to_queue(draft: Draft, activity: Activity) -> None:
    """The attempt has not started after all, or its back-off is over."""
    old = _carried(progress_of(draft.state, activity.scheduled_event_id))
    waiting = msgspec.structs.replace(
        old,
        stamp=old.stamp + 1 if running(draft.state, activity) is not None else old.stamp,
        is_started=False,
        started_ns=0,
        started_request_id="",
        started_identity="",
        started_build_id="",
        next_attempt_ns=0,
    )
    advance(draft, activity, waiting)


def attempt_failed(
    draft: Draft, activity: Activity, cause: Failure | None, identity: str
) -> RetryDecision:
    """A worker reported that the attempt failed: retry, or ActivityTaskFailed (S-29)."""
    decision = _decide(draft, activity, cause)
    if decision.again:
        retry(draft, activity, cause, decision.interval_ns)
    else:
        close(
            draft,
            activity,
            history.ActivityTaskFailedEventAttributes(
                failure=cause,
                scheduled_event_id=activity.scheduled_event_id,
                identity=identity,
                retry_state=decision.state,
            ),
        )
    return decision


def attempt_timed_out(
    draft: Draft, activity: Activity, kind: enums.TimeoutType.ValueType
) -> RetryDecision:
    """A time-out passed: retry, or ActivityTaskTimedOut, rewritten where time ran out (S-29)."""
    progress = progress_of(draft.state, activity.scheduled_event_id)
    cause = timeout_failure(kind)
    decision = _decide(draft, activity, cause)
    if decision.again:
        retry(draft, activity, cause, decision.interval_ns)
        return decision
    out_of_time = decision.state == enums.RETRY_STATE_TIMEOUT
    if out_of_time and kind != enums.TIMEOUT_TYPE_SCHEDULE_TO_START:
        cause = timeout_failure(enums.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE)
        cause.message = "no time for another attempt before the activity's ScheduleToClose timeout"
    if progress.heartbeat_details:
        details = common.Payloads.FromString(progress.heartbeat_details)
        cause.timeout_failure_info.last_heartbeat_details.CopyFrom(details)
    if progress.last_failure:
        cause.cause.CopyFrom(Failure.FromString(progress.last_failure))
    close(
        draft,
        activity,
        history.ActivityTaskTimedOutEventAttributes(
            failure=cause,
            scheduled_event_id=activity.scheduled_event_id,
            retry_state=decision.state,
        ),
    )
    return decision


def _decide(draft: Draft, activity: Activity, cause: Failure | None) -> RetryDecision:
    """S-29. The limits of a policy do not end a paused activity: its next attempt waits for the pause to end."""
    attempt = progress_of(draft.state, activity.scheduled_event_id).attempt
    decision = decide_retry(activity, attempt, cause, draft.now_ns)
    if decision.state in _BY_LIMITS and pause_of(draft.state, activity) is not None:
        return RetryDecision(enums.RETRY_STATE_IN_PROGRESS)
    return decision


def close(draft: Draft, activity: Activity, attributes: Message) -> None:
    """Write (or buffer) Started when the attempt had started, then the close event, and wake the workflow."""
    state = draft.state
    key = activity.scheduled_event_id
    attempt = running(state, activity)
    if attempt is not None and not activity.started_event_id:
        progress = progress_of(state, key)
        started = build_event(
            history.ActivityTaskStartedEventAttributes(
                scheduled_event_id=key,
                identity=attempt.identity,
                request_id=attempt.request_id,
                attempt=progress.attempt,
                last_failure=Failure.FromString(progress.last_failure)
                if progress.last_failure
                else None,
                worker_version=common.WorkerVersionStamp(build_id=progress.started_build_id)
                if progress.started_build_id
                else None,
            ),
            time_ns=attempt.started_ns,
        )
        if state.workflow_task_is_started:
            draft.buffer(started)
        else:
            draft.add_event(started)
    pending = state.activities[key]
    if pending.started_event_id:
        attributes.started_event_id = pending.started_event_id  # pyright: ignore[reportAttributeAccessIssue]  -- every close event has it
    if key in state.activity_progress:
        draft.fact(FactKind.ACTIVITY, str(key), None)
    draft.buffer_or_add(attributes)
    schedule_workflow_task(draft)


def close_after_commands(draft: Draft, activity: Activity, attributes: Message) -> None:
    """Close an activity that was not started, from a command: the event follows the commands' events (S-1)."""
    key = activity.scheduled_event_id
    if key in draft.state.activity_progress:
        draft.fact(FactKind.ACTIVITY, str(key), None)
    draft.buffer(build_event(attributes, time_ns=draft.now_ns))


def timeout_failure(kind: enums.TimeoutType.ValueType) -> Failure:
    return Failure(
        message=f"activity {TIMEOUT_NAMES[kind]} timeout",
        source="Server",
        timeout_failure_info=failure.TimeoutFailureInfo(timeout_type=kind),
    )


def _fitting(draft: Draft, cause: Failure) -> Failure:
    """`cause`, or when it is too large to keep between attempts, its head."""
    limit = draft.env.limits.activity_last_failure_bytes_max
    if cause.ByteSize() <= limit:
        return cause
    result = headed(cause, limit)
    result.server_failure_info.non_retryable = False
    return result
