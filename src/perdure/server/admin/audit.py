"""Every invariant of a database, checked from outside: what `perdure db check` runs.

Role: `audit(path)` folds every run again and compares what follows from its history and facts with the rows that say
the same: pointers, task rows, wake-ups, lists, retention, outbox. Reading is of one moment, so it may run while an
engine works on the file.

Invariants: nothing is written; findings name entities, never payloads. Not here: repair.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from perdure.core.ids import EntityKey, EntityKind, QueueKind, shard_of, workflow_id_key
from perdure.history.activity.void import is_held
from perdure.history.draft.close import current_run
from perdure.history.draft.deadlines import live_deadlines
from perdure.history.draft.visible import visibility_row
from perdure.history.loader import load_run
from perdure.history.run.wanted_tasks import wanted_tasks
from perdure.history.state.facts import FactKind
from perdure.history.state.pointer import CURRENT_RUN, CurrentRun
from perdure.server.common.codec import decode_fact
from perdure.server.common.namespace_facts import NAMESPACE, NamespaceFact
from perdure.storage.sqlite_audit import AuditReader, Shard, Stored, TaskPlace
from perdure.wire.events import frames

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from perdure.history.state.run_state import RunState

ENTITY_BITS = 40
TASK_BITS = 36
_OF_OPEN_RUNS = {FactKind.WORKFLOW_TASK, FactKind.STICKY, FactKind.ACTIVITY, FactKind.BUFFERED}

Place = tuple[EntityKey, int, int, int]
"""(run, kind of queue, scheduled event, stamp) of a task."""


class Finding(NamedTuple):
    """Something that must not be."""

    check: str
    what: str


class AuditReport(msgspec.Struct):
    """What was looked at, how much of it, and what was wrong."""

    looked_at: Counter[str]
    findings: list[Finding]
    stale_tasks: int = 0
    """Rows that mean nothing any more: harmless, a running engine removes them within minutes."""

    @property
    def is_sound(self) -> bool:
        return not self.findings


CHECKS = (
    "pages", "shards", "namespaces", "histories", "facts", "pointers", "tasks", "wake-ups", "held", "lists",
    "retention", "outbox",
)  # fmt: skip


def audit(database: Path) -> AuditReport:
    """Check a database.

    Args:
        database: A file; an engine may have it open.

    Raises:
        OpenError: It is no database that this version can read.

    Example:
        report = audit(Path("orders.db"))
    """
    with AuditReader.open(database) as reader:
        return _Audit(reader).run()


def audit_memory(connection: sqlite3.Connection) -> AuditReport:
    """Check a database in memory, which only its connection can see.

    Args:
        connection: Without an open transaction; it stays open.
    """
    with AuditReader(connection, "the database in memory", keep_open=True) as reader:
        return _Audit(reader).run()


class _Audit:
    def __init__(self, reader: AuditReader) -> None:
        self._reader = reader
        self._report = AuditReport(Counter(), [])
        self._shards: dict[int, Shard] = {}
        self._tasks: dict[Place, list[TaskPlace]] = {}
        self._namespaces: set[str] = set()
        self._pointers: dict[EntityKey, CurrentRun] = {}
        self._said: dict[EntityKey, CurrentRun] = {}
        """Of every run: what a pointer to it must say."""
        self._open: dict[EntityKey, str] = {}
        self._wanted: set[Place] = set()

    def run(self) -> AuditReport:
        self._look("pages")
        for line in self._reader.pages():
            self._find("pages", line)
        if self._report.findings:
            return self._report  # rows of a damaged file say nothing
        self._shards = {shard.shard_id: shard for shard in self._reader.shards()}
        self._look("shards", len(self._shards))
        for task in self._reader.tasks():
            place = task.entity, task.queue_kind, task.scheduled_event_id, task.stamp
            self._tasks.setdefault(place, []).append(task)
        for stored in self._reader.entities():
            self._entity(stored)
        self._check_pointers()
        self._check_tasks()
        self._check_outbox()
        for table, count in self._reader.orphans():
            self._find("histories", f"{count} rows of table {table} belong to nothing")
        return self._report

    def _entity(self, stored: Stored) -> None:
        key = stored.key
        shard_id = shard_of(key, len(self._shards))
        shard = self._shards.get(stored.number >> ENTITY_BITS)
        if shard is None or shard.shard_id != shard_id:
            self._find("shards", f"{_named(key)} lies in the wrong shard")
        elif stored.number & (1 << ENTITY_BITS) - 1 > shard.last_entity:
            self._find("shards", f"the number of {_named(key)} would be given again")
        match key.kind:
            case EntityKind.RUN:
                self._run(stored)
            case EntityKind.WORKFLOW_ID:
                self._look("pointers")
                value = self._single(stored, CURRENT_RUN, "pointers")
                if isinstance(value, CurrentRun):
                    self._pointers[key] = value
            case EntityKind.NAMESPACE:
                self._look("namespaces")
                value = self._single(stored, NAMESPACE, "namespaces")
                if isinstance(value, NamespaceFact):
                    if value.name in self._namespaces:
                        self._find("namespaces", f"two namespaces are called {value.name!r}")
                    self._namespaces.add(value.name)

    def _single(self, stored: Stored, kind: int, check: str) -> object:
        try:
            facts = [decode_fact(row) for row in stored.facts]
        except Exception as error:  # noqa: BLE001 -- whatever is wrong with the row, it is a finding
            self._find(check, f"{_named(stored.key)} cannot be read: {type(error).__name__}")
            return None
        if [fact.kind for fact in facts] != [kind]:
            self._find(check, f"{_named(stored.key)} has not exactly the one fact it should have")
            return None
        return facts[0].value

    # Runs.

    def _run(self, stored: Stored) -> None:
        name = _named(stored.key)
        self._look("histories")
        shard = self._shards[shard_of(stored.key, len(self._shards))]
        try:
            broken = next(_gaps(stored), None)
            if broken:
                self._find("histories", f"{name}: {broken}")
                return
            facts = [decode_fact(row) for row in stored.facts]
            rows = (row.data for row in stored.events if row.branch == 0)
            # Heartbeat clocks restart at the latest time this shard has seen: none is due before that.
            state = load_run(stored.key, rows, facts, shard.clock_ns)
        except Exception as error:  # noqa: BLE001 -- whatever is wrong with the run, it is a finding
            self._find("histories", f"{name} cannot be folded: {type(error).__name__}")
            return
        self._said[stored.key] = current_run(state)
        if state.is_running:
            pointer = workflow_id_key(stored.key.namespace_id, stored.key.name)
            if pointer in self._open:
                self._find("pointers", f"{name}: a second open run of the same workflow id")
            self._open[pointer] = stored.key.run_id
        self._facts(stored, state, name)
        self._wants_tasks(stored.key, state)
        self._wakes(stored, state, name)
        self._held(stored, state, name)
        self._lists(stored, state, name)
        self._retention(stored, state, name)

    def _facts(self, stored: Stored, state: RunState, name: str) -> None:
        self._look("facts", len(stored.facts))
        kinds = {FactKind(row.kind) for row in stored.facts}
        if not state.is_running and (left := kinds & _OF_OPEN_RUNS):
            words = ", ".join(sorted(kind.name for kind in left))
            self._find("facts", f"{name} is closed and still has facts of {words}")
        for row in stored.facts:
            if row.kind == FactKind.ACTIVITY and int(row.key) not in state.activities:
                self._find("facts", f"{name}: progress of activity {row.key}, which is not pending")
        if state.buffered and not state.workflow_task_is_started:
            self._find("facts", f"{name}: events are buffered without a started workflow task")

    def _wants_tasks(self, key: EntityKey, state: RunState) -> None:
        for task in wanted_tasks(state):
            self._wanted.add((key, task.queue.kind, task.scheduled_event_id, task.stamp))

    def _wakes(self, stored: Stored, state: RunState, name: str) -> None:
        self._look("wake-ups", int(stored.wake is not None))
        deadlines = live_deadlines(state)
        if not state.is_running:
            if stored.wake is not None:
                self._find("wake-ups", f"{name} is closed and has a wake-up")
        elif deadlines and stored.wake is None:
            self._find(
                "wake-ups", f"{name} has a deadline ({deadlines[0].kind.name}) and no wake-up"
            )
        elif deadlines and stored.wake is not None and stored.wake[1] > deadlines[0].at_ns:
            self._find(
                "wake-ups", f"{name} would be woken after its deadline ({deadlines[0].kind.name})"
            )
        if stored.wake is not None and stored.wake[0] != shard_of(stored.key, len(self._shards)):
            self._find("wake-ups", f"{name}: its wake-up lies in the wrong shard")

    def _held(self, stored: Stored, state: RunState, name: str) -> None:
        self._look("held", int(stored.held_in is not None))
        if stored.held_in is None:
            if is_held(state):
                self._find("held", f"{name}: a worker holds something of it, and nothing says so")
        elif not state.is_running:
            # Of an open run it is harmless: a database of version 1 said so of all that might be.
            self._find("held", f"{name} is closed and said to be held by a worker")
        elif stored.held_in != shard_of(stored.key, len(self._shards)):
            self._find("held", f"{name}: that it is held lies in the wrong shard")

    def _lists(self, stored: Stored, state: RunState, name: str) -> None:
        self._look("lists")
        if stored.visibility is None:
            self._find("lists", f"{name} is in no list")
            return
        shown, ended_ns = stored.visibility
        wanted = visibility_row(state)
        if state.is_running:
            # Written only when something visible changed: the counters may be those of an earlier moment.
            wanted = msgspec.structs.replace(
                wanted,
                history_length=shown.history_length,
                history_size_bytes=shown.history_size_bytes,
            )
        for field in shown.__struct_fields__:
            if getattr(shown, field) != getattr(wanted, field):
                self._find("lists", f"{name}: lists show another {field}")
        if ended_ns != (shown.close_ns or 2**63 - 1):
            self._find("lists", f"{name}: lists sort it in the wrong place")

    def _retention(self, stored: Stored, state: RunState, name: str) -> None:
        self._look("retention", int(stored.retention is not None))
        if state.is_running and stored.retention is not None:
            self._find("retention", f"{name} is open and would be deleted")
        if not state.is_running and stored.retention is None:
            self._find("retention", f"{name} is closed and would never be deleted")

    # Between runs and other rows.

    def _check_pointers(self) -> None:
        for key, pointer in self._pointers.items():
            run = EntityKey(EntityKind.RUN, key.namespace_id, key.name, pointer.run_id)
            said = self._said.get(run)
            if said is None:
                self._find("pointers", f"{_named(key)} points to a run that is not there")
            elif said != pointer:
                self._find("pointers", f"{_named(key)} says of its run what is not so")
        for key, run_id in self._open.items():
            pointer = self._pointers.get(key)
            if pointer is None or pointer.run_id != run_id:
                self._find("pointers", f"{_named(key)}: its open run is not the one it points to")

    def _check_tasks(self) -> None:
        for place, rows in self._tasks.items():
            self._look("tasks", len(rows))
            if place not in self._wanted:
                self._report.stale_tasks += len(rows)
            elif len(rows) > 1:
                self._find("tasks", f"{_named(place[0])}: {len(rows)} rows for one task")
            for row in rows:
                self._check_row(row)
        for key, kind, event_id, _ in self._wanted - self._tasks.keys():
            what = QueueKind(kind).name.lower()
            self._find(
                "tasks", f"{_named(key)}: the {what} task of event {event_id} is in no queue"
            )

    def _check_row(self, row: TaskPlace) -> None:
        shard = self._shards.get(row.shard_id)
        if shard is None or shard_of(row.entity, len(self._shards)) != row.shard_id:
            self._find("tasks", f"{_named(row.entity)}: a task lies in the wrong shard")
        elif row.sequence >> TASK_BITS > shard.range_id:
            self._find("tasks", f"{_named(row.entity)}: a task's number would be given again")

    def _check_outbox(self) -> None:
        for shard_id, sequence, number in self._reader.effects():
            self._look("outbox")
            shard = self._shards.get(shard_id)
            if shard is None or number >> ENTITY_BITS != shard_id:
                self._find("outbox", f"effect {sequence} lies in the wrong shard")
            elif sequence >> TASK_BITS > shard.range_id:
                self._find("outbox", f"the number of effect {sequence} would be given again")

    def _look(self, check: str, count: int = 1) -> None:
        self._report.looked_at[check] += count

    def _find(self, check: str, what: str) -> None:
        self._report.findings.append(Finding(check, what))


def _gaps(stored: Stored) -> Iterator[str]:
    """What is wrong with the numbers of the run's events."""
    following: dict[int, int] = {}
    if not stored.events:
        yield "it has no events"
    for row in stored.events:
        expected = following.get(row.branch, 1 if row.branch == 0 else row.first_event_id)
        if row.first_event_id != expected:
            yield f"event {expected} is missing or there twice"
        if sum(1 for _ in frames(row.data)) != row.count:
            yield f"the row of event {row.first_event_id} has not the {row.count} events it claims"
        following[row.branch] = row.first_event_id + row.count


def _named(key: EntityKey) -> str:
    match key.kind:
        case EntityKind.RUN:
            return f"workflow {key.name!r} (run {key.run_id})"
        case EntityKind.WORKFLOW_ID:
            return f"workflow id {key.name!r}"
        case _:
            return f"{key.kind.name.lower()} {key.namespace_id}"
