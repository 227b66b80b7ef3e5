"""Handles deadlines of an activity that pass: one row per kind for `deadlines`.

Not here: when that is (`activity.due`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.history.activity.close import attempt_timed_out, back_to_queue
from perdure.history.activity.due import due_ns
from perdure.history.draft.deadlines import deadline
from perdure.history.state.run_state import DeadlineKind
from perdure.wire.api import enums

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure.history.draft.draft import Draft
    from perdure.history.state.run_state import RunState


def _keys(state: RunState) -> Iterable[int]:
    return tuple(state.activities)


@deadline(
    DeadlineKind.ACTIVITY_SCHEDULE_TO_CLOSE,
    keys=_keys,
    due_ns=due_ns(DeadlineKind.ACTIVITY_SCHEDULE_TO_CLOSE),
)
def _on_schedule_to_close(draft: Draft, key: int) -> None:
    attempt_timed_out(draft, draft.state.activities[key], enums.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE)


@deadline(
    DeadlineKind.ACTIVITY_SCHEDULE_TO_START,
    keys=_keys,
    due_ns=due_ns(DeadlineKind.ACTIVITY_SCHEDULE_TO_START),
)
def _on_schedule_to_start(draft: Draft, key: int) -> None:
    attempt_timed_out(draft, draft.state.activities[key], enums.TIMEOUT_TYPE_SCHEDULE_TO_START)


@deadline(
    DeadlineKind.ACTIVITY_START_TO_CLOSE,
    keys=_keys,
    due_ns=due_ns(DeadlineKind.ACTIVITY_START_TO_CLOSE),
)
def _on_start_to_close(draft: Draft, key: int) -> None:
    attempt_timed_out(draft, draft.state.activities[key], enums.TIMEOUT_TYPE_START_TO_CLOSE)


@deadline(
    DeadlineKind.ACTIVITY_HEARTBEAT, keys=_keys, due_ns=due_ns(DeadlineKind.ACTIVITY_HEARTBEAT)
)
def _on_heartbeat(draft: Draft, key: int) -> None:
    attempt_timed_out(draft, draft.state.activities[key], enums.TIMEOUT_TYPE_HEARTBEAT)


@deadline(DeadlineKind.ACTIVITY_RETRY, keys=_keys, due_ns=due_ns(DeadlineKind.ACTIVITY_RETRY))
def _on_retry(draft: Draft, key: int) -> None:
    back_to_queue(draft, draft.state.activities[key])
