"""The recorded answers of the reference; `make reference-record` writes them.

Each family of scripts has a file in `recordings/` with one line per step, so that changes are readable in review. Each
file names the version of the reference. When the pinned version changes, the scripts must be recorded again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.reference.servers import PACKAGE, pinned_version

FOLDER = Path(__file__).with_name("recordings")


def recorded(name: str) -> list[Any]:
    """The recorded answers of a script; empty when there are none."""
    steps: list[Any] = _load(name.partition(".")[0]).get("scripts", {}).get(name, [])
    return steps


def recorded_scripts() -> set[str]:
    """The names of all scripts that were recorded with the pinned version."""
    found: set[str] = set()
    for file in FOLDER.glob("*.json"):
        content = _load(file.stem)
        if content["reference"] == f"{PACKAGE} {pinned_version()}":
            found |= set(content["scripts"])
    return found


def write(answers: Mapping[str, list[Any]]) -> None:
    """Replace all recordings."""
    for file in FOLDER.glob("*.json"):
        file.unlink()
    FOLDER.mkdir(exist_ok=True)
    families: dict[str, list[str]] = {}
    for name in sorted(answers):
        families.setdefault(name.partition(".")[0], []).append(name)
    for family, names in families.items():
        scripts = ",\n".join(f"{json.dumps(name)}: [\n{_lines(answers[name])}\n]" for name in names)
        header = json.dumps(f"{PACKAGE} {pinned_version()}")
        text = f'{{"reference": {header}, "scripts": {{\n{scripts}\n}}}}\n'
        (FOLDER / f"{family}.json").write_text(text, encoding="utf-8")


def _lines(steps: list[Any]) -> str:
    return ",\n".join(json.dumps(step, ensure_ascii=False, separators=(",", ":")) for step in steps)


def _load(family: str) -> dict[str, Any]:
    file = FOLDER / f"{family}.json"
    if not file.exists():
        return {}
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
