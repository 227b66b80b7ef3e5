"""Checks every invariant of a database from outside; `perdure db check` runs it.

Role: `audit(path)` folds every entity again and compares the result with the rows derived from it: pointers, task rows,
wake-ups, lists, retention, outbox. It reads one snapshot, so it may run while an engine uses the file.

Invariants: nothing is written; findings name entities, never payloads. This module knows no kinds of entities: what
only one kind has is checked by its `Auditor`. Not here: repair.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from perdure.core.ids import ENTITY_BITS, TASK_BITS, QueueKind, shard_of
from perdure.entity.entity_type import DamagedEntityError
from perdure.history.draft.visible import without_builds
from perdure.server.common.codec import decode_fact
from perdure.server.common.entity_types import BUILT_IN
from perdure.storage.port import DamageError
from perdure.storage.sqlite_audit import AuditReader, Shard, Stored, TaskPlace
from perdure.wire.errors import DataLoss

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator
    from pathlib import Path

    from perdure.core.ids import EntityKey
    from perdure.entity.entity_type import EntityType, Registry
    from perdure.entity.transition import FactChange

Place = tuple["EntityKey", int, int, int]
"""(run, kind of queue, scheduled event, stamp) of a task."""


class Finding(NamedTuple):
    """A violated invariant."""

    check: str
    what: str


class AuditReport(msgspec.Struct):
    """What was checked, how often, and what was wrong."""

    looked_at: Counter[str]
    findings: list[Finding]
    stale_tasks: int = 0
    """Obsolete task rows. They are harmless; a running engine removes them within minutes."""

    @property
    def is_sound(self) -> bool:
        return not self.findings


CHECKS = (
    "pages", "shards", "commits", "kinds", "namespaces", "histories", "facts", "pointers", "tasks", "wake-ups",
    "in flight", "lists", "retention", "outbox",
)  # fmt: skip


def audit(database: Path, types: Registry = BUILT_IN) -> AuditReport:
    """Check a database.

    Args:
        database: The file; an engine may have it open.
        types: The kinds of entities that the database may have.

    Raises:
        OpenError: The file is not a database that this version can read.

    Example:
        report = audit(Path("orders.db"))
    """
    with AuditReader.open(database) as reader:
        return _Audit(reader, types).run()


def audit_memory(connection: sqlite3.Connection, types: Registry = BUILT_IN) -> AuditReport:
    """Check a database in memory, which is accessible only through its connection.

    Args:
        connection: A connection without an open transaction. It stays open.
        types: The kinds of entities that the database may have.
    """
    with AuditReader(connection, "the database in memory", keep_open=True) as reader:
        return _Audit(reader, types).run()


class _Audit:
    def __init__(self, reader: AuditReader, types: Registry) -> None:
        self._reader = reader
        self._types = types
        auditors = {one.auditor: one.auditor() for one in types.types if one.auditor is not None}
        self._auditors = {
            one.number: auditors[one.auditor] for one in types.types if one.auditor is not None
        }
        self._report = AuditReport(Counter(), [])
        self._shards: dict[int, Shard] = {}
        self._tasks: dict[Place, list[TaskPlace]] = {}
        self._wanted: set[Place] = set()

    def run(self) -> AuditReport:
        self._look("pages")
        for line in self._reader.pages():
            self._find("pages", line)
        if self._report.findings:
            return self._report  # the rows of a damaged file are unreliable
        for line in self._reader.shard_problems():
            self._find("shards", line)
        self._look("commits")
        with self._guarded("commits", "the commits"):
            if (lost := self._reader.lost_commits()) is not None:
                self._find("commits", lost)
        self._shards = {shard.shard_id: shard for shard in self._reader.shards()}
        self._look("shards", len(self._shards))
        with self._guarded("tasks", "the tasks"):
            for task in self._reader.tasks():
                place = task.entity, task.queue_kind, task.scheduled_event_id, task.stamp
                self._tasks.setdefault(place, []).append(task)
        with self._guarded("kinds", "the entities"):
            for number, key in self._reader.entity_keys():
                with self._guarded(self._check_of(key), self._label(key)):
                    self._entity(self._reader.stored(number, key))
        for auditor in dict.fromkeys(self._auditors.values()):
            with self._guarded("pointers", "what joins entities"):
                for check, what in auditor.end():
                    self._find(check, what)
        with self._guarded("tasks", "the tasks"):
            self._check_tasks()
        with self._guarded("outbox", "the effects"):
            self._check_outbox()
        with self._guarded("histories", "rows that belong to nothing"):
            for table, count in self._reader.orphans():
                self._find("histories", f"{count} rows of table {table} belong to nothing")
        return self._report

    @contextmanager
    def _guarded(self, check: str, what: str) -> Generator[None]:
        """Whatever is wrong with the rows, it is a finding, and the other checks go on."""
        try:
            yield
        except DamageError as error:
            self._find(check, f"{what}: {error}")
        except Exception as error:  # noqa: BLE001 -- rows of any content; their values are not shown
            self._find(check, f"{what} cannot be read: {type(error).__name__}")

    def _check_of(self, key: EntityKey) -> str:
        entity_type = self._types.find(key.kind)
        return "kinds" if entity_type is None else entity_type.check

    def _entity(self, stored: Stored) -> None:
        key = stored.key
        entity_type = self._types.find(key.kind)
        if entity_type is None:
            self._find("kinds", f"{key.name!r} is of kind {key.kind}, which is unknown here")
            return
        name = entity_type.label(key)
        if not all(type(text) is str for text in key[1:]):
            self._find(entity_type.check, f"{name}: its key is not text")
            return
        shard_id = shard_of(key, len(self._shards))
        shard = self._shards.get(stored.number >> ENTITY_BITS)
        if shard is None or shard.shard_id != shard_id:
            self._find("shards", f"{name} lies in the wrong shard")
        elif stored.number & (1 << ENTITY_BITS) - 1 > shard.last_entity:
            self._find("shards", f"the number of {name} would be given again")
        self._look(entity_type.check)
        self._look("facts", len(stored.facts))
        try:
            broken = next(entity_type.gaps(stored.events), None)
            if broken:
                self._find(entity_type.check, f"{name}: {broken}")
                return
            facts = [decode_fact(entity_type, row) for row in stored.facts]
            # Heartbeat clocks restart at the latest time this shard has seen, so none is due earlier.
            clock_ns = self._shards[shard_id].clock_ns
            state = _fold(entity_type, stored, facts, clock_ns)
        except (DamagedEntityError, DataLoss) as error:
            self._find(entity_type.check, f"{name}: {error}")
            return
        auditor = self._auditors.get(key.kind)
        if auditor is not None:
            for check, what in auditor.look(key, state, facts):
                self._find(check, f"{name}: {what}")
        for task in entity_type.wanted_tasks(state):
            self._wanted.add((key, task.queue.kind, task.scheduled_event_id, task.stamp))
        self._rows(_Rows(stored, entity_type, state, name))

    # Rows derived from the state.

    def _rows(self, entity: _Rows) -> None:
        self._wakes(entity)
        self._in_flight(entity)
        self._lists(entity)
        self._retention(entity)

    def _wakes(self, entity: _Rows) -> None:
        stored, name, state = entity.stored, entity.name, entity.state
        self._look("wake-ups", int(stored.wake is not None))
        wake_ns = entity.type.next_wake_ns(state)
        reason = entity.type.wake_reason(state)
        if entity.type.is_closed(state):
            if stored.wake is not None:
                self._find("wake-ups", f"{name} is closed and has a wake-up")
        elif wake_ns and stored.wake is None:
            self._find("wake-ups", f"{name} has a deadline ({reason}) and no wake-up")
        elif wake_ns and stored.wake is not None and stored.wake[1] > wake_ns:
            self._find("wake-ups", f"{name} would be woken after its deadline ({reason})")
        if stored.wake is not None and stored.wake[0] != entity.shard_id(len(self._shards)):
            self._find("wake-ups", f"{name}: its wake-up lies in the wrong shard")

    def _in_flight(self, entity: _Rows) -> None:
        stored, name, state = entity.stored, entity.name, entity.state
        self._look("in flight", int(stored.in_flight_shard_id is not None))
        if stored.in_flight_shard_id is None:
            if entity.type.has_task_in_flight(state):
                self._find("in flight", f"{name} has a task in flight, and no row says so")
        elif entity.type.is_closed(state):
            # For an open run it is harmless: the migration from version 1 added a row wherever one might be needed.
            self._find(
                "in flight", f"{name} is closed, and a row says that it has a task in flight"
            )
        elif stored.in_flight_shard_id != entity.shard_id(len(self._shards)):
            self._find("in flight", f"{name}: the row of its task in flight is in the wrong shard")

    def _lists(self, entity: _Rows) -> None:
        stored, name, state = entity.stored, entity.name, entity.state
        wanted = entity.type.visibility(state)
        if wanted is None:
            if stored.visibility is not None:
                self._find("lists", f"{name} is in a list and should not be")
            return
        self._look("lists")
        if stored.visibility is None:
            self._find("lists", f"{name} is in no list")
            return
        shown, ended_ns = stored.visibility
        if not entity.type.is_closed(state):
            # The row is written only when something visible changes, so its counters may be older.
            wanted = msgspec.structs.replace(
                wanted,
                history_length=shown.history_length,
                history_size_bytes=shown.history_size_bytes,
            )
        shown, wanted = without_builds(shown), without_builds(wanted)
        for field in shown.__struct_fields__:
            if getattr(shown, field) != getattr(wanted, field):
                self._find("lists", f"{name}: lists show another {field}")
        if ended_ns != (shown.close_ns or 2**63 - 1):
            self._find("lists", f"{name}: lists sort it in the wrong place")

    def _retention(self, entity: _Rows) -> None:
        stored, is_closed = entity.stored, entity.type.is_closed(entity.state)
        self._look("retention", int(stored.retention is not None))
        if not is_closed and stored.retention is not None:
            self._find("retention", f"{entity.name} is open and would be deleted")
        if is_closed and stored.retention is None:
            self._find("retention", f"{entity.name} is closed and would never be deleted")

    # Between entities and other rows.

    def _check_tasks(self) -> None:
        for place, rows in self._tasks.items():
            self._look("tasks", len(rows))
            if place not in self._wanted:
                self._report.stale_tasks += len(rows)
            elif len(rows) > 1:
                self._find("tasks", f"{self._label(place[0])}: {len(rows)} rows for one task")
            for row in rows:
                with self._guarded("tasks", f"a task of {self._label(row.entity)}"):
                    self._check_row(row)
        for key, kind, event_id, _ in self._wanted - self._tasks.keys():
            what = QueueKind(kind).name.lower()
            self._find(
                "tasks", f"{self._label(key)}: the {what} task of event {event_id} is in no queue"
            )

    def _check_row(self, row: TaskPlace) -> None:
        shard = self._shards.get(row.shard_id)
        if shard is None or shard_of(row.entity, len(self._shards)) != row.shard_id:
            self._find("tasks", f"{self._label(row.entity)}: a task lies in the wrong shard")
        elif row.sequence >> TASK_BITS > shard.range_id:
            self._find("tasks", f"{self._label(row.entity)}: a task's number would be given again")

    def _check_outbox(self) -> None:
        for shard_id, sequence, number in self._reader.effects():
            self._look("outbox")
            with self._guarded("outbox", "an effect"):
                self._check_effect(shard_id, sequence, number)

    def _check_effect(self, shard_id: int, sequence: int, number: int) -> None:
        shard = self._shards.get(shard_id)
        if shard is None or number >> ENTITY_BITS != shard_id:
            self._find("outbox", f"effect {sequence} lies in the wrong shard")
        elif sequence >> TASK_BITS > shard.range_id:
            self._find("outbox", f"the number of effect {sequence} would be given again")

    def _label(self, key: EntityKey) -> str:
        entity_type = self._types.find(key.kind)
        return repr(key.name) if entity_type is None else entity_type.label(key)

    def _look(self, check: str, count: int = 1) -> None:
        self._report.looked_at[check] += count

    def _find(self, check: str, what: str) -> None:
        self._report.findings.append(Finding(check, what))


class _Rows(NamedTuple):
    """An entity that could be read, and its stored rows."""

    stored: Stored
    type: EntityType[Any]
    state: Any
    name: str

    def shard_id(self, shard_count: int) -> int:
        return shard_of(self.stored.key, shard_count)


def _fold(
    entity_type: EntityType[Any], stored: Stored, facts: list[FactChange], now_ns: int
) -> Any:
    rows = (row.data for row in stored.events if row.branch == 0)
    steps = entity_type.fold(stored.key, rows, facts, now_ns)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
