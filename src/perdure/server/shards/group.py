"""Entities in memory, and the unit of commit: the writes of one synchronous step and their consequences.

A group is written completely or not at all. Once it is durable or has failed, its host performs the consequences.
Groups are *linked* when they touch the same entity: if one is dropped, later ones were computed from a state that never
became durable, so they are dropped too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from perdure.entity.transition import EventRow
from perdure.server.common.codec import encode_fact
from perdure.server.shards.tail import NO_TAIL, EventTail
from perdure.storage.port import EntityWrite, FactRow, OutboxRow, TaskRow

if TYPE_CHECKING:
    from perdure.core.ids import EntityKey, TaskRowId
    from perdure.entity.entity_type import EntityType
    from perdure.entity.transition import Effect, FactChange, Task
    from perdure.server.matching.ports import InlineWork, Poller
    from perdure.server.shards.shard import Shard
    from perdure.wire.errors import RpcError


class SyncMatch(NamedTuple):
    """A task that was started for a parked poller in the batch that scheduled it (D-6)."""

    poller: Poller
    task: Task
    reply: Any
    """The reply for the worker, of the task's own type."""


class Offer(NamedTuple):
    task: Task
    row: TaskRowId


class OutboxEffect(NamedTuple):
    """An effect that was put into the outbox."""

    source: Entry
    sequence: int
    effect: Effect


class GroupHost(Protocol):
    """Performs the consequences of a commit."""

    def batch_written(self) -> None:
        """A batch is durable; `durable` is called for each of its groups next."""
        ...

    def durable(self, group: Group) -> None: ...

    def failed(self, group: Group, error: RpcError) -> None: ...


ENTRY_BYTES = 1_000
"""The counted size of an absent entity, and the overhead of every other one."""
_NONE = cast("list[Any]", ())
"""Shared in place of empty lists, to save memory: most lists of a group stay empty, and a settled group, whose outcome
may be read for another minute, needs none."""


class Entry:
    """An entity in memory."""

    __slots__ = (
        "counted_bytes",
        "durable_event_id",
        "has_task_in_flight",
        "is_used",
        "key",
        "number",
        "pending",
        "shard",
        "state",
        "tail",
        "type",
        "wake_at_ns",
    )

    def __init__(self, key: EntityKey, shard: Shard, entity_type: EntityType[Any]) -> None:
        self.key = key
        self.shard = shard
        self.type = entity_type
        self.number = 0
        """0: not stored."""
        self.state: Any = None
        """The state, as its type defines it; None: there is no such entity."""
        self.wake_at_ns = 0
        """The wake-up bound as last written, durable or not; 0: none."""
        self.has_task_in_flight = False
        """Whether a task of the entity is in flight, as last written."""
        self.pending: Group | None = None
        """The last uncommitted change: the barrier for everything computed from this entity."""
        self.durable_event_id = 0
        self.tail = EventTail() if entity_type.has_log else NO_TAIL
        self.is_used = True
        """Whether it was requested since the cache last considered evicting it."""
        self.counted_bytes = 0
        """The size with which the cache counts it; 0: it is not in the cache."""

    @property
    def size_bytes(self) -> int:
        if self.state is None:
            return ENTRY_BYTES
        return self.type.size_bytes(self.state) + self.tail.size_bytes

    @property
    def is_closed(self) -> bool:
        return self.state is not None and self.type.is_closed(self.state)

    def clear(self) -> None:
        """Make this the entry of an absent entity, after a deletion."""
        self.number = 0
        self.state = None
        self.wake_at_ns = 0
        self.has_task_in_flight = False
        self.tail = EventTail() if self.tail is not NO_TAIL else NO_TAIL


