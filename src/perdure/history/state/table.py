"""Dicts whose changes an open draft can undo.

Most tables of most runs stay empty. They begin as `EMPTY`, which all share; who sets something in one asks
`RunState.owned` for the run's own first.

Invariants: abandoning a draft costs what it changed; nothing is ever in `EMPTY`. Not here: what the tables of a run are
(`state`).
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


class _Empty(Table[Any, Any]):
    """There is nothing in it to remove, and nothing can be set.

    It never changes and so has a hash: data classes take only such values as the default of a field. A factory
    would be one call per table and run.
    """

    __slots__ = ()
    __hash__: Any = object.__hash__

    def set(self, key: Any, value: Any) -> None:
        raise AssertionError(f"{key!r} was to be set in the table of all runs: see RunState.owned")


EMPTY: Table[Any, Any] = _Empty(Journal())
