"""Entities in memory, bounded in bytes, least recently used first out; and the tail of each run's history.

Invariants: absence is an entry too (`state` None); an entry with a pending commit is never evicted; an entry is only
dropped when none of its commits is pending any more. What is in the cache belongs to a shard that is ready.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from perdure.core.ids import EntityKey, EntityKind
from perdure.history.state import RunState
from perdure.wire.events import frames

if TYPE_CHECKING:
    from perdure.history.transition import EventRow
    from perdure.server.group import Group
    from perdure.server.shard import Shard

TAIL_BYTES_MAX = 256 * 1024
"""Of the newest events of a run that are kept for polls and history reads."""
SHRINK_TRIES = 64
_ENTRY_BYTES = 3_000
_PENDING_BYTES = 1_500


class HistoryTail:
    """The newest event rows of a run, contiguous."""

    __slots__ = ("_rows", "size_bytes")

    def __init__(self) -> None:
        self._rows: deque[EventRow] = deque()
        self.size_bytes = 0

    def append(self, row: EventRow) -> None:
        self._rows.append(row)
        self.size_bytes += len(row.data)
        while self.size_bytes > TAIL_BYTES_MAX and len(self._rows) > 1:
            self.size_bytes -= len(self._rows.popleft().data)

    def range(self, first_event_id: int, last_event_id: int) -> list[bytes] | None:
        """The framed events of the range, or None when it begins before the tail."""
        if not self._rows or first_event_id < self._rows[0].first_event_id:
            return None
        return trim(self._rows, first_event_id, last_event_id)


def trim(
    rows: deque[EventRow] | list[EventRow], first_event_id: int, last_event_id: int
) -> list[bytes]:
    """The framed events of rows in order, cut to the range."""
    found: list[bytes] = []
    for row in rows:
        last = row.first_event_id + row.count - 1
        if last < first_event_id or row.first_event_id > last_event_id:
            continue
        if row.first_event_id >= first_event_id and last <= last_event_id:
            found.append(row.data)
            continue
        start = max(first_event_id - row.first_event_id, 0)
        stop = min(last_event_id - row.first_event_id + 1, row.count)
        found.append(b"".join(list(frames(row.data))[start:stop]))
    return found


class Entry:
    """An entity in memory."""

    __slots__ = (
        "durable_event_id",
        "is_held",
        "key",
        "number",
        "pending",
        "shard",
        "state",
        "tail",
        "wake_at_ns",
    )

    def __init__(self, key: EntityKey, shard: Shard) -> None:
        self.key = key
        self.shard = shard
        self.number = 0
        """0: not stored."""
        self.state: Any = None
        """A `RunState`, `CurrentRun` or `NamespaceFact`; None: there is no such entity."""
        self.wake_at_ns = 0
        """The bound as written last, durable or not; 0: none."""
        self.is_held = False
        """As written last: a worker holds something of the run."""
        self.pending: Group | None = None
        """The last uncommitted change: the barrier of everything computed on this entity."""
        self.durable_event_id = 0
        self.tail = HistoryTail()

    @property
    def size_bytes(self) -> int:
        size = _ENTRY_BYTES + self.tail.size_bytes
        if isinstance(self.state, RunState):
            state = self.state
            size += _PENDING_BYTES * (
                len(state.activities)
                + len(state.timers)
                + len(state.buffered)
                + len(state.children)
            )
        return size

    def clear(self) -> None:
        """The entity is gone."""
        self.number = 0
        self.state = None
        self.wake_at_ns = 0
        self.is_held = False
        self.tail = HistoryTail()


class EntityCache:
    """All entries of a node."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._entries: OrderedDict[EntityKey, Entry] = OrderedDict()
        self._sizes: dict[EntityKey, int] = {}
        self._pins: Counter[EntityKey] = Counter()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: EntityKey) -> bool:
        return key in self._entries

    def get(self, key: EntityKey) -> Entry | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def add(self, entry: Entry) -> None:
        assert entry.key not in self._entries, entry.key
        self._entries[entry.key] = entry
        self.resize(entry)

    def resize(self, entry: Entry) -> None:
        """Count the entry's size again, after a change."""
        if self._entries.get(entry.key) is entry:
            size = entry.size_bytes
            self.size_bytes += size - self._sizes.get(entry.key, 0)
            self._sizes[entry.key] = size

    def drop(self, entry: Entry) -> None:
        """Forget the entry; the next reader loads it again. A no-op when it was dropped before."""
        if self._entries.get(entry.key) is entry:
            del self._entries[entry.key]
            self.size_bytes -= self._sizes.pop(entry.key)

    def drop_shard(self, shard: Shard) -> None:
        for entry in [e for e in self._entries.values() if e.shard is shard]:
            self.drop(entry)

    def runs(self) -> Iterator[Entry]:
        """Every run in memory, for diagnostics and tests."""
        return (e for e in self._entries.values() if e.key.kind is EntityKind.RUN)

    @contextmanager
    def pinned(self, keys: Collection[EntityKey]) -> Generator[None]:
        """Keep these once they are loaded, for a caller who waits for more: a small cache must not starve him."""
        self._pins.update(keys)
        try:
            yield
        finally:
            self._pins.subtract(keys)
            for key in keys:
                if not self._pins[key]:
                    del self._pins[key]

    def shrink(self) -> None:
        """Evict what is too much. Never called within a synchronous step, which may hold any entry."""
        tries = SHRINK_TRIES
        while self.size_bytes > self.bytes_max and self._entries and tries:
            key, entry = next(iter(self._entries.items()))
            if entry.pending is None and key not in self._pins:
                self.drop(entry)
            else:
                self._entries.move_to_end(key)
                tries -= 1
