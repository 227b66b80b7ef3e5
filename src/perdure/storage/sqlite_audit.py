"""Reads of a whole database as of one moment, for audits and for what would be pruned; nothing is written.

Not here: the invariants between the rows (`perdure.server.admin.audit`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from perdure.core.ids import EntityKey
from perdure.entity.transition import EventRow, VisibilityRow
from perdure.storage import sqlite_read
from perdure.storage.file_lock import progress_beside
from perdure.storage.lost_commits import check_log, lost_in
from perdure.storage.port import (
    Damaged,
    FactRow,
    LostCommits,
    NewerSchema,
    OpenError,
    VisibilityQuery,
)
from perdure.storage.schema import APPLICATION_ID, SCHEMA_VERSION
from perdure.storage.sqlite_errors import READ_ERRORS, ErrorKind, kind_of, read_error, text_of
from perdure.storage.sqlite_reader import connect_reader, is_at_rest, state_of
from perdure.storage.sqlite_sound import schema_problems, shard_problems

_OWNED = ("events", "facts", "wakes", "held", "retention", "outbox", "visibility")


class Shard(NamedTuple):
    shard_id: int
    range_id: int
    clock_ns: int
    last_entity: int


class UndecodableText(str):
    """Stored text that is not valid UTF-8; the bytes that are not are written as escapes."""

    __slots__ = ()


class Stored(NamedTuple):
    """An entity and all rows that belong to it, as stored."""

    number: int
    key: EntityKey
    facts: list[FactRow]
    events: list[EventRow]
    wake: tuple[int, int] | None
    """(shard, time)."""
    in_flight_shard_id: int | None
    """The shard, if a task of the run is in flight."""
    retention: tuple[int, int] | None
    visibility: tuple[VisibilityRow, int] | None
    """The row and the time by which lists are sorted."""


class TaskPlace(NamedTuple):
    """The values of a task row that an audit needs."""

    queue: str
    queue_kind: int
    shard_id: int
    sequence: int
    entity: EntityKey
    scheduled_event_id: int
    stamp: int


class _File:
    """A database file that is read from outside, and what is known of it before the first read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Read before the database, which may be ahead of it and never behind.
        self.known = progress_beside(path)
        self._state = state_of(path)
        self.is_at_rest = is_at_rest(path)

    def check_unchanged(self) -> None:
        """Without a log nothing keeps an engine from writing to the pages that are being read."""
        if self.is_at_rest and state_of(self.path) != self._state:
            raise OpenError(f"{self.path} was opened by a process while it was read: try again")


