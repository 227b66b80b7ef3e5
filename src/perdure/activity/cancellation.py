"""Why an activity is cancelled. Clients need this too, for activities that are completed from outside."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ActivityCancellationDetails:
    """Why the activity is being cancelled. Set once.

    Attributes:
        not_found: The server does not know this attempt (any more).
        cancel_requested: Somebody asked for it.
        paused: It was paused.
        reset: It was reset.
        timed_out: A time-out has passed.
        worker_shutdown: The worker is stopping.
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
