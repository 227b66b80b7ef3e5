"""Which source is an area, and which tests have to notice its bugs.

The tests of an area are listed from the most direct to the least: a bug is shown to the first ones first. Tests that
run the product in other processes are not here, because the bug would have to be planted there as well, and because
they take seconds each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path("src/perdure")


@dataclass(frozen=True, slots=True)
class Area:
    """A part of the source with its tests.

    Attributes:
        sources: Folders, files or glob patterns below `src/perdure`.
        tests: Folders or files of tests, most direct first.
        without: Glob patterns below `src/perdure` that belong to another area.
    """

    sources: tuple[str, ...]
    tests: tuple[str, ...]
    without: tuple[str, ...] = ()

    def files(self, root: Path) -> list[Path]:
        """The source files of the area, relative to the root of the repository."""
        base = root / SOURCE
        left_out = {path for pattern in self.without for path in _matching(base, [pattern])}
        return [
            path.relative_to(root) for path in _matching(base, self.sources) if path not in left_out
        ]


def _matching(base: Path, patterns: Sequence[str]) -> list[Path]:
    found: set[Path] = set()
    for pattern in patterns:
        for path in base.glob(pattern):
            found |= set(path.rglob("*.py")) if path.is_dir() else {path}
    return sorted(found)


_SIMULATION = ("tests/simulation/test_scenarios.py", "tests/simulation/test_worlds.py")

AREAS: dict[str, Area] = {
    "history": Area(
        ("history",),
        ("tests/unit/history", "tests/transcripts", "tests/properties", "tests/unit/server"),
    ),
    "matching": Area(
        ("matching",), ("tests/unit/matching", "tests/unit/server", "tests/unit/frontend")
    ),
    "replay": Area(("replay",), ("tests/unit/replay", "tests/unit/worker_host", "tests/replay")),
    "server": Area(
        ("server", "embedded.py", "embedded_calls.py"),
        ("tests/unit/server", "tests/unit/frontend", "tests/unit/embedded", *_SIMULATION),
        without=("server/time_skipping*.py", "server/audit.py"),
    ),
    "storage": Area(
        ("storage", "server/audit.py"), ("tests/unit/storage", "tests/stores", "tests/unit/server")
    ),
    "worker": Area(
        ("worker",), ("tests/unit/worker", "tests/unit/worker_host", "tests/unit/activity")
    ),
    "client": Area(("client", "service"), ("tests/unit/client", "tests/unit/service")),
    "vocabulary": Area(
        ("activity", "common", "converter", "workflow", "exceptions.py"),
        (
            "tests/unit/activity",
            "tests/unit/common",
            "tests/unit/converter",
            "tests/unit/workflow",
            "tests/unit/worker_host",
        ),
    ),
    "cli": Area(("cli", "rendering"), ("tests/unit/rendering", "tests/unit/cli")),
    "testing": Area(
        ("testing", "server/time_skipping*.py"),
        ("tests/unit/testing", "tests/simulation/test_loop.py"),
    ),
    "wire": Area(
        ("wire", "core"),
        ("tests/unit/wire", "tests/unit/core", "tests/unit/history", "tests/transcripts"),
    ),
}
