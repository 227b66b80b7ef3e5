"""Harmless survivors: planted changes that no test can find, or should find, each with the reason.

The lists are in `harmless_survivors/`, one file per area. An entry names a change by file, function, operator and the
edited line before and after. When that line changes, the entry matches nothing, and a test fails.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from tests.planting.plant import Plant

HARMLESS = Path(__file__).with_name("harmless_survivors")

Key = tuple[str, str, str, str, str]


def load(folder: Path = HARMLESS) -> dict[Key, str]:
    """Load the entries of all areas: bug → reason.

    Raises:
        ValueError: An entry has no reason, or there are two of the same bug.
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
            raise ValueError(f"harmless: there are two entries of {key}")
        reasons[key] = entry["why"]
    return reasons


def entry(plant: Plant, why: str) -> str:
    """An entry for `harmless_survivors/AREA.toml`, as text."""
    values = dict(zip(("file", "function", "kind", "before", "after"), plant.key, strict=True))
    lines = [f"{name} = {_quoted(value)}" for name, value in (values | {"why": why}).items()]
    return "\n".join(["[[harmless]]", *lines, ""])


def _quoted(text: str) -> str:
    return f"'{text}'" if "'" not in text else f"'''{text}'''"
