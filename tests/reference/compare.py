"""Compares two normalised results field by field.

Placeholders are compared in pairs: the first time that a placeholder of the reference is compared with one of ours, the
two become a pair, and each then equals only the other. So a field that is missing on one side does not change the
comparison of later ones. Not here: which differences are expected (`differences`).
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, cast

ABSENT = "(absent)"
_PLACEHOLDER = re.compile(r"<(?:id|token) \d+>")


class Found(NamedTuple):
    """One difference: its place, and the value on each side."""

    path: str
    reference: str
    ours: str

    def __str__(self) -> str:
        return f"{self.path}\n    reference: {self.reference}\n    ours:      {self.ours}"


def compare(reference: Any, ours: Any) -> list[Found]:
    """All differences between two JSON values."""
    comparison = _Comparison()
    comparison.values("", reference, ours)
    return comparison.found


class _Comparison:
    def __init__(self) -> None:
        self.found: list[Found] = []
        self._pairs: dict[str, str] = {}
        self._back: dict[str, str] = {}

    def values(self, path: str, reference: Any, ours: Any) -> None:
        kinds = _kind(reference), _kind(ours)
        if kinds == ("dict", "dict"):
            self._dicts(path, reference, ours)
        elif kinds == ("list", "list"):
            self._lists(path, reference, ours)
        elif isinstance(reference, str) and isinstance(ours, str):
            if not self._same_text(reference, ours):
                self._differ(path, reference, ours)
        elif reference != ours or kinds[0] != kinds[1]:
            self._differ(path, reference, ours)

    def _dicts(self, path: str, reference: dict[str, Any], ours: dict[str, Any]) -> None:
        for key in [*reference, *(key for key in ours if key not in reference)]:
            inner = f"{path}.{key}" if path else key
            self.values(inner, reference.get(key, ABSENT), ours.get(key, ABSENT))

    def _lists(self, path: str, reference: list[Any], ours: list[Any]) -> None:
        names, our_names = [_name(item) for item in reference], [_name(item) for item in ours]
        if names != our_names:
            self._differ(path, *((names, our_names) if any(names) else (reference, ours)))
        for index, (one, other) in enumerate(zip(reference, ours, strict=False)):
            if names[index] != our_names[index]:
                break
            self.values(f"{path}[{index + 1}{names[index]}]", one, other)

    def _same_text(self, reference: str, ours: str) -> bool:
        if _PLACEHOLDER.split(reference) != _PLACEHOLDER.split(ours):
            return False
        pairs = zip(_PLACEHOLDER.findall(reference), _PLACEHOLDER.findall(ours), strict=True)
        return all(self._same_placeholder(one, other) for one, other in pairs)

    def _same_placeholder(self, reference: str, ours: str) -> bool:
        if reference.split(maxsplit=1)[0] != ours.split(maxsplit=1)[0]:
            return False
        if reference not in self._pairs and ours not in self._back:
            self._pairs[reference], self._back[ours] = ours, reference
        return self._pairs.get(reference) == ours and self._back.get(ours) == reference

    def _differ(self, path: str, reference: Any, ours: Any) -> None:
        self.found.append(Found(path, _shown(reference), _shown(ours)))


def _name(item: Any) -> str:
    """A label for an item of a list: the type of an event or the name of a call."""
    if not isinstance(item, dict):
        return ""
    fields = cast("dict[str, Any]", item)
    name = str(fields.get("call") or fields.get("event_type") or "")
    return f" {name.removeprefix('EVENT_TYPE_')}" if name else ""


def _kind(value: Any) -> str:
    return type(cast("object", value)).__name__


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
