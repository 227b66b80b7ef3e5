"""Reads of SQLite. Each is a short function of a connection and sees one consistent snapshot."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any, cast, get_type_hints

from perdure.core.ids import EntityKey, QueueKey, QueueKind, TaskRowId
from perdure.entity.transition import Effect, EventRow, Task, VisibilityRow
from perdure.storage import visibility_sql
from perdure.storage.port import (
    DamageError,
    DoubtfulTasks,
    FactRow,
    StoredEffect,
    StoredEntity,
    TaskRow,
    VisibilityQuery,
    WakeRow,
)

_ENTITY = """SELECT number FROM entities
    WHERE kind = ? AND namespace_id = ? AND name = ? AND run_id = ?"""
_FACTS = "SELECT kind, key, value FROM facts WHERE entity = ?"
_EVENTS = """SELECT branch, first_event_id, count, data FROM events
    WHERE entity = ? AND branch = 0 ORDER BY first_event_id"""
# The row before the range may extend into it: rows of a run neither overlap nor leave gaps.
_RANGE = """SELECT branch, first_event_id, count, data FROM events
    WHERE entity = ? AND branch = ? AND first_event_id <= ? AND first_event_id >= coalesce(
        (SELECT max(first_event_id) FROM events
            WHERE entity = ? AND branch = ? AND first_event_id <= ?), 0)
    ORDER BY first_event_id"""
_WAKE = """SELECT coalesce((SELECT at_ns FROM wakes WHERE entity = ?), 0),
    EXISTS (SELECT 1 FROM held WHERE entity = ?),
    coalesce((SELECT history_length FROM visibility WHERE entity = ?), 0)"""
_TASKS = """SELECT sequence, entity_kind, entity_name, run_id, scheduled_event_id, stamp, created_ns, priority
    FROM tasks WHERE namespace_id = ? AND queue = ? AND kind = ? AND shard_id = ? AND sequence > ?
    ORDER BY sequence LIMIT ?"""
# One page in key order; the other tables are joined for these rows only.
_DOUBTFUL = """WITH page AS (
        SELECT * FROM tasks
        WHERE (namespace_id, queue, kind, shard_id, sequence) > (?, ?, ?, ?, ?) AND shard_id IN ({shards})
        ORDER BY namespace_id, queue, kind, shard_id, sequence LIMIT ?)
    SELECT p.namespace_id, p.queue, p.kind, p.shard_id, p.sequence, p.entity_kind, p.entity_name, p.run_id,
        p.scheduled_event_id, p.stamp, p.created_ns, p.priority,
        p.created_ns < ? AND (coalesce(v.status, 0) != ? OR (p.kind = ? AND p.queue != v.task_queue))
    FROM page p
    LEFT JOIN entities e ON e.kind = p.entity_kind AND e.namespace_id = p.namespace_id
        AND e.name = p.entity_name AND e.run_id = p.run_id
    LEFT JOIN visibility v ON v.entity = e.number
    ORDER BY p.namespace_id, p.queue, p.kind, p.shard_id, p.sequence"""
_OUTBOX = """SELECT e.kind, e.namespace_id, e.name, e.run_id, o.entity, o.sequence,
        o.to_kind, o.to_namespace_id, o.to_name, o.to_run_id, o.kind, o.request_id, o.body
    FROM outbox o JOIN entities e ON e.number = o.entity WHERE o.shard_id = ? ORDER BY o.sequence"""
_KEY = "kind, namespace_id, name, run_id"
# CROSS JOIN makes SQLite read the rows in the order of the index.
_DUE = f"""SELECT d.at_ns, {_KEY} FROM {{table}} d CROSS JOIN entities ON number = d.entity
    WHERE d.shard_id = ? AND d.at_ns < ? ORDER BY d.at_ns LIMIT ?"""
_WAKES, _EXPIRED = _DUE.format(table="wakes"), _DUE.format(table="retention")
_VISIBILITY_TYPES = tuple(get_type_hints(VisibilityRow).values())


def load(connection: sqlite3.Connection, key: EntityKey) -> StoredEntity | None:
    # Most loads find nothing, for a new workflow id. Existing entities are read in one snapshot.
    if connection.execute(_ENTITY, key).fetchone() is None:
        return None
    connection.execute("BEGIN")
    try:
        found = connection.execute(_ENTITY, key).fetchone()
        if found is None:
            return None
        number: int = found[0]
        facts = tuple(FactRow(*row) for row in connection.execute(_FACTS, found))
        events = tuple(EventRow(*row) for row in connection.execute(_EVENTS, found))
        wake_at_ns, has_task_in_flight, shown_events = connection.execute(
            _WAKE, (number, number, number)
        ).fetchone()
        return StoredEntity(
            number, facts, events, wake_at_ns, bool(has_task_in_flight), shown_events
        )
    finally:
        # SQLite ends the transaction itself after an I/O error. A second error would take the place of that one.
        if connection.in_transaction:
            connection.execute("COMMIT")


def events(
    connection: sqlite3.Connection,
    number: int,
    branch: int,
    first_event_id: int,
    last_event_id: int,
) -> list[EventRow]:
    rows = connection.execute(
        _RANGE, (number, branch, last_event_id, number, branch, first_event_id)
    )
    return [
        row
        for row in (EventRow(*r) for r in rows)
        if row.first_event_id + row.count > first_event_id
    ]


def tasks(
    connection: sqlite3.Connection, queue: QueueKey, shard_id: int, after_sequence: int, limit: int
) -> list[TaskRow]:
    rows = connection.execute(_TASKS, (*queue, shard_id, after_sequence, limit))
    return [
        TaskRow(
            sequence,
            Task(
                queue, EntityKey(kind, queue.namespace_id, name, run_id), event, stamp,
                created_ns, priority,
            ),
        )
        for sequence, kind, name, run_id, event, stamp, created_ns, priority in rows
    ]  # fmt: skip


def doubtful_tasks(
    connection: sqlite3.Connection,
    shard_ids: Sequence[int],
    before_ns: int,
    after: TaskRowId | None,
    limit: int,
) -> DoubtfulTasks:
    start = (*after.queue, after.shard_id, after.sequence) if after else ("", "", 0, 0, 0)
    rows = connection.execute(
        _DOUBTFUL.format(shards=_places(shard_ids)),
        (*start, *shard_ids, limit, before_ns, visibility_sql.RUNNING, QueueKind.WORKFLOW),
    ).fetchall()
    found: list[tuple[Task, TaskRowId]] = []
    row_id = None
    for namespace_id, queue, kind, shard_id, sequence, *rest in rows:
        entity_kind, name, run_id, event, stamp, created_ns, priority, is_doubtful = rest
        key = QueueKey(namespace_id, queue, QueueKind(kind))
        row_id = TaskRowId(key, shard_id, sequence)
        if is_doubtful:
            entity = EntityKey(entity_kind, namespace_id, name, run_id)
            found.append((Task(key, entity, event, stamp, created_ns, priority), row_id))
    return DoubtfulTasks(found, row_id if len(rows) == limit else None)


def wakes(
    connection: sqlite3.Connection, shard_ids: Sequence[int], until_ns: int, limit: int
) -> list[WakeRow]:
    rows = _earliest(connection, _WAKES, shard_ids, until_ns, limit)
    return [WakeRow(at_ns, _key(key)) for at_ns, *key in rows]


def expired(
    connection: sqlite3.Connection, shard_ids: Sequence[int], until_ns: int, limit: int
) -> list[EntityKey]:
    rows = _earliest(connection, _EXPIRED, shard_ids, until_ns, limit)
    return [_key(key) for _, *key in rows]


def _earliest(
    connection: sqlite3.Connection,
    statement: str,
    shard_ids: Sequence[int],
    until_ns: int,
    limit: int,
) -> list[tuple[Any, ...]]:
    """The first rows of all shards together. One statement for all would read and sort every row before `until_ns`."""
    with ExitStack() as stack:
        of_shards = [
            stack.enter_context(closing(connection.execute(statement, (shard, until_ns, limit))))
            for shard in shard_ids
        ]
        return list(islice(merge(*of_shards, key=itemgetter(0)), limit))


def outbox(connection: sqlite3.Connection, shard_ids: Sequence[int]) -> list[StoredEffect]:
    return [
        StoredEffect(
            _key(row[0:4]), row[4], row[5], Effect(_key(row[6:10]), row[10], row[11], row[12])
        )
        for shard_id in shard_ids
        for row in connection.execute(_OUTBOX, (shard_id,))
    ]


def with_tasks_in_flight(
    connection: sqlite3.Connection, shard_ids: Sequence[int]
) -> list[EntityKey]:
    # CROSS JOIN: read `held` first, however few the other table is believed to have.
    rows = connection.execute(
        f"""SELECT {_KEY} FROM held h CROSS JOIN entities ON number = h.entity
            WHERE h.shard_id IN ({_places(shard_ids)}) ORDER BY h.entity""",
        tuple(shard_ids),
    )
    return [_key(row) for row in rows]


def entities(
    connection: sqlite3.Connection, kind: int, fact_kind: int | None = None
) -> list[EntityKey]:
    rows = connection.execute(
        f"""SELECT {_KEY} FROM entities WHERE kind = ?
            AND (? IS NULL OR EXISTS (SELECT 1 FROM facts f WHERE f.entity = number AND f.kind = ?))
            ORDER BY number""",
        (kind, fact_kind, fact_kind),
    )
    return [_key(row) for row in rows]


def visibility(connection: sqlite3.Connection, query: VisibilityQuery) -> list[VisibilityRow]:
    statement, arguments = visibility_sql.list_sql(query)
    rows: list[VisibilityRow] = []
    size_bytes = 0
    # While a statement is open, later ones on this connection see only what was committed before it began.
    with closing(connection.execute(statement, arguments)) as found:
        for values in found:
            row = _visibility_row(values)
            rows.append(row)
            size_bytes += len(row.memo) + len(row.search_attributes)
            if 0 < query.bytes_max < size_bytes and len(rows) > 1:
                break
    return rows


def _visibility_row(row: tuple[Any, ...]) -> VisibilityRow:
    if tuple(map(type, row)) != _VISIBILITY_TYPES:
        raise DamageError(
            "a row of the lists holds a value of another type: restore the database from a backup"
        )
    return VisibilityRow(*row)


def visibility_count(connection: sqlite3.Connection, query: VisibilityQuery) -> int:
    statement, arguments = visibility_sql.count_sql(query)
    return connection.execute(statement, arguments).fetchone()[0]


def visibility_counts(connection: sqlite3.Connection, query: VisibilityQuery) -> dict[int, int]:
    statement, arguments = visibility_sql.counts_sql(query)
    return dict(connection.execute(statement, arguments).fetchall())


def _places(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _key(row: Sequence[object]) -> EntityKey:
    kind, namespace_id, name, run_id = row
    return EntityKey(cast("int", kind), str(namespace_id), str(name), str(run_id))
