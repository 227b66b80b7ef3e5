"""The exception that a checker raises when a promise was not kept: a kind and the evidence.

Invariant: for `mutations.py` only a `Violation` counts. Any other exception fails a world too, but does not show that a
check noticed something.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """Which promise was not kept."""

    LOST = "something acknowledged is lost"
    TWICE = "one request or attempt counted twice"
    RESULT = "a result is not what the workflow computes"
    STUCK = "something never ends"
    HISTORY = "a history breaks a rule"
    MEMORY = "memory and storage differ"
    DATABASE = "the database contradicts itself"
    LEFT_OVER = "something is left after everything has ended"
    LATE = "a deadline passed and nothing happened"
    EARLY = "something happened before its time"
    WRONG_RUN = "an effect reached the wrong run"
    RETENTION = "a run was deleted too early, or not at all"
    STALE_READ = "an answer lacks what was acknowledged before"
    PLAINTEXT = "a payload was sent without being encoded"
    REPLAY = "replaying code was told that it is not replaying"
    CANCELLED = "a caller that left cancelled the call of another"
    REFUSED = "a node without faults refused a call"
    UNFORESEEN = "the server logged an unexpected error"


class Violation(AssertionError):
    """A promise that was not kept."""

    def __init__(self, kind: Kind, evidence: str) -> None:
        super().__init__(f"{kind.name}: {evidence}")
        self.kind = kind


def require(condition: object, kind: Kind, evidence: str) -> None:
    """Raise unless the condition holds.

    Raises:
        Violation: It does not.
    """
    if not condition:
        raise Violation(kind, evidence)
