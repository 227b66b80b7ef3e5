"""What a checker says when a promise was not kept: a kind with a name, and the evidence.

Invariant: only a `Violation` counts as noticed (`mutations.py`). Any other exception fails a world too, but says
nothing about what the world watches.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """The promises."""

    LOST = "something acknowledged is lost"
    TWICE = "one request or attempt counted twice"
    RESULT = "a result is not what the workflow computes"
    STUCK = "something never ends"
    HISTORY = "a history breaks a rule"
    MEMORY = "memory and storage differ"
    DATABASE = "the database contradicts itself"
    LEFT_OVER = "something is left although everything has ended"
    LATE = "a deadline passed and nothing happened"
    EARLY = "something happened before its time"
    WRONG_RUN = "an effect reached a run that was not meant"
    RETENTION = "a run was deleted that had to stay, or stays that had to go"
    STALE_READ = "an answer does not contain what was acknowledged before"
    PLAINTEXT = "a payload travelled without its codec"
    REPLAY = "replayed code was told that it runs for the first time"
    CANCELLED = "one caller's departure cancelled the call of another"
    REFUSED = "a node without faults refused a call"
    UNFORESEEN = "the server met an error that nobody foresaw"


class Violation(AssertionError):
    """A promise that was not kept."""

    def __init__(self, kind: Kind, evidence: str) -> None:
        super().__init__(f"{kind.name}: {evidence}")
        self.kind = kind


def require(condition: object, kind: Kind, evidence: str) -> None:
    """The promise holds.

    Raises:
        Violation: It does not.
    """
    if not condition:
        raise Violation(kind, evidence)
