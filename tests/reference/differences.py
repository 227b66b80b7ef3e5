"""Where our server differs from the reference, and why.

Each entry names scripts and a path by patterns (`*` stands for anything), what either server has there, and a reason.
Invariants: a difference without an entry fails the test; an entry that matches nothing fails it too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from tests.reference.compare import Found


class Status(Enum):
    ON_PURPOSE = "on purpose"
    TO_MEND = "to mend"


class Difference(NamedTuple):
    """One known difference."""

    script: str
    path: str
    reference: str
    ours: str
    status: Status
    reason: str

    def covers(self, script: str, found: Found) -> bool:
        values = (script, found.path, found.reference, found.ours)
        return all(_matches(p, value) for p, value in zip(self[:4], values, strict=True))


ABSENT, ANY, MEND = "(absent)", "*", Status.TO_MEND

DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        ANY,
        "*StartWorkflowExecution].response.link",
        ANY,
        ABSENT,
        MEND,
        "links to events are not given",
    ),
    Difference(
        ANY,
        "*.workflow_execution_info.auto_reset_points*",
        ANY,
        ABSENT,
        MEND,
        "reset points are not kept",
    ),
    Difference(ANY, "*.state_transition_count", ANY, ABSENT, MEND, "transitions are not counted"),
    Difference(
        ANY, "*.run_expiration_time", "<no time>", ABSENT, MEND, "an unlimited run has year 1 there"
    ),
    Difference(
        ANY,
        "*_started_event_attributes.task_queue.kind",
        "TASK_QUEUE_KIND_NORMAL",
        ABSENT,
        MEND,
        "kind not filled in",
    ),
    Difference(ANY, "*.first_workflow_task_backoff", "0s", ABSENT, MEND, "zero is not written"),
    Difference(
        ANY,
        "*.root_workflow_execution",
        ABSENT,
        ANY,
        MEND,
        "only runs with a parent should have it",
    ),
    Difference(
        ANY, "*.search_attributes.indexed_fields*", "*BuildIds*", ANY, MEND, "BuildIds is not kept"
    ),
)


class Ledger:
    """Which of the known differences were met."""

    def __init__(self, known: Iterable[Difference] = DIFFERENCES) -> None:
        self._known = tuple(known)
        self._met: set[Difference] = set()

    def unexpected(self, script: str, found: Iterable[Found]) -> list[Found]:
        """The differences that no entry covers; entries that cover one count as met."""
        result: list[Found] = []
        for difference in found:
            entries = [entry for entry in self._known if entry.covers(script, difference)]
            self._met.update(entries)
            if not entries:
                result.append(difference)
        return result

    @property
    def stale(self) -> list[Difference]:
        """Entries that nothing matched."""
        return [entry for entry in self._known if entry not in self._met]


def _matches(pattern: str, text: str) -> bool:
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(expression, text, re.DOTALL) is not None
