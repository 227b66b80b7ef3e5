"""Dicts whose changes an open draft can undo.

Invariant: abandoning a draft costs what it changed. Not here: what the tables of a run are (`state`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")
Undo = list[Callable[[], object]]


class Journal:
    """Old values of an open draft, or None while folding from storage."""

    __slots__ = ("undo",)

    def __init__(self) -> None:
        self.undo: Undo | None = None


class Table(dict[K, V]):
    """A dict whose changes a draft can undo. Change it through `set` and `remove` only."""

    __slots__ = ("_journal",)

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def set(self, key: K, value: V) -> None:
        undo = self._journal.undo
        if undo is not None:
            if key in self:
                old = self[key]
                undo.append(lambda: self.__setitem__(key, old))
            else:
                undo.append(lambda: self.__delitem__(key))
        self[key] = value

    def remove(self, key: K) -> V | None:
        """Remove `key`; None when it was not there."""
        if key not in self:
            return None
        old = self.pop(key)
        undo = self._journal.undo
        if undo is not None:
            undo.append(lambda: self.__setitem__(key, old))
        return old
