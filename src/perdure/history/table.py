"""Dicts whose changes an open draft can undo.

Invariant: abandoning a draft costs what it changed. Not here: what the tables of a run are (`state`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")
Undo = list[tuple[Callable[..., object], tuple[Any, ...]]]
"""Steps back: what to call, and with what."""


class Journal:
    """How to undo an open draft: `undo` is None while there is none, as when folding from storage."""

    __slots__ = ("scalars", "undo")

    def __init__(self) -> None:
        self.undo: Undo | None = None
        self.scalars: tuple[Any, ...] = ()
        """The values of all scalar slots when the draft was opened."""


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
                undo.append((self.__setitem__, (key, self[key])))
            else:
                undo.append((self.__delitem__, (key,)))
        self[key] = value

    def remove(self, key: K) -> V | None:
        """Remove `key`; None when it was not there."""
        if key not in self:
            return None
        old = self.pop(key)
        undo = self._journal.undo
        if undo is not None:
            undo.append((self.__setitem__, (key, old)))
        return old
