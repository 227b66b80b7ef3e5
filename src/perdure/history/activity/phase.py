"""The phase of an activity's current attempt, as a sum type computed in one place.

`phase_of` is the only reader of what the state stores about it. What follows from a phase is answered below it, by
functions that match every phase: a new phase is a type error in each of them until it is decided there.
A request to cancel is not a phase: an attempt with one waits or runs as others do, and its event is in the history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, assert_never

import msgspec

from perdure.core.ids import QueueKey, QueueKind
from perdure.entity.transition import WantedTask
from perdure.history.state.facts import ActivityProgress
from perdure.wire.api import enums, workflow, workflowservice
from perdure.wire.times import duration, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perdure.history.state.facts import ActivityPause
    from perdure.history.state.run_state import Activity, RunState

HeartbeatReply = (
    workflowservice.RecordActivityTaskHeartbeatResponse
    | workflowservice.RecordActivityTaskHeartbeatByIdResponse
)
FRESH = ActivityProgress()


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """In its task queue, for a worker to take it."""

    since_ns: int


class BackingOff(msgspec.Struct, frozen=True, gc=False):
    """The attempt before it failed: it enters its queue when the interval is over (S-29)."""

    until_ns: int


class Running(msgspec.Struct, frozen=True, gc=False):
    """A worker has it (S-28)."""

    started_ns: int
    request_id: str
    """Of the poll that took it."""
    identity: str
    pause: ActivityPause | None = None
    """Set when the worker is to stop: it learns of that by heartbeat."""
    is_reset: bool = False
    """The same: the activity is to begin again."""


class Paused(msgspec.Struct, frozen=True, gc=False):
    """No worker has it, and none may take it before the pause ends."""

    pause: ActivityPause


AttemptPhase = Waiting | BackingOff | Running | Paused


def progress_of(state: RunState, scheduled_event_id: int) -> ActivityProgress:
    """How far the activity is: as scheduled, until a fact says more."""
    return state.activity_progress.get(scheduled_event_id, FRESH)


def attempt_scheduled_ns(activity: Activity, progress: ActivityProgress) -> int:
    """When the current attempt was, or will be, put on its queue."""
    return progress.scheduled_ns or activity.scheduled_ns


def phase_of(state: RunState, activity: Activity) -> AttemptPhase:
    """The phase of a pending activity's current attempt."""
    progress = progress_of(state, activity.scheduled_event_id)
    if progress.is_started:
        return Running(
            progress.started_ns,
            progress.started_request_id,
            progress.started_identity,
            progress.pause,
            progress.reset is not None,
        )
    if progress.pause is not None:
        return Paused(progress.pause)
    if progress.next_attempt_ns:
        return BackingOff(progress.next_attempt_ns)
    return Waiting(attempt_scheduled_ns(activity, progress))


# What follows from a phase: each question is answered here, for every phase.


def wanted_task(state: RunState, activity: Activity) -> WantedTask | None:
    """What the run wants in a queue so that this attempt is started; None when it wants nothing there."""
    phase = phase_of(state, activity)
    match phase:
        case Waiting(since_ns):
            return WantedTask(
                queue=QueueKey(state.key.namespace_id, activity.queue_name, QueueKind.ACTIVITY),
                scheduled_event_id=activity.scheduled_event_id,
                stamp=progress_of(state, activity.scheduled_event_id).stamp,
                visible_ns=since_ns,
                priority=activity.priority,
            )
        case BackingOff() | Running() | Paused():
            return None
        case _:
            assert_never(phase)


class Clocks(NamedTuple):
    """Since when each time-out of an activity counts; 0 for one that does not count in this phase."""

    scheduled_ns: int = 0
    """Schedule-to-close."""
    waiting_ns: int = 0
    """Schedule-to-start."""
    running_ns: int = 0
    """Start-to-close and heartbeat."""
    retry_at_ns: int = 0
    """When the back-off is over."""


_STOPPED = Clocks()


def clocks_of(state: RunState, activity: Activity) -> Clocks:
    """The clocks that run; a pause stops them all."""
    phase = phase_of(state, activity)
    match phase:
        case Waiting(since_ns):
            return Clocks(activity.scheduled_ns, waiting_ns=since_ns)
        case BackingOff(until_ns):
            return Clocks(activity.scheduled_ns, retry_at_ns=until_ns)
        case Running(started_ns, pause=None):
            return Clocks(activity.scheduled_ns, running_ns=started_ns)
        case Running() | Paused():
            return _STOPPED
        case _:
            assert_never(phase)


def running(state: RunState, activity: Activity) -> Running | None:
    """The attempt that a worker has; None when none has it."""
    phase = phase_of(state, activity)
    match phase:
        case Running():
            return phase
        case Waiting() | BackingOff() | Paused():
            return None
        case _:
            assert_never(phase)


def pause_of(state: RunState, activity: Activity) -> ActivityPause | None:
    """The pause of the activity, whether or not a worker has it; None when it is not paused."""
    phase = phase_of(state, activity)
    match phase:
        case Running(pause=pause) | Paused(pause):
            return pause
        case Waiting() | BackingOff():
            return None
        case _:
            assert_never(phase)


def running_attempts(state: RunState) -> Iterator[Running]:
    """The attempts that workers have."""
    for activity in state.activities.values():
        if (attempt := running(state, activity)) is not None:
            yield attempt


def shown(state: RunState, activity: Activity, now_ns: int) -> workflow.PendingActivityInfo:
    """What a description of the run says of the phase."""
    result = workflow.PendingActivityInfo()
    phase = phase_of(state, activity)
    match phase:
        case Waiting():
            result.state = enums.PENDING_ACTIVITY_STATE_SCHEDULED
        case BackingOff(until_ns):
            result.state = enums.PENDING_ACTIVITY_STATE_SCHEDULED
            if until_ns > now_ns:
                interval_ns = progress_of(state, activity.scheduled_event_id).retry_interval_ns
                result.next_attempt_schedule_time.CopyFrom(timestamp(until_ns))
                result.current_retry_interval.CopyFrom(duration(interval_ns))
        case Running(pause=None):
            result.state = enums.PENDING_ACTIVITY_STATE_STARTED
        case Running():
            result.state = enums.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED
        case Paused():
            result.state = enums.PENDING_ACTIVITY_STATE_PAUSED
        case _:
            assert_never(phase)
    if activity.cancel_requested_event_id:
        result.state = enums.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
    if (pause := pause_of(state, activity)) is not None:
        result.paused = True
        result.pause_info.pause_time.CopyFrom(timestamp(pause.paused_ns))
        result.pause_info.manual.identity = pause.identity
        result.pause_info.manual.reason = pause.reason
    return result


def tell_worker(state: RunState, activity: Activity, response: HeartbeatReply) -> None:
    """What the answer to a heartbeat asks of the worker that has the attempt."""
    response.cancel_requested = activity.cancel_requested_event_id != 0
    response.activity_paused = pause_of(state, activity) is not None
    attempt = running(state, activity)
    response.activity_reset = attempt is not None and attempt.is_reset
