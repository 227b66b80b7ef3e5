"""The commit, the one hot statement of SQLite: a batch as a few `executemany` in one transaction.

Role: `write(connection, batch)` is atomic and durable, or raises the error of the port that reports the outcome. When
a row is refused, the batch is tried again entity by entity, in a transaction that is rolled back, to find the entity
that is to blame.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from perdure.storage.port import (
    CommitBatch,
    DamagedRows,
    EntityWrite,
    FenceLost,
    GuiltyWrite,
    NotWritten,
    ShardWrite,
    UnknownOutcome,
)
from perdure.storage.sqlite_errors import ErrorKind, kind_of, write_error
from perdure.storage.visibility_sql import UPSERT as UPSERT_VISIBILITY
from perdure.storage.visibility_sql import upsert_values

_FENCE = """UPDATE shards SET commit_sequence = commit_sequence + 1, clock_ns = ?, last_entity = ?
    WHERE shard_id = ? AND range_id = ? AND commit_sequence = ?"""
_ENTITY = "INSERT INTO entities VALUES (?, ?, ?, ?, ?)"
_EVENTS = "INSERT INTO events VALUES (?, ?, ?, ?, ?)"
_FACT = """INSERT INTO facts VALUES (?, ?, ?, ?)
    ON CONFLICT (entity, kind, key) DO UPDATE SET value = excluded.value"""
_NO_FACT = "DELETE FROM facts WHERE entity = ? AND kind = ? AND key = ?"
_TASK = """INSERT INTO tasks (namespace_id, queue, kind, shard_id, sequence, entity_kind, entity_name, run_id,
    scheduled_event_id, stamp, created_ns, priority) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_NO_TASK = """DELETE FROM tasks
    WHERE namespace_id = ? AND queue = ? AND kind = ? AND shard_id = ? AND sequence = ?"""
_EFFECT = "INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_NO_EFFECT = "DELETE FROM outbox WHERE shard_id = ? AND sequence = ?"
_WAKE = """INSERT INTO wakes VALUES (?, ?, ?)
    ON CONFLICT (entity) DO UPDATE SET at_ns = excluded.at_ns"""
_NO_WAKE = "DELETE FROM wakes WHERE entity = ?"
_IN_FLIGHT = "INSERT OR IGNORE INTO held VALUES (?, ?)"
_NOT_IN_FLIGHT = "DELETE FROM held WHERE entity = ?"
_RETENTION = """INSERT INTO retention VALUES (?, ?, ?)
    ON CONFLICT (entity) DO UPDATE SET at_ns = excluded.at_ns"""
_DELETIONS = (
    "DELETE FROM events WHERE entity = ?",
    "DELETE FROM facts WHERE entity = ?",
    "DELETE FROM wakes WHERE entity = ?",
    "DELETE FROM held WHERE entity = ?",
    "DELETE FROM retention WHERE entity = ?",
    "DELETE FROM visibility WHERE entity = ?",
    "DELETE FROM entities WHERE number = ?",
)
# The order in which a batch is written. Deletions come first, because a name may be reused in the same batch.
_ORDER = (
    *_DELETIONS, _ENTITY, _EVENTS, _FACT, _NO_FACT, _TASK, _NO_TASK, _EFFECT, _NO_EFFECT, _WAKE, _NO_WAKE,
    _IN_FLIGHT, _NOT_IN_FLIGHT, UPSERT_VISIBILITY, _RETENTION,
)  # fmt: skip

Rows = defaultdict[str, list[tuple[Any, ...]]]

# Why a row can be refused: constraints, sizes, numbers beyond 64 bits, text that is not UTF-8.
_REFUSALS = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    OverflowError,
    TypeError,
    ValueError,
)


def write(connection: sqlite3.Connection, batch: CommitBatch) -> None:
    """Write `batch` durably, or not at all."""
    # An earlier batch may have ended unexpectedly, for instance because memory ran out.
    rollback(connection)
    try:
        _begin(connection, batch.shards)
        _write_rows(connection, batch.writes)
    except NotWritten:
        rollback(connection)
        raise
    except _REFUSALS as error:
        rollback(connection)
        raise _guilty(connection, batch, error) from error
    except sqlite3.Error as error:
        rollback(connection)
        if kind_of(error) is ErrorKind.DAMAGE:
            raise _guilty(connection, batch, error) from error
        raise write_error(error) from error
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if kind_of(error) is ErrorKind.FULL:
            rollback(connection)
            raise write_error(error) from error
        # The frames may have reached the disk although the sync failed; only the fence, read again, can tell.
        rollback(connection)
        raise UnknownOutcome(f"the commit failed ({error})") from error


