"""Differences between the official core (1.35) and our engine that are meant, each with its reason.

Anything else is a bug. An entry applies when ours says "ok" and the core's message matches; then
the activations up to the core's failure must still be equal.
"""

from __future__ import annotations

import re
from typing import Final

KNOWN: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    (
        (
            "An activity cancelled with ABANDON that later fails, times out or is cancelled wedges "
            "the core; the server may write these events, so we ignore them."
        ),
        re.compile(
            r"ActivityMachine in state Canceled says the transition is invalid during event "
            r"EventInfo \{ event_id: \d+, event_type: ActivityTask(Failed|TimedOut|Canceled) \}"
        ),
    ),
    (
        (
            "The core takes a nexus operation that ends after being cancelled with ABANDON for "
            "nondeterminism (its check is the wrong way round); we ignore the event."
        ),
        re.compile(r"Nexus operation which don't have the ABANDON cancellation type"),
    ),
)


def reason(message: str) -> str | None:
    """Why the core is allowed to differ, or None."""
    return next((why for why, pattern in KNOWN if pattern.search(message)), None)
