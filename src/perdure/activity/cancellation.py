"""Why an activity is cancelled. Clients use it too, for activities that are completed from outside."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ActivityCancellationDetails:
    """Why the activity was cancelled. Several reasons may be true.

    Attributes:
        not_found: The server does not know this attempt, or not any more.
        cancel_requested: Cancellation was requested.
        paused: The activity was paused.
        reset: The activity was reset.
        timed_out: A time-out has passed.
        worker_shutdown: The worker is shutting down.
    """

    not_found: bool = False
    cancel_requested: bool = False
    paused: bool = False
    reset: bool = False
    timed_out: bool = False
    worker_shutdown: bool = False


@dataclass
class CancellationDetailsHolder:
    """Where the worker puts the details, once."""

    details: ActivityCancellationDetails | None = None
