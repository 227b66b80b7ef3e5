"""Where an activity's current attempt stands, as a sum type computed in one place.

`phase_of` is the only reader of what the state stores about it. Callers match its result exhaustively, so that a new
phase is a type error wherever nobody has decided what it means. A request to cancel is not a phase: an attempt with one
waits or runs as others do, and its event is in the history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import msgspec

from perdure.core.ids import QueueKey, QueueKind
from perdure.entity.transition import WantedTask
from perdure.history.state.facts import ActivityProgress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perdure.history.state.run_state import Activity, RunState

FRESH = ActivityProgress()


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """In its task queue, for a worker to take it."""

    since_ns: int


class BackingOff(msgspec.Struct, frozen=True, gc=False):
    """The attempt before it failed: it enters its queue when the interval is over (rule 29)."""

    until_ns: int


class Running(msgspec.Struct, frozen=True, gc=False):
    """A worker has it (rule 28)."""

    started_ns: int
    request_id: str
    """Of the poll that took it."""
    identity: str


AttemptPhase = Waiting | BackingOff | Running


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
        return Running(progress.started_ns, progress.started_request_id, progress.started_identity)
    if progress.next_attempt_ns:
        return BackingOff(progress.next_attempt_ns)
    return Waiting(attempt_scheduled_ns(activity, progress))


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
        case BackingOff() | Running():
            return None
        case _:
            assert_never(phase)


def running_attempts(state: RunState) -> Iterator[Running]:
    """The attempts that workers have."""
    for activity in state.activities.values():
        phase = phase_of(state, activity)
        if isinstance(phase, Running):
            yield phase
