"""Behaviour flags: those on which earlier workers of this run relied, and those that this one adds.

A flag gates a change of behaviour that would break old histories. It is written once, in the
completion of the workflow task that first used it, and is in force for the rest of the run.

Invariants: nothing is written when the server cannot store SDK metadata, and then no flag may be
used for new work either; unknown numbers are kept out of decisions and never crash.

What is not here: what a flag changes (see the users of `Flag`).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import TYPE_CHECKING

from perdure.wire.api import sdk

if TYPE_CHECKING:
    from perdure.wire.api import history


class Flag(enum.IntEnum):
    """Engine flags, by their official numbers (R-49)."""

    ID_AND_TYPE_CHECKS = 1
    """Activity and child workflow ids and types must match the history."""
    UPSERT_SEARCH_ATTRIBUTE_ON_PATCH = 2
    """`patched()` also upserts TemporalChangeVersion."""
    MOVE_TERMINAL_COMMANDS = 3
    """Commands after the one that ends the workflow are kept, in front of it."""
    NEXUS_OPERATION_CHECKS = 4
    """Nexus service and operation must match the history."""


_ALL = frozenset(Flag)
_known_sets: dict[frozenset[int], frozenset[int]] = {}
_KNOWN_SETS_MAX = 100


def _shared(flags: frozenset[int]) -> frozenset[int]:
    """The same set for all runs that have the same flags, as nearly all do."""
    if len(_known_sets) < _KNOWN_SETS_MAX:
        return _known_sets.setdefault(flags, flags)
    return _known_sets.get(flags, flags)


class Flags:
    """The flags of one run."""

    __slots__ = (
        "_can_write",
        "_new_lang",
        "_sdk",
        "core",
        "history_sdk",
        "lang",
    )

    def __init__(self, *, can_write: bool, sdk_name: str, sdk_version: str) -> None:
        self._can_write = can_write
        self._sdk = (sdk_name, sdk_version)
        self.core: frozenset[int] = frozenset()
        self.lang: frozenset[int] = frozenset()
        """Language flags recorded so far."""
        self._new_lang: frozenset[int] = frozenset()
        self.history_sdk: tuple[str, str] = ("", "")
        """Name and version of the SDK that last completed a task of this run."""

    def observe(self, completed: history.WorkflowTaskCompletedEventAttributes) -> None:
        """Take over what a WorkflowTaskCompleted event records."""
        if not completed.HasField("sdk_metadata"):
            return
        metadata = completed.sdk_metadata
        if metadata.core_used_flags:
            self.core = _shared(self.core.union(metadata.core_used_flags))
        if metadata.lang_used_flags:
            self.lang = _shared(self.lang.union(metadata.lang_used_flags))
        name, version = self.history_sdk
        self.history_sdk = (metadata.sdk_name or name, metadata.sdk_version or version)

    def may_use(self, flag: Flag, *, record: bool) -> bool:
        """Whether `flag` applies. New work (`record`) uses all flags, unless they cannot be recorded."""
        if not record:
            return flag in self.core
        return self._can_write

    def add_lang(self, used: Iterable[int]) -> None:
        """Language flags that the last activation relied on."""
        self._new_lang = self._new_lang.union(used)

    def take_metadata(self) -> sdk.WorkflowTaskCompletedMetadata:
        """What to write into the completion of the current task: only flags that history lacks."""
        if not self._can_write:
            return sdk.WorkflowTaskCompletedMetadata()
        new_core = _ALL - self.core
        new_lang = self._new_lang - self.lang
        core, lang = sorted(new_core), sorted(new_lang)
        if core:
            self.core = _shared(self.core | new_core)
        if lang:
            self.lang = _shared(self.lang | new_lang)
        self._new_lang = frozenset()
        name, version = self._sdk
        known_name, known_version = self.history_sdk
        return sdk.WorkflowTaskCompletedMetadata(
            core_used_flags=core,
            lang_used_flags=lang,
            sdk_name="" if name == known_name else name,
            sdk_version="" if version == known_version else version,
        )
