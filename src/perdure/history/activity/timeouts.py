"""The deadlines of activities: four time-outs and the pause between attempts.

Role: one row per kind for `deadlines`. Times come from the state alone; heartbeats move theirs without touching the
heap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from perdure.history.activity.close import attempt_timed_out, back_to_queue
from perdure.history.activity.phase import BackingOff, Running, Waiting, phase_of, progress_of
from perdure.history.activity.retry import expiration_ns
from perdure.history.draft.deadlines import arm, deadline
from perdure.history.state.run_state import DeadlineKind
from perdure.wire.api import enums

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure.history.draft.draft import Draft
    from perdure.history.state.run_state import Activity, RunState


def _keys(state: RunState) -> Iterable[int]:
    return tuple(state.activities)


def _schedule_to_close_ns(state: RunState, key: int) -> int:
    activity = state.activities.get(key)
    return expiration_ns(activity) if activity is not None else 0


def _schedule_to_start_ns(state: RunState, key: int) -> int:
    activity = state.activities.get(key)
    if activity is None or not activity.schedule_to_start_ns:
        return 0
    phase = phase_of(state, activity)
    match phase:
        case Waiting(since_ns):
            return since_ns + activity.schedule_to_start_ns
        case BackingOff() | Running():
            return 0
        case _:
            assert_never(phase)


def _start_to_close_ns(state: RunState, key: int) -> int:
    activity = state.activities.get(key)
    if activity is None:
        return 0
    phase = phase_of(state, activity)
    match phase:
        case Running(started_ns):
            return started_ns + activity.start_to_close_ns
        case Waiting() | BackingOff():
            return 0
        case _:
            assert_never(phase)


def _heartbeat_ns(state: RunState, key: int) -> int:
    activity = state.activities.get(key)
    if activity is None or not activity.heartbeat_ns:
        return 0
    phase = phase_of(state, activity)
    match phase:
        case Running(started_ns):
            # Heartbeats that said nothing new live in memory only: after a load the worker gets a full interval
            # (DESIGN 10.8).
            told_ns = progress_of(state, key).last_heartbeat_ns
            heard_ns = max(started_ns, told_ns, state.heard_ns.get(key, 0))
            return max(heard_ns, state.loaded_ns) + activity.heartbeat_ns
        case Waiting() | BackingOff():
            return 0
        case _:
            assert_never(phase)


def _retry_ns(state: RunState, key: int) -> int:
    activity = state.activities.get(key)
    if activity is None:
        return 0
    phase = phase_of(state, activity)
    match phase:
        case BackingOff(until_ns):
            return until_ns
        case Waiting() | Running():
            return 0
        case _:
            assert_never(phase)


def arm_scheduled(draft: Draft, activity: Activity) -> None:
    """Deadlines of an activity that was just scheduled; schedule-to-start is `dispatch`'s."""
    if due_ns := _schedule_to_close_ns(draft.state, activity.scheduled_event_id):
        arm(draft, DeadlineKind.ACTIVITY_SCHEDULE_TO_CLOSE, due_ns, activity.scheduled_event_id)


def arm_started(draft: Draft, activity: Activity) -> None:
    """Deadlines of an attempt that was just started."""
    key = activity.scheduled_event_id
    if due_ns := _start_to_close_ns(draft.state, key):
        arm(draft, DeadlineKind.ACTIVITY_START_TO_CLOSE, due_ns, key)
    if due_ns := _heartbeat_ns(draft.state, key):
        arm(draft, DeadlineKind.ACTIVITY_HEARTBEAT, due_ns, key)


@deadline(DeadlineKind.ACTIVITY_SCHEDULE_TO_CLOSE, keys=_keys, due_ns=_schedule_to_close_ns)
def _on_schedule_to_close(draft: Draft, key: int) -> None:
    attempt_timed_out(draft, draft.state.activities[key], enums.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE)


@deadline(DeadlineKind.ACTIVITY_SCHEDULE_TO_START, keys=_keys, due_ns=_schedule_to_start_ns)
def _on_schedule_to_start(draft: Draft, key: int) -> None:
    attempt_timed_out(draft, draft.state.activities[key], enums.TIMEOUT_TYPE_SCHEDULE_TO_START)


@deadline(DeadlineKind.ACTIVITY_START_TO_CLOSE, keys=_keys, due_ns=_start_to_close_ns)
def _on_start_to_close(draft: Draft, key: int) -> None:
    attempt_timed_out(draft, draft.state.activities[key], enums.TIMEOUT_TYPE_START_TO_CLOSE)


@deadline(DeadlineKind.ACTIVITY_HEARTBEAT, keys=_keys, due_ns=_heartbeat_ns)
def _on_heartbeat(draft: Draft, key: int) -> None:
    attempt_timed_out(draft, draft.state.activities[key], enums.TIMEOUT_TYPE_HEARTBEAT)


@deadline(DeadlineKind.ACTIVITY_RETRY, keys=_keys, due_ns=_retry_ns)
def _on_retry(draft: Draft, key: int) -> None:
    back_to_queue(draft, draft.state.activities[key])
