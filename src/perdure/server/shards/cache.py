"""Entities in memory, bounded in bytes, least recently used first out; and the tail of each run's history.

Closed runs are bounded in number besides: nearly all of them are never asked for again, and each would cost memory and
the garbage collector's time until the bytes are used up. They leave together with the pointer to them.

Invariants: absence is an entry too (`state` None); an entry with a pending commit is never evicted; an entry is only
dropped when none of its commits is pending any more. What is in the cache belongs to a shard that is ready.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from perdure.core.ids import EntityKey, EntityKind, workflow_id_key
from perdure.wire.events import frames

if TYPE_CHECKING:
    from perdure.entity.transition import EventRow
    from perdure.server.shards.group import Group
    from perdure.server.shards.shard import Shard

TAIL_BYTES_MAX = 256 * 1024
"""Of the newest events of a run that are kept for polls and history reads."""
SHRINK_TRIES = 64
CLOSED_RUNS_MAX = 128
"""Closed runs that are kept, beyond those whose end was just told and which their callers are about to read."""
_ENTRY_BYTES = 1_000
_RUN_BYTES = 3_500
_PENDING_BYTES = 700
"""Measured with tracemalloc: a pointer has 720 bytes, a run 3,200 and its tail, a pending activity 600 to 680 and its
attributes, whether there are 1, 100 or 2,000 of them, half of them started."""


class HistoryTail:
    """The newest event rows of a run, contiguous."""

    __slots__ = ("_rows", "size_bytes")

    def __init__(self) -> None:
        self._rows: list[EventRow] = []
        self.size_bytes = 0

    def append(self, row: EventRow) -> None:
        self._rows.append(row)
        self.size_bytes += len(row.data)
        if self.size_bytes > TAIL_BYTES_MAX:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Half of what may be kept stays, so that this is rare; the newest row in any case."""
        count = 0
        while self.size_bytes > TAIL_BYTES_MAX // 2 and count < len(self._rows) - 1:
            self.size_bytes -= len(self._rows[count].data)
            count += 1
        del self._rows[:count]

    def range(self, first_event_id: int, last_event_id: int) -> list[bytes] | None:
        """The framed events of the range, or None when it begins before the tail."""
        if not self._rows or first_event_id < self._rows[0].first_event_id:
            return None
        # From the end: nearly always the newest rows are asked for, of thousands.
        rows: list[EventRow] = []
        for row in reversed(self._rows):
            if row.first_event_id <= last_event_id:
                rows.append(row)
                if row.first_event_id <= first_event_id:
                    break
        rows.reverse()
        return trim(rows, first_event_id, last_event_id)


_NO_TAIL = HistoryTail()
"""Of entities that have no history: nothing is ever appended."""


def trim(rows: Sequence[EventRow], first_event_id: int, last_event_id: int) -> list[bytes]:
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
        stop = last_event_id - row.first_event_id + 1
        found.append(b"".join(list(frames(row.data))[start:stop]))
    return found


class Entry:
    """An entity in memory."""

    __slots__ = (
        "counted_bytes",
        "durable_event_id",
        "is_held",
        "is_used",
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
        self.tail = HistoryTail() if key.kind is EntityKind.RUN else _NO_TAIL
        self.is_used = True
        """Asked for since the cache last thought of evicting it."""
        self.counted_bytes = 0
        """As the cache counts it at present; 0: it is not in the cache."""

    @property
    def size_bytes(self) -> int:
        state = self.state
        if state is None or self.key.kind is not EntityKind.RUN:
            return _ENTRY_BYTES
        pending = (
            len(state.activities) + len(state.timers) + len(state.buffered) + len(state.children)
        )
        bytes_kept = self.tail.size_bytes + state.activity_bytes + state.buffered.size_bytes
        bytes_kept += len(state.info.started_attributes)
        return _RUN_BYTES + bytes_kept + _PENDING_BYTES * pending

    @property
    def is_closed_run(self) -> bool:
        state = self.state
        return self.key.kind is EntityKind.RUN and state is not None and not state.is_running

    def clear(self) -> None:
        """The entity is gone."""
        self.number = 0
        self.state = None
        self.wake_at_ns = 0
        self.is_held = False
        self.tail = HistoryTail() if self.tail is not _NO_TAIL else _NO_TAIL


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

    def add(self, entry: Entry) -> None:
        assert entry.key not in self._entries, entry.key
        self._entries[entry.key] = entry
        entry.counted_bytes = entry.size_bytes
        self.size_bytes += entry.counted_bytes
        if entry.is_closed_run:
            self.note_closed(entry)

    def resize(self, entry: Entry) -> None:
        """Count the entry's size again, after a change."""
        if entry.counted_bytes:
            size = entry.size_bytes
            self.size_bytes += size - entry.counted_bytes
            entry.counted_bytes = size

    def drop(self, entry: Entry) -> None:
        """Forget the entry; the next reader loads it again. A no-op when it was dropped before."""
        if entry.counted_bytes:
            del self._entries[entry.key]
            self.size_bytes -= entry.counted_bytes
            entry.counted_bytes = 0

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
            if entry.is_used or entry.pending is not None or key in self._pins:
                entry.is_used = False
                self._entries.move_to_end(key)
                tries -= 1
            else:
                self.drop(entry)

    def note_closed(self, entry: Entry) -> None:
        """The run has closed, durably, or was loaded as a closed one: it is kept for a while."""
        entry.is_used = False
        self._closed.append(entry)

    def forget_closed(self) -> None:
        """Evict the closed runs that are too many; one that was asked for meanwhile gets another turn.

        Called when a batch is durable, before its runs are noted: the readers of those must find them.
        """
        for _ in range(len(self._closed) - CLOSED_RUNS_MAX):
            entry = self._closed.popleft()
            if not entry.counted_bytes:
                continue  # dropped before
            key = entry.key
            if entry.is_used or entry.pending is not None or key in self._pins:
                self.note_closed(entry)
                continue
            self.drop(entry)
            pointer = self._entries.get(workflow_id_key(key.namespace_id, key.name))
            if (
                pointer is not None
                and pointer.pending is None
                and pointer.key not in self._pins
                and pointer.state is not None
                and pointer.state.run_id == key.run_id
            ):
                self.drop(pointer)
