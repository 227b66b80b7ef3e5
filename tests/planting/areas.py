"""The areas of the source, and the tests that have to find the bugs of each.

For each bug, the tests of its area that run its line come first, the most direct ones at the start, then tests of
other areas that run its line. At the end come tests that are run for every bug: they start processes, where coverage
does not see what they run; they interrupt threads, which hangs under coverage; or they are one long test. Tests of
whole programs (`tests/e2e`, `tests/conformance`) are left out: each takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path("src/perdure")


@dataclass(frozen=True, slots=True)
class Area:
    """A part of the source, and its tests.

    Attributes:
        sources: Folders, files or glob patterns below `src/perdure`.
        tests: Folders or files of the area's own tests, the most direct ones first.
        further: Folders or files with tests of other areas that run lines of this one.
        always: Tests of the area that are run for every bug that the others did not find.
        without: Glob patterns below `src/perdure` of files that belong to another area.
    """

    sources: tuple[str, ...]
    tests: tuple[str, ...]
    further: tuple[str, ...] = ()
    always: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def recorded(self) -> tuple[str, ...]:
        """The folders and files of tests whose lines are recorded, in the order in which they are run."""
        return self.tests + self.further

    def is_own(self, test: str) -> bool:
        """Whether a test belongs to the area itself."""
        return not any(is_below(test, place) for place in self.further)

    def files(self, root: Path) -> list[Path]:
        """The source files of the area, relative to the root of the repository."""
        base = root / SOURCE
        left_out = {path for pattern in self.without for path in _matching(base, [pattern])}
        return [
            path.relative_to(root) for path in _matching(base, self.sources) if path not in left_out
        ]


def is_below(test: str, place: str) -> bool:
    """Whether a test is in a folder, or in a file, of tests."""
    return test.startswith(place + ("::" if place.endswith(".py") else "/"))


def _matching(base: Path, patterns: Sequence[str]) -> list[Path]:
    found: set[Path] = set()
    for pattern in patterns:
        for path in base.glob(pattern):
            found |= set(path.rglob("*.py")) if path.is_dir() else {path}
    return sorted(found)


_SIMULATION = ("tests/simulation/test_scenarios.py", "tests/simulation/test_worlds.py")
_INTERRUPTING = (
    "tests/unit/worker/test_activity_steps.py",
    "tests/unit/worker/test_workflow_threads.py",
    "tests/unit/worker/test_blocked_workflows.py",
)
_REFERENCE = ("tests/reference/test_side_by_side.py",)

AREAS: dict[str, Area] = {
    "history": Area(
        ("history", "entity"),
        ("tests/unit/history", "tests/transcripts", "tests/properties", "tests/unit/server"),
        further=("tests/unit/worker", *_SIMULATION),
        always=_REFERENCE,
    ),
    "matching": Area(
        ("matching",),
        ("tests/unit/matching", "tests/unit/server", "tests/unit/frontend"),
    ),
    "replay": Area(
        ("replay",),
        ("tests/unit/replay", "tests/unit/worker_host", "tests/replay"),
        further=("tests/unit/worker",),
    ),
    "server": Area(
        ("server", "embedded"),
        ("tests/unit/server", "tests/unit/frontend", "tests/unit/embedded", *_SIMULATION),
        further=("tests/unit/worker", "tests/unit/client"),
        always=_REFERENCE,
        without=("server/time_skipping", "server/admin/audit.py"),
    ),
    "storage": Area(
        ("storage", "server/admin/audit.py"),
        ("tests/unit/storage", "tests/stores", "tests/unit/server"),
    ),
    "worker": Area(
        ("worker",),
        ("tests/unit/worker", "tests/unit/worker_host", "tests/unit/activity"),
        further=("tests/unit/testing", "tests/unit/workflow", "tests/replay", *_SIMULATION),
        always=_INTERRUPTING,
    ),
    "client": Area(
        ("client", "service"),
        ("tests/unit/client", "tests/unit/service"),
        further=("tests/unit/worker", "tests/unit/testing", *_SIMULATION),
    ),
    "vocabulary": Area(
        ("activity", "common", "converter", "workflow", "exceptions.py"),
        (
            "tests/unit/activity",
            "tests/unit/common",
            "tests/unit/converter",
            "tests/unit/workflow",
            "tests/unit/worker_host",
        ),
        further=("tests/unit/worker", "tests/unit/client", "tests/unit/testing", "tests/replay"),
    ),
    "cli": Area(
        ("cli", "rendering"),
        ("tests/unit/rendering", "tests/unit/cli"),
        always=("tests/unit/cli/test_app.py", "tests/unit/cli/test_session.py"),
    ),
    "testing": Area(
        ("testing", "server/time_skipping"),
        ("tests/unit/testing", "tests/simulation/test_loop.py"),
        further=_SIMULATION,
    ),
    "wire": Area(
        ("wire", "core"),
        ("tests/unit/wire", "tests/unit/core", "tests/unit/history", "tests/transcripts"),
        further=("tests/unit/server", "tests/unit/client", "tests/unit/worker_host"),
        always=("tests/unit/wire/test_lean_import.py",),
    ),
}
