"""Resets activities, so that they start again with their first attempt.

An attempt that a worker has goes on, counted as the first one; the worker learns of the reset by heartbeat, unless its
token is that of a later attempt, which is valid no more. So it is on the reference server 1.32 (`tests/reference`).

Not here: options that differ from those of the schedule command, which `restore_original_options` would take back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perdure.history.activity.close import advance
from perdure.history.activity.pause import chosen, queued_again, without_heartbeat
from perdure.history.activity.phase import pause_of, progress_of, running
from perdure.history.draft.draft import Draft
from perdure.history.state.facts import ActivityReset
from perdure.wire.api import workflowservice
from perdure.wire.times import duration_ns

if TYPE_CHECKING:
    from perdure.entity.env import Env
    from perdure.history.activity.pause import ResetRequest
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.run_state import Activity, RunState


def reset_activity(state: RunState, request: ResetRequest, env: Env) -> RunTransition:
    """Let activities begin again; those that are paused go on, unless the request keeps them paused.

    Raises:
        NotFound: The run has closed, or no such activity is pending.
    """
    activities = chosen(state, request)
    with Draft(state, env) as draft:
        for activity in activities:
            _reset(draft, activity, request)
        return draft.done(workflowservice.ResetActivityResponse())


def _reset(draft: Draft, activity: Activity, request: ResetRequest) -> None:
    state = draft.state
    stays_paused = request.keep_paused and pause_of(state, activity) is not None
    progress = progress_of(state, activity.scheduled_event_id)
    progress = msgspec.structs.replace(
        progress, attempt=1, pause=progress.pause if stays_paused else None
    )
    if running(state, activity) is not None:
        progress = msgspec.structs.replace(progress, reset=ActivityReset(request.reset_heartbeat))
    else:
        # The row that waits becomes stale.
        progress = msgspec.structs.replace(progress, stamp=progress.stamp + 1)
        if request.reset_heartbeat:
            progress = without_heartbeat(progress)
        if not stays_paused:
            progress = queued_again(draft, progress, duration_ns(request.jitter))
    advance(draft, activity, progress)