class Group:
    """The writes of one synchronous step. `step` fills it, `committer` writes it, and its host settles it.

    Args:
        shard: The shard of every entity in the group.
        host: Performs the consequences of the commit.
        read: The entries from which it was computed; written entries are added by `add`.
    """

    __slots__ = (
        "_facts", "_waiters", "entries", "error", "host", "inline", "is_broken", "is_settled", "may_work_inline",
        "offers", "outbox", "read", "shard", "size_bytes", "sync_matches", "writes",
    )  # fmt: skip

    def __init__(self, shard: Shard, host: GroupHost, read: Sequence[Entry] = ()) -> None:
        self.shard = shard
        self.host = host
        self.read = read
        self.writes: list[EntityWrite] = []
        """One per entity."""
        self.entries: list[Entry] = []
        """Parallel to `writes`."""
        self._facts: list[dict[tuple[int, str], FactChange] | None] = []
        """Parallel to `writes`. Encoded when the group is sealed, so that a fact that changes twice is encoded once."""
        self.sync_matches: list[SyncMatch] = _NONE
        self.inline: list[InlineWork] = _NONE
        self.offers: list[Offer] = _NONE
        self.outbox: list[OutboxEffect] = _NONE
        self.size_bytes = 0
        self.may_work_inline = False
        """Whether a worker in this process may handle a task of the group within the step."""
        self.is_broken = False
        """Whether the group cannot be written, because something in it has no encoding."""
        self.is_settled = False
        self.error: RpcError | None = None
        """Once settled: None if the group is durable, otherwise why it failed."""
        self._waiters: list[asyncio.Future[None]] = _NONE

    def write_of(self, entry: Entry) -> EntityWrite:
        """The write of an entity. The step fills it in."""
        # A search in a list, because a step touches only a few entities, nearly always one or two.
        for index, known in enumerate(self.entries):
            if known is entry:
                return self.writes[index]
        write = EntityWrite(number=entry.number, key=entry.key, shard_id=self.shard.shard_id)
        self.writes.append(write)
        self.entries.append(entry)
        self._facts.append(None)
        return write

    def add_facts(self, entry: Entry, facts: Iterable[FactChange]) -> None:
        """Add facts to the write of an entity, which must exist. Later values win."""
        place = self.entries.index(entry)
        known = self._facts[place]
        if known is None:
            self._facts[place] = {(change.kind, change.key): change for change in facts}
        else:
            for change in facts:
                known[change.kind, change.key] = change

    def add_task(self, entry: Entry, row: TaskRow) -> None:
        """Write the row of a task for which there is no poller. A step may write thousands of them."""
        write = self.write_of(entry)
        if isinstance(write.tasks, list):
            write.tasks.append(row)
        else:
            write.tasks = [row]

    def seal(self) -> None:
        """End the step: encode what it has collected."""
        size = 0
        for write, facts in zip(self.writes, self._facts, strict=True):
            if facts:
                write.facts = [encode_fact(change) for change in facts.values()]
            if len(write.events) > 1:
                write.events = joined(write.events)
            size += _size_bytes(write)
        self.size_bytes = size
        self._facts = _NONE

    def add_sync_match(self, match: SyncMatch) -> None:
        """Give the task to its poller once the group is durable."""
        if self.sync_matches:
            self.sync_matches.append(match)
        else:
            self.sync_matches = [match]

    def add_inline(self, work: InlineWork) -> None:
        """Tell the worker in this process, once the group is settled, whether its work was written."""
        if self.inline:
            self.inline.append(work)
        else:
            self.inline = [work]

    def offer(self, offer: Offer) -> None:
        """Once the group is durable, offer the task of this row to pollers."""
        if self.offers:
            self.offers.append(offer)
        else:
            self.offers = [offer]

    def settled(self) -> asyncio.Future[None]:
        """Done when the group is settled. Each caller gets its own future, so cancelling one affects no other."""
        assert not self.is_settled, "who asks looks first"
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._waiters:
            self._waiters.append(waiter)
        else:
            self._waiters = [waiter]
        return waiter

    def settle(self, error: RpcError | None) -> None:
        """Record that the group is durable (None) or never will be, and wake its waiters."""
        assert not self.is_settled, "a group is settled once"
        self.is_settled, self.error = True, error
        for waiter in self._waiters:
            if not waiter.done():  # otherwise its caller was cancelled
                waiter.set_result(None)

    def forget(self) -> None:
        """Drop everything but the outcome, which may still be read after the group is settled."""
        self.writes = self.entries = self.sync_matches = self.offers = self.outbox = _NONE
        self.inline = _NONE
        self.read = self._facts = self._waiters = _NONE

    def is_linked(self, entries: set[Entry]) -> bool:
        return not (entries.isdisjoint(self.entries) and entries.isdisjoint(self.read))


