"""Pausing and unpausing of activities.

A paused attempt is in no queue, and none of the activity's time-outs counts. A worker that has it learns of the pause
by heartbeat, and may still end it: a failure is then kept, and the next attempt waits for the pause to end, whatever
the limits of the retry policy say. The rules are those of the reference server 1.32 (`tests/reference`).

Not here: what else follows from a pause (`activity.phase`), the end of an attempt (`activity.close`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

from perdure.core.units import later_ns
from perdure.history.activity.close import advance
from perdure.history.activity.phase import pause_of, progress_of, running
from perdure.history.draft.draft import Draft
from perdure.history.state.facts import ActivityPause
from perdure.wire.api import workflowservice
from perdure.wire.errors import (
    FailedPrecondition,
    not_found,
    shown,
)
from perdure.wire.times import duration_ns

if TYPE_CHECKING:
    from perdure.entity.env import Env
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.facts import ActivityProgress
    from perdure.history.state.run_state import Activity, RunState

_NAMES_MAX = 3
"""Of activities, in one message."""
PauseRequest = workflowservice.PauseActivityRequest
UnpauseRequest = workflowservice.UnpauseActivityRequest
ResetRequest = workflowservice.ResetActivityRequest


def pause_activity(state: RunState, request: PauseRequest, env: Env) -> RunTransition:
    """Pause the activity with an id, or those of a type that are not paused yet. A repeat changes nothing.

    Raises:
        NotFound: The run has closed, or no such activity is pending.
        FailedPrecondition: All of them are paused already, by another request.
    """
    activities = chosen(state, request)
    known = [pause_of(state, activity) for activity in activities]
    if all(pause and pause.request_id != request.request_id for pause in known):
        raise FailedPrecondition(f"Already paused: {_names(activities)}.")
    with Draft(state, env) as draft:
        for activity, pause in zip(activities, known, strict=True):
            if pause is None:
                _pause(draft, activity, request)
        return draft.done(workflowservice.PauseActivityResponse())


def unpause_activity(state: RunState, request: UnpauseRequest, env: Env) -> RunTransition:
    """Let activities go on; those that are not paused stay as they are.

    Raises:
        NotFound: The run has closed, or no such activity is pending.
    """
    activities = chosen(state, request)
    with Draft(state, env) as draft:
        for activity in activities:
            if pause_of(state, activity) is not None:
                _unpause(draft, activity, request)
        return draft.done(workflowservice.UnpauseActivityResponse())


def chosen(
    state: RunState, request: PauseRequest | UnpauseRequest | ResetRequest
) -> list[Activity]:
    """The activities that a request means.

    Raises:
        NotFound: The run has closed, or no such activity is pending.
    """
    if not state.is_running:
        raise not_found("workflow execution already completed")
    if request.HasField("id"):
        key = state.activity_ids.get(request.id)
        what, found = (
            f"with the id {shown(request.id)!r}",
            [] if key is None else [state.activities[key]],
        )
    elif request.HasField("type"):
        what = f"of the type {shown(request.type)!r}"
        found = [each for each in state.activities.values() if each.activity_type == request.type]
    else:
        return list(state.activities.values())
    if not found:
        raise not_found(f"Workflow {shown(state.key.name)} has no pending activity {what}.")
    return found


def _names(activities: list[Activity]) -> str:
    names = ", ".join(shown(activity.activity_id) for activity in activities[:_NAMES_MAX])
    others = len(activities) - _NAMES_MAX
    return f"{names} and {others} more" if others > 0 else names


def _pause(draft: Draft, activity: Activity, request: PauseRequest) -> None:
    progress = progress_of(draft.state, activity.scheduled_event_id)
    is_running = running(draft.state, activity) is not None
    paused = msgspec.structs.replace(
        progress,
        # The row that waits becomes stale; the token that a worker has stays valid.
        stamp=progress.stamp if is_running else progress.stamp + 1,
        pause=ActivityPause(
            paused_ns=draft.now_ns,
            identity=request.identity,
            reason=request.reason,
            request_id=request.request_id,
        ),
    )
    advance(draft, activity, paused)


def _unpause(draft: Draft, activity: Activity, request: UnpauseRequest) -> None:
    progress = progress_of(draft.state, activity.scheduled_event_id)
    if request.reset_attempts:
        progress = msgspec.structs.replace(progress, attempt=1)
    if request.reset_heartbeat:
        progress = without_heartbeat(progress)
    if running(draft.state, activity) is None:
        progress = queued_again(draft, progress, duration_ns(request.jitter))
    advance(draft, activity, msgspec.structs.replace(progress, pause=None))


def without_heartbeat(progress: ActivityProgress) -> ActivityProgress:
    """The progress without heartbeat details, so that the next attempt starts without them."""
    return msgspec.structs.replace(progress, heartbeat_details=b"", last_heartbeat_ns=0)


def queued_again(draft: Draft, progress: ActivityProgress, jitter_ns: int) -> ActivityProgress:
    """An attempt that no worker has, in its queue: now, or at some time within the jitter.

    Activities that go on together need not start together. The last failure is forgotten, as on the reference server.
    """
    delay_ns = jitter_ns * crc32(draft.env.new_id().encode()) >> 32 if jitter_ns > 0 else 0
    at_ns = later_ns(draft.now_ns, delay_ns)
    return msgspec.structs.replace(
        progress,
        scheduled_ns=at_ns,
        next_attempt_ns=at_ns if delay_ns else 0,
        retry_interval_ns=delay_ns,
        last_failure=b"",
    )
