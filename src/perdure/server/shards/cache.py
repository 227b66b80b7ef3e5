"""Entities in memory: a least-recently-used cache, bounded in bytes.

The number of closed entities is bounded as well. Most of them are never requested again, and until the byte limit is
reached each would cost memory and garbage-collection time. They are evicted together with the neighbours that are
useless without them.

Invariants: absence is an entry too (`state` None); an entry with a pending commit is never evicted; an entry is only
dropped when none of its commits is pending any more. Every entry in the cache belongs to a shard that is ready, or
that is suspended and readable.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.core.ids import EntityKey
    from perdure.server.shards.group import Entry
    from perdure.server.shards.shard import Shard

SHRINK_TRIES = 64
CLOSED_MAX = 128
"""How many closed entities are kept, besides those that have just closed and that their callers are about to read."""


class EntityCache:
    """All entries of a node."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._entries: OrderedDict[EntityKey, Entry] = OrderedDict()
        self._closed: deque[Entry] = deque()
        self._pins: Counter[EntityKey] = Counter()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: EntityKey) -> bool:
        return key in self._entries

    def get(self, key: EntityKey) -> Entry | None:
        entry = self._entries.get(key)
        if entry is not None:
            entry.is_used = True
        return entry

    def get_all(self, keys: Collection[EntityKey]) -> list[Entry] | None:
        """Like `get` for each of the keys; None if one of them is not in memory."""
        # Not by `get`: 18 calls per workflow.
        entries: list[Entry] = []
        for key in keys:
            entry = self._entries.get(key)
            if entry is None:
                return None
            entry.is_used = True
            entries.append(entry)
        return entries

    def add(self, entry: Entry) -> None:
        assert entry.key not in self._entries, entry.key
        self._entries[entry.key] = entry
        entry.counted_bytes = entry.size_bytes
        self.size_bytes += entry.counted_bytes
        if entry.is_closed:
            self.note_closed(entry)

    def resize(self, entry: Entry) -> None:
        """Update the cached size of the entry after a change."""
        if entry.counted_bytes:
            size = entry.size_bytes
            self.size_bytes += size - entry.counted_bytes
            entry.counted_bytes = size

    def drop(self, entry: Entry) -> None:
        """Remove the entry; the next reader loads it again. Does nothing if it was already dropped."""
        if entry.counted_bytes:
            del self._entries[entry.key]
            self.size_bytes -= entry.counted_bytes
            entry.counted_bytes = 0

    def drop_shard(self, shard: Shard) -> None:
        for entry in [e for e in self._entries.values() if e.shard is shard]:
            self.drop(entry)

    def of_kind(self, number: int) -> Iterator[Entry]:
        """Every entity of a kind in memory, for diagnostics and tests."""
        return (entry for entry in self._entries.values() if entry.key.kind == number)

    @contextmanager
    def pinned(self, keys: Collection[EntityKey]) -> Generator[None]:
        """Pin these entries until the caller has loaded the rest; otherwise a small cache could evict them first."""
        pins = self._pins
        for key in keys:  # `Counter.update` and `subtract` take longer for two keys
            pins[key] = pins.get(key, 0) + 1
        try:
            yield
        finally:
            for key in keys:
                pins[key] -= 1
                if not pins[key]:
                    del pins[key]

    def shrink(self) -> None:
        """Evict entries until the limit is met. Never call this within a synchronous step, which may hold any entry."""
        tries = SHRINK_TRIES
        while self.size_bytes > self.bytes_max and self._entries and tries:
            key, entry = next(iter(self._entries.items()))
            if entry.is_used or entry.pending is not None or key in self._pins:
                entry.is_used = False
                self._entries.move_to_end(key)
                tries -= 1
            else:
                self.drop(entry)

    def note_closed(self, entry: Entry) -> None:
        """Keep for a while an entity that has closed durably or was loaded closed."""
        entry.is_used = False
        self._closed.append(entry)

    def forget_closed(self) -> None:
        """Evict surplus closed entities. One that was requested in the meantime is kept for another round.

        Called when a batch is durable, before its own closed entities are noted: their readers must still find them.
        """
        for _ in range(len(self._closed) - CLOSED_MAX):
            entry = self._closed.popleft()
            if not entry.counted_bytes:
                continue  # dropped before
            key = entry.key
            if entry.is_used or entry.pending is not None or key in self._pins:
                self.note_closed(entry)
                continue
            self.drop(entry)
            for neighbour_key in entry.type.neighbours(key):
                neighbour = self._entries.get(neighbour_key)
                if (
                    neighbour is not None
                    and neighbour.pending is None
                    and neighbour.key not in self._pins
                    and entry.type.is_left_alone(key, neighbour.state)
                ):
                    self.drop(neighbour)
