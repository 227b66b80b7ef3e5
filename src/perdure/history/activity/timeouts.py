"""The deadlines of activities: four time-outs and the pause between attempts.

Role: one row per kind for `deadlines`. Times come from the state alone; heartbeats move theirs without touching the
heap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.history.activity.close import attempt_timed_out, back_to_queue
from perdure.history.activity.phase import clocks_of, progress_of
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
    return expiration_ns(state.activities[key]) if clocks_of(state, key).scheduled_ns else 0


def _schedule_to_start_ns(state: RunState, key: int) -> int:
    since_ns = clocks_of(state, key).waiting_ns
    timeout_ns = state.activities[key].schedule_to_start_ns if since_ns else 0
    return since_ns + timeout_ns if timeout_ns else 0


def _start_to_close_ns(state: RunState, key: int) -> int:
    since_ns = clocks_of(state, key).running_ns
    return since_ns + state.activities[key].start_to_close_ns if since_ns else 0


def _heartbeat_ns(state: RunState, key: int) -> int:
    since_ns = clocks_of(state, key).running_ns
    timeout_ns = state.activities[key].heartbeat_ns if since_ns else 0
    if not timeout_ns:
        return 0
    # Heartbeats that said nothing new live in memory only: after a load the worker gets a full interval (DESIGN 10.8).
    heard_ns = max(progress_of(state, key).last_heartbeat_ns, state.heard_ns.get(key, 0))
    return max(since_ns, heard_ns, state.loaded_ns) + timeout_ns


def _retry_ns(state: RunState, key: int) -> int:
    return clocks_of(state, key).retry_at_ns


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


def arm_retry(draft: Draft, activity: Activity) -> None:
    """The end of a back-off that has just begun."""
    key = activity.scheduled_event_id
    arm(draft, DeadlineKind.ACTIVITY_RETRY, _retry_ns(draft.state, key), key)


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
