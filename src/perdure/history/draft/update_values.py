"""What transitions and shell tell each other about updates: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from perdure.wire.api import failure, update


class TaskUpdates(NamedTuple):
    """What the shell knows of the updates that no worker has accepted yet."""

    sent: Mapping[str, update.Request] = {}
    """Those that the completed workflow task carried, by id."""
    others_wait: bool = False
    """Others came since: the next workflow task must carry them, if the run goes on."""


class UpdateAdmission(NamedTuple):
    """The run knows the update, or has just let it in."""

    run_id: str
    is_new: bool
    """It is not in history: the shell keeps it for the next workflow task."""


class UpdateRejection(NamedTuple):
    """A worker, or the server in its place, refused an update."""

    update_id: str
    failure: failure.Failure


class UpdateView(NamedTuple):
    """How an update stands, in a run's history."""

    is_running: bool
    is_accepted: bool
    completed_event_id: int
    last_started_event_id: int
    """Of the last completed workflow task: an answer that came with it, or before it, is durable."""
    last_event_id: int


NO_UPDATES = TaskUpdates()


def server_failure(message: str, kind: str) -> failure.Failure:
    """A failure that the server reports as an update's outcome; it is not retried."""
    info = failure.ApplicationFailureInfo(type=kind, non_retryable=True)
    return failure.Failure(message=message, source="Server", application_failure_info=info)