def _begin(connection: sqlite3.Connection, shards: Iterable[ShardWrite]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    lost: set[int] = set()
    for shard in shards:
        cursor = connection.execute(
            _FENCE,
            (shard.clock_ns, shard.last_entity, shard.shard_id, shard.range_id, shard.sequence),
        )
        if cursor.rowcount != 1:
            lost.add(shard.shard_id)
    if lost:
        raise FenceLost(frozenset(lost))


def _write_rows(connection: sqlite3.Connection, writes: Iterable[EntityWrite]) -> None:
    rows = _rows(writes)
    for statement in _ORDER:
        if values := rows.get(statement):
            connection.executemany(statement, values)


def _rows(writes: Iterable[EntityWrite]) -> Rows:
    """The rows of each statement. Nothing is removed from an entity that this batch creates."""
    rows: Rows = defaultdict(list)
    for write in writes:
        number, is_new = write.number, write.is_new
        if write.is_deleted:
            for statement in _DELETIONS:
                rows[statement].append((number,))
            _queue_rows(write, rows)
            continue
        if is_new:
            rows[_ENTITY].append((number, *write.key))
        for row in write.events:
            rows[_EVENTS].append((number, row.branch, row.first_event_id, row.count, row.data))
        for kind, key, value in write.facts:
            if value is not None:
                rows[_FACT].append((number, kind, key, value))
            elif not is_new:
                rows[_NO_FACT].append((number, kind, key))
        if write.wake_at_ns:
            rows[_WAKE].append((number, write.shard_id, write.wake_at_ns))
        elif write.wake_at_ns is not None and not is_new:
            rows[_NO_WAKE].append((number,))
        if write.has_task_in_flight:
            rows[_IN_FLIGHT].append((number, write.shard_id))
        elif write.has_task_in_flight is not None and not is_new:
            rows[_NOT_IN_FLIGHT].append((number,))
        if write.visibility is not None:
            rows[UPSERT_VISIBILITY].append(upsert_values(number, write.visibility))
        if write.delete_at_ns is not None:
            rows[_RETENTION].append((number, write.shard_id, write.delete_at_ns))
        _queue_rows(write, rows)
    return rows


def _queue_rows(write: EntityWrite, rows: Rows) -> None:
    shard_id = write.shard_id
    for sequence, task in write.tasks:
        entity = task.entity
        rows[_TASK].append(
            (
                *task.queue, shard_id, sequence, entity.kind, entity.name, entity.run_id,
                task.scheduled_event_id, task.stamp, task.created_ns, task.priority,
            )
        )  # fmt: skip
    for queue, row_shard, sequence in write.finished_tasks:
        rows[_NO_TASK].append((*queue, row_shard, sequence))
    for sequence, effect in write.outbox:
        rows[_EFFECT].append(
            (
                shard_id, sequence, write.number, *effect.destination, effect.kind, effect.request_id,
                effect.body,
            )
        )  # fmt: skip
    for sequence in write.finished_outbox:
        rows[_NO_EFFECT].append((shard_id, sequence))


def _guilty(connection: sqlite3.Connection, batch: CommitBatch, error: Exception) -> NotWritten:
    """Find the entities whose rows are refused, without changing the database."""
    numbers: set[int] = set()
    reasons: set[str] = set()
    is_damage = False
    sound: list[EntityWrite] = []
    try:
        _begin(connection, batch.shards)
        for write in batch.writes:
            refusal = _refusal_of(connection, write)
            if refusal is None:
                sound.append(write)
                continue
            numbers.add(write.number)
            if isinstance(refusal, _REFUSALS):
                reasons.add(_without_values(refusal))
            else:
                is_damage = True
            if not connection.in_transaction:
                # After a disk error, SQLite has rolled back the whole transaction, not only this entity.
                _begin(connection, batch.shards)
                for earlier in sound:
                    _write_rows(connection, (earlier,))
    except NotWritten as other:
        rollback(connection)
        return other
    except sqlite3.Error as other:
        rollback(connection)
        return write_error(other)
    rollback(connection)
    if is_damage:
        return DamagedRows(
            frozenset(numbers),
            f"the rows could not be written, because the database is damaged ({_without_values(error)}): "
            "restore it from a backup",
        )
    if not numbers:
        if isinstance(error, sqlite3.Error) and kind_of(error) is ErrorKind.DAMAGE:
            return write_error(error)
        return NotWritten(f"the batch was refused ({_without_values(error)})")
    return GuiltyWrite(
        frozenset(numbers), f"the database refused a row: {'; '.join(sorted(reasons))}"
    )


def _refusal_of(connection: sqlite3.Connection, write: EntityWrite) -> Exception | None:
    """Why the rows of one entity cannot be written; None if they have been.

    Raises:
        sqlite3.Error: The cause is neither the rows nor the pages that they are on.
    """
    connection.execute("SAVEPOINT one")
    refusal: Exception | None = None
    try:
        _write_rows(connection, (write,))
    except _REFUSALS as error:
        refusal = error
    except sqlite3.Error as error:
        if kind_of(error) is not ErrorKind.DAMAGE:
            raise
        refusal = error
    if connection.in_transaction:
        if refusal is not None:
            connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
    return refusal


def _without_values(error: Exception) -> str:
    # Encoding errors quote the text, which may be a user's data.
    if isinstance(error, UnicodeError):
        return "text that is not valid UTF-8"
    return f"{type(error).__name__}: {error}"


def rollback(connection: sqlite3.Connection) -> None:
    """Roll back the open transaction, if there is one.

    Raises:
        UnknownOutcome: The rollback failed.
    """
    if not connection.in_transaction:
        return
    try:
        connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise UnknownOutcome(f"the rollback failed ({error})") from error