def _size_bytes(write: EntityWrite) -> int:
    size = 200
    for row in write.events:
        size += len(row.data)
    for fact in write.facts:
        size += 50 + len(fact.value or b"")
    for row in write.outbox:
        size += 200 + len(row.effect.body)
    if write.visibility is not None:
        size += 400 + len(write.visibility.memo) + len(write.visibility.search_attributes)
    return size


def merge(writes: Iterable[EntityWrite]) -> tuple[EntityWrite, ...]:
    """Merge the writes of a batch to one per entity: later values win, and adjacent event rows become one.

    A task that is scheduled and finished in the same batch never becomes a row.
    """
    by_entity: dict[tuple[int, EntityKey], list[EntityWrite]] = {}
    for write in writes:
        by_entity.setdefault((write.number, write.key), []).append(write)
    return tuple(many[0] if len(many) == 1 else _merge_entity(many) for many in by_entity.values())


def _merge_entity(many: Sequence[EntityWrite]) -> EntityWrite:
    first, last = many[0], many[-1]
    if last.is_deleted:
        finished = [row for write in many for row in write.finished_tasks]
        return EntityWrite(
            number=last.number,
            key=last.key,
            shard_id=last.shard_id,
            is_deleted=True,
            finished_tasks=finished,
        )
    facts: dict[tuple[int, str], FactRow] = {}
    tasks: dict[int, TaskRow] = {}
    outbox: dict[int, OutboxRow] = {}
    finished: list[TaskRowId] = []
    delivered: list[int] = []
    merged = EntityWrite(
        number=first.number, key=first.key, shard_id=first.shard_id, is_new=first.is_new
    )
    events: list[EventRow] = []
    for write in many:
        for row in write.events:
            _append_events(events, row)
        for fact in write.facts:
            facts[fact.kind, fact.key] = fact
        for row in write.tasks:
            tasks[row.sequence] = row
        for row in write.outbox:
            outbox[row.sequence] = row
        finished.extend(write.finished_tasks)
        delivered.extend(write.finished_outbox)
        if write.wake_at_ns is not None:
            merged.wake_at_ns = write.wake_at_ns
        if write.has_task_in_flight is not None:
            merged.has_task_in_flight = write.has_task_in_flight
        merged.visibility = write.visibility or merged.visibility
        if write.delete_at_ns is not None:
            merged.delete_at_ns = write.delete_at_ns
    merged.finished_tasks = [row for row in finished if tasks.pop(row.sequence, None) is None]
    merged.finished_outbox = [n for n in delivered if outbox.pop(n, None) is None]
    merged.events = events
    merged.facts = list(facts.values())
    merged.tasks = list(tasks.values())
    merged.outbox = list(outbox.values())
    return merged


def joined(rows: Iterable[EventRow]) -> list[EventRow]:
    """The rows in order, with adjacent rows joined into one."""
    events: list[EventRow] = []
    for row in rows:
        _append_events(events, row)
    return events


def _append_events(events: list[EventRow], row: EventRow) -> None:
    if events:
        before = events[-1]
        follows = before.first_event_id + before.count == row.first_event_id
        if follows and before.branch == row.branch:
            events[-1] = EventRow(
                before.branch,
                before.first_event_id,
                before.count + row.count,
                before.data + row.data,
            )
            return
    events.append(row)