class AuditReader:
    """Reads a database as of one moment; leaving `with` ends the read transaction.

    Args:
        connection: A connection to the database.
        name: The name of the database in errors.
        keep_open: Do not close the connection; only end the read transaction.
        file: What is known of the file, from before it was opened.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        name: str,
        *,
        keep_open: bool = False,
        file: _File | None = None,
    ) -> None:
        self._connection = connection
        self._file = file
        self._keep_open = keep_open
        self._text_factory = connection.text_factory
        connection.text_factory = _text
        try:
            self._begin(name)
        except BaseException:
            self._end()
            raise

    @classmethod
    def open(cls, database: Path) -> Self:
        """Read a file. An engine may have it open."""
        if not database.is_file():
            raise OpenError(f"there is no database {database}")
        path = database.resolve()
        check_log(path)
        file = _File(path)
        try:
            connection = connect_reader(path, is_immutable=file.is_at_rest)
        except sqlite3.Error as error:
            raise OpenError(f"cannot read {database}: {error}") from error
        return cls(connection, str(database), file=file)

    def _begin(self, name: str) -> None:
        try:
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            (application,) = self._connection.execute("PRAGMA application_id").fetchone()
            if application != APPLICATION_ID:
                if (lost := self.lost_commits()) is not None:
                    raise LostCommits(lost)
                raise OpenError(f"{name} is no database of Perdure")
        except READ_ERRORS as error:
            if kind_of(error) is ErrorKind.DAMAGE:
                raise Damaged(
                    f"{name} is damaged ({text_of(error)}): restore it from a backup"
                ) from error
            raise OpenError(f"cannot read {name}: {error}") from error
        if version != SCHEMA_VERSION:
            raise _other_version(name, version)
        self._connection.execute("BEGIN")

    def _end(self) -> None:
        self._connection.text_factory = self._text_factory
        if not self._keep_open:
            self._connection.close()
        elif self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()
        if kind is None and self._file is not None:
            self._file.check_unchanged()

    def lost_commits(self) -> str | None:
        """Which commits are known to be missing, in words."""
        if self._file is None:
            return None
        return lost_in(self._connection, self._file.path, self._file.known)

    def pages(self) -> list[str]:
        """The problems of the schema, and those that SQLite's own integrity check finds."""
        try:
            problems = list(schema_problems(self._connection))
            found = [row[0] for row in self._connection.execute("PRAGMA integrity_check(20)")]
        except READ_ERRORS as error:
            return [text_of(error)]
        problems += [] if found == ["ok"] else [" ".join(line.split()) for line in found]
        return problems

    def shard_problems(self) -> list[str]:
        """The problems of the rows of the shards."""
        return list(shard_problems(self._connection))

    def shards(self) -> list[Shard]:
        rows = self._rows(
            "SELECT shard_id, range_id, clock_ns, last_entity FROM shards ORDER BY shard_id"
        )
        return [Shard(*row) for row in rows]

    def entities(self, only_kind: int | None = None) -> Iterator[Stored]:
        """All entities, or those of one kind."""
        for number, key in self.entity_keys(only_kind):
            yield self.stored(number, key)

    def entity_keys(self, only_kind: int | None = None) -> list[tuple[int, EntityKey]]:
        """The numbers and keys of all entities, or of those of one kind."""
        rows = self._rows(
            """SELECT number, kind, namespace_id, name, run_id FROM entities
                WHERE kind = ifnull(?, kind) ORDER BY number""",
            (only_kind,),
        )
        return [(number, EntityKey(kind, *names)) for number, kind, *names in rows]

    def visibility(self, query: VisibilityQuery) -> list[VisibilityRow]:
        """A page of runs, as lists show them."""
        try:
            return sqlite_read.visibility(self._connection, query)
        except READ_ERRORS as error:
            raise read_error(error) from error

    def senders(self) -> set[EntityKey]:
        """The entities with effects that are not delivered yet."""
        rows = self._rows(
            """SELECT DISTINCT e.kind, e.namespace_id, e.name, e.run_id
                FROM outbox o JOIN entities e ON e.number = o.entity"""
        )
        return {EntityKey(*row) for row in rows}

    def orphans(self) -> list[tuple[str, int]]:
        """For each table with rows that belong to no entity: (table, number of such rows)."""
        counts = [
            (
                table,
                self._one(
                    f"SELECT count(*) FROM {table} WHERE entity NOT IN (SELECT number FROM entities)"
                ),
            )
            for table in _OWNED
        ]
        return [(table, count) for table, count in counts if count]

    def tasks(self) -> Iterator[TaskPlace]:
        for (
            queue,
            kind,
            shard_id,
            sequence,
            entity_kind,
            namespace_id,
            name,
            run_id,
            event,
            stamp,
        ) in self._rows(
            """SELECT queue, kind, shard_id, sequence, entity_kind, namespace_id, entity_name, run_id,
                    scheduled_event_id, stamp FROM tasks"""
        ):
            entity = EntityKey(entity_kind, namespace_id, name, run_id)
            yield TaskPlace(queue, kind, shard_id, sequence, entity, event, stamp)

    def effects(self) -> list[tuple[int, int, int]]:
        """(shard, sequence, number of the source)."""
        return self._rows("SELECT shard_id, sequence, entity FROM outbox")

    def stored(self, number: int, key: EntityKey) -> Stored:
        """All rows of an entity."""
        read, one = self._rows, (number,)
        visibility = _first(
            read(
                f"SELECT {', '.join(VisibilityRow.__struct_fields__)}, ended_ns FROM visibility WHERE entity = ?",
                one,
            )
        )
        in_flight = _first(read("SELECT shard_id FROM held WHERE entity = ?", one))
        return Stored(
            number,
            key,
            [
                FactRow(*row)
                for row in read("SELECT kind, key, value FROM facts WHERE entity = ?", one)
            ],
            [
                EventRow(*row)
                for row in read(
                    "SELECT branch, first_event_id, count, data FROM events WHERE entity = ? "
                    "ORDER BY branch, first_event_id",
                    one,
                )
            ],
            _first(read("SELECT shard_id, at_ns FROM wakes WHERE entity = ?", one)),
            in_flight[0] if in_flight else None,
            _first(read("SELECT shard_id, at_ns FROM retention WHERE entity = ?", one)),
            (VisibilityRow(*visibility[:-1]), visibility[-1]) if visibility else None,
        )

    def _one(self, statement: str) -> Any:
        return self._rows(statement)[0][0]

    def _rows(self, statement: str, arguments: tuple[Any, ...] = ()) -> list[Any]:
        try:
            return self._connection.execute(statement, arguments).fetchall()
        except READ_ERRORS as error:
            raise read_error(error) from error


def _first(rows: list[Any]) -> Any:
    return rows[0] if rows else None


def _text(stored: bytes) -> str:
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return UndecodableText(stored.decode(errors="backslashreplace"))


def _other_version(database: str, version: int) -> OpenError:
    has = f"{database} has schema version {version}, and this version of Perdure checks {SCHEMA_VERSION}"
    if version > SCHEMA_VERSION:
        return NewerSchema(f"{has}: upgrade Perdure")
    return OpenError(f"{has}: open it (or a copy) once, which upgrades it, then check it again")
