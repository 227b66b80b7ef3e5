"""What happened outside the engine: acknowledged requests and executed activity attempts. Checkers compare with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from perdure import activity


@dataclass
class Ledger:
    """The record of one world. No crash affects it."""

    started: dict[str, str] = field(default_factory=dict[str, str])
    """Acknowledged starts: workflow id -> run id."""
    signals: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Acknowledged signals: workflow id -> signal values."""
    results: dict[str, object] = field(default_factory=dict[str, object])
    attempts: Counter[tuple[str, str, int]] = field(default_factory=Counter[tuple[str, str, int]])
    """(run id, activity id, attempt) -> how often it was executed."""

    diary: dict[tuple[str, str], list[tuple[int, float]]] = field(
        default_factory=dict[tuple[str, str], list[tuple[int, float]]]
    )
    """(run id, step) -> history length and virtual time at which code that was not replaying took the step."""
    now_s: Callable[[], float] = float
    """The simulated time."""

    meant: dict[str, str] = field(default_factory=dict[str, str])
    """Acknowledged signals to a named run: signal name -> run id."""

    blundered: set[str] = field(default_factory=set[str])
    """Workflows whose worker has already sent its bad completion (workloads/blunders.py)."""

    def note_attempt(self) -> None:
        """Count an attempt; every activity calls this first."""
        info = activity.info()
        assert info.workflow_run_id is not None
        self.attempts[info.workflow_run_id, info.activity_id, info.attempt] += 1


class Current:
    """The ledger of the running world, for activities, which are module-level functions."""

    ledger = Ledger()
