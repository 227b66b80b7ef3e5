"""The known differences between the reference and our server, which are listed in `differences.txt`.

The file has blocks. Each begins with a status and a reason, `to mend: …` or `on purpose: …`. The indented entries
below have four patterns, `script | path | reference | ours`, in which `*` matches anything. Differences on purpose
stay; those to mend are bugs of ours. Invariants: a difference without an entry fails the test, and so does an entry
that matches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from tests.reference.compare import Found

FILE = Path(__file__).with_name("differences.txt")


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

    def __str__(self) -> str:
        return " | ".join(self[:4])


def parse(text: str) -> list[Difference]:
    """Parse the entries of the file."""
    entries: list[Difference] = []
    status, reason = Status.TO_MEND, ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            reason = ""
        elif not line.startswith(" "):
            head, _, reason = line.partition(": ")
            status = Status(head)
        else:
            patterns = line.strip().split(" | ")
            assert reason, f"{FILE.name}:{number}: this entry has no reason"
            assert len(patterns) == 4, (
                f"{FILE.name}:{number}: expected script | path | reference | ours"
            )
            script, path, reference, ours = patterns
            entries.append(Difference(script, path, reference, ours, status, reason))
    return entries


class Ledger:
    """The known differences, and which of them have occurred."""

    def __init__(self, known: Iterable[Difference] | None = None) -> None:
        self._known = parse(FILE.read_text(encoding="utf-8")) if known is None else list(known)
        self._met: set[Difference] = set()

    def unexpected(self, script: str, found: Iterable[Found]) -> list[Found]:
        """The differences that no entry covers. Entries that cover one are marked as used."""
        result: list[Found] = []
        for difference in found:
            entries = [entry for entry in self._known if entry.covers(script, difference)]
            self._met.update(entries)
            if not entries:
                result.append(difference)
        return result

    @property
    def stale(self) -> list[str]:
        """Entries that nothing matched."""
        return [str(entry) for entry in self._known if entry not in self._met]


def _matches(pattern: str, text: str) -> bool:
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(expression, text, re.DOTALL) is not None
