"""Bugs from patch files, each of which changes one file."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from difflib import SequenceMatcher
from pathlib import Path

from tests.planting.areas import Area
from tests.planting.plant import Plant

_TARGET = re.compile(r"^\+\+\+ b/(\S+)", re.MULTILINE)


def read(patch: Path, root: Path) -> Plant:
    """Read a patch as a bug in the current source.

    Raises:
        ValueError: The patch does not change exactly one file, or does not apply.
    """
    text = patch.read_text(encoding="utf-8")
    targets = _TARGET.findall(text)
    if len(targets) != 1:
        raise ValueError(f"{patch.name}: it must change one file, but changes {len(targets)}")
    (path,) = targets
    before = (root / path).read_text(encoding="utf-8")
    after = _patched(patch, before)
    lines, removed, added = _changes(before, after)
    end = len(before.encode())
    return Plant(path, lines[0], lines, "(patch)", patch.stem, 0, end, after, removed, added)


def area_of(plant: Plant, areas: Mapping[str, Area], root: Path) -> str:
    """The area whose tests have to find the bug.

    Raises:
        ValueError: Its file belongs to no area.
    """
    for name, area in areas.items():
        if Path(plant.path) in area.files(root):
            return name
    raise ValueError(f"{plant.path} belongs to no area")


def _patched(patch: Path, before: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "target.py"
        target.write_text(before, encoding="utf-8")
        command = [
            "patch",
            "--silent",
            "--no-backup-if-mismatch",
            "-i",
            str(patch.resolve()),
            str(target),
        ]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            raise ValueError(f"{patch.name}: does not apply: {done.stdout.decode().strip()}")
        return target.read_text(encoding="utf-8")


def _changes(before: str, after: str) -> tuple[tuple[int, ...], str, str]:
    """The changed lines of the old text (for an addition: the lines around it), and the old and new lines as text."""
    old, new = before.splitlines(), after.splitlines()
    lines: set[int] = set()
    removed: list[str] = []
    added: list[str] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            lines.update(range(i1 + 1, i2 + 1) if i2 > i1 else (i1, i1 + 1))
            removed += old[i1:i2]
            added += new[j1:j2]
    return (
        tuple(sorted(lines)),
        " ".join(" ".join(removed).split()),
        " ".join(" ".join(added).split()),
    )
