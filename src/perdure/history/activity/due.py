"""When the deadlines of an activity are: four time-outs and the end of a back-off.

Times come from the state alone; heartbeats move theirs without touching the heap.
Not here: which clocks run in which phase (`activity.phase`), what happens when one is due (`activity.timeouts`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from perdure.history.activity.phase import clocks_of, progress_of
from perdure.history.activity.retry import expiration_ns
from perdure.history.draft.deadlines import arm
from perdure.history.state.run_state import DeadlineKind

if TYPE_CHECKING:
    from perdure.history.activity.phase import Clocks
    from perdure.history.draft.deadlines import DueNs
    from perdure.history.draft.draft import Draft
    from perdure.history.state.run_state import Activity, RunState


def _schedule_to_close(_state: RunState, activity: Activity, clocks: Clocks) -> int:
    return expiration_ns(activity) if clocks.scheduled_ns else 0


def _schedule_to_start(_state: RunState, activity: Activity, clocks: Clocks) -> int:
    if not clocks.waiting_ns or not activity.schedule_to_start_ns:
        return 0
    return clocks.waiting_ns + activity.schedule_to_start_ns


def _start_to_close(_state: RunState, activity: Activity, clocks: Clocks) -> int:
    return clocks.running_ns + activity.start_to_close_ns if clocks.running_ns else 0


def _heartbeat(state: RunState, activity: Activity, clocks: Clocks) -> int:
    if not clocks.running_ns or not activity.heartbeat_ns:
        return 0
    key = activity.scheduled_event_id
    # Heartbeats that said nothing new live in memory only: after a load the worker gets a full interval (D-48).
    heard_ns = max(progress_of(state, key).last_heartbeat_ns, state.heard_ns.get(key, 0))
    return max(clocks.running_ns, heard_ns, state.loaded_ns) + activity.heartbeat_ns


def _retry(_state: RunState, _activity: Activity, clocks: Clocks) -> int:
    return clocks.retry_at_ns


_DUE: dict[DeadlineKind, Callable[[RunState, Activity, Clocks], int]] = {
    DeadlineKind.ACTIVITY_SCHEDULE_TO_START: _schedule_to_start,
    DeadlineKind.ACTIVITY_SCHEDULE_TO_CLOSE: _schedule_to_close,
    DeadlineKind.ACTIVITY_START_TO_CLOSE: _start_to_close,
    DeadlineKind.ACTIVITY_HEARTBEAT: _heartbeat,
    DeadlineKind.ACTIVITY_RETRY: _retry,
}


def due_ns(kind: DeadlineKind) -> DueNs:
    """When such a deadline is, for `deadlines`."""
    due = _DUE[kind]

    def of_pending(state: RunState, key: int) -> int:
        activity = state.activities.get(key)
        return 0 if activity is None else due(state, activity, clocks_of(state, activity))

    return of_pending


def arm_all(draft: Draft, activity: Activity) -> None:
    """The deadlines of the phase that the attempt has just entered."""
    clocks = clocks_of(draft.state, activity)
    for kind, due in _DUE.items():
        if at_ns := due(draft.state, activity, clocks):
            arm(draft, kind, at_ns, activity.scheduled_event_id)
