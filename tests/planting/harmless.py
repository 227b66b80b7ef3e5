"""Survivors that are no bugs: each with the reason why no test can, or should, notice it.

The lists are in `harmless_survivors/`, a file per area. An entry names its bug by file, function, operator and the
edited line before and after, so it is void as soon as that line changes; a test refuses entries that match no bug.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from tests.planting.plant import Plant

HARMLESS = Path(__file__).with_name("harmless_survivors")

Key = tuple[str, str, str, str, str]


def load(folder: Path = HARMLESS) -> dict[Key, str]:
    """Bug → reason, of all areas.

    Raises:
        ValueError: An entry has no reason, or stands twice.
    """
    reasons: dict[Key, str] = {}
    entries = [
        entry
        for path in sorted(folder.glob("*.toml"))
        for entry in tomllib.loads(path.read_text(encoding="utf-8"))["harmless"]
    ]
    for entry in entries:
        key: Key = (
            entry["file"],
            entry["function"],
            entry["kind"],
            entry["before"],
            entry["after"],
        )
        if not entry.get("why", "").strip():
            raise ValueError(f"harmless: {key} needs a reason in `why`")
        if key in reasons:
            raise ValueError(f"harmless: {key} stands twice")
        reasons[key] = entry["why"]
    return reasons


def entry(plant: Plant, why: str) -> str:
    """The text to put into `harmless_survivors/AREA.toml` for a bug."""
    values = dict(zip(("file", "function", "kind", "before", "after"), plant.key, strict=True))
    lines = [f"{name} = {_quoted(value)}" for name, value in (values | {"why": why}).items()]
    return "\n".join(["[[harmless]]", *lines, ""])


def _quoted(text: str) -> str:
    return f"'{text}'" if "'" not in text else f"'''{text}'''"
