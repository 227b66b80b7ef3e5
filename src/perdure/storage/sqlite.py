"""The SQLite store: a connection for writes and checkpoints, one for short reads, and a few for slow reads.

Each has its own executor or threads. In memory all share one connection and one executor, because a database in memory
belongs to its connection, so a slow read delays the others. The statements are the same, but nothing is durable.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from perdure.core.ids import EntityKey, QueueKey, TaskRowId
from perdure.entity.transition import EventRow, VisibilityRow
from perdure.storage import sqlite_commit, sqlite_read
from perdure.storage.executors import Executor, InlineExecutor, ThreadExecutor
from perdure.storage.file_lock import FileLock, Progress
from perdure.storage.file_system import check_file_system, check_name, write_problem
from perdure.storage.file_watch import FileWatch
from perdure.storage.lost_commits import NOTHING, check_complete, check_opened, stored_progress
from perdure.storage.port import (
    CommitBatch,
    DamagedWrite,
    DoubtfulTasks,
    NotWritten,
    ShardLease,
    StoredEffect,
    StoredEntity,
    StoreFull,
    TaskRow,
    VisibilityQuery,
    WakeRow,
)
from perdure.storage.slow_readers import SlowReaders
from perdure.storage.sqlite_errors import READ_ERRORS, read_error, write_error
from perdure.storage.sqlite_open import connect_file, connect_memory
from perdure.storage.sqlite_reader import connect_reader

P = ParamSpec("P")
T = TypeVar("T")
SHARD_COUNT_DEFAULT = 4
_WRITE_BACK_WAIT_MS = 100
"""How long writing back the log, and with it the next commit, waits for short reads."""
_Opened = tuple[FileLock, sqlite3.Connection, sqlite3.Connection, FileWatch, SlowReaders]


async def open_sqlite(
    path: Path,
    *,
    shard_count: int = SHARD_COUNT_DEFAULT,
    writer: Executor | None = None,
    reader: Executor | None = None,
) -> SqliteStore:
    """Open or create the database at `path`.

    Args:
        path: The file; `<path>.lock` is created beside it and held until `close`.
        shard_count: Number of shards of a new database; an existing one keeps its own.
        writer: Where commits run; a thread of its own by default.
        reader: Where all reads run. By default short reads have a thread of their own, and slow ones use `SlowReaders`.

    Raises:
        perdure.storage.port.OpenError: The database is in use, damaged, of a newer version, or not accessible, or has
            lost commits.

    Example:
        store = await open_sqlite(Path("orders.db"))
    """
    writer = writer or ThreadExecutor("perdure-writer")
    has_slow_readers = reader is None
    reader = reader or ThreadExecutor("perdure-reader")

    def connect() -> _Opened:
        check_name(path)
        file = path.resolve()
        check_file_system(file)
        lock = FileLock(file)
        try:
            # Now, so that a backup that takes the place of a later state is accepted once and for all.
            known = check_opened(file, lock.found)
            lock.write_down(known)
            writing = connect_file(file, shard_count)
        except BaseException:
            lock.release()
            raise
        try:
            check_complete(writing, file, known)
            reading, watch = connect_reader(file), FileWatch(file)
            slow = SlowReaders(file, watch, lambda: writer.run(partial(_write_back, writing)))
            return lock, writing, reading, watch, slow
        except BaseException:
            writing.close()
            lock.release()
            raise

    try:
        lock, writing, reading, watch, slow = await writer.run(connect)
    except BaseException:
        writer.close()
        reader.close()
        raise
    return SqliteStore(
        writing, reading, writer, reader, lock, watch=watch, slow=slow if has_slow_readers else None
    )


def open_memory(
    *,
    shard_count: int = SHARD_COUNT_DEFAULT,
    executor: Executor | None = None,
    connection: sqlite3.Connection | None = None,
) -> SqliteStore:
    """A store in memory.

    Args:
        shard_count: Number of shards of a new database.
        executor: Where statements run; inline by default.
        connection: A database from `connect_memory` that outlives the store, for simulated crashes.
    """
    executor = executor or InlineExecutor()
    kept = connection is not None
    connection = connection or connect_memory(shard_count)
    return SqliteStore(connection, connection, executor, executor, None, keep_open=kept)


class SqliteStore:
    """A `Store` over SQLite; made by `open_sqlite` or `open_memory`.

    Attributes:
        writing: The connection of commits. Only `writer` uses it while the store is open.
        reading: The connection of short reads, and of all reads if `slow` is None. In memory it is `writing`.
        slow: The other connections of reads; None if one executor runs all reads.
    """

    def __init__(
        self,
        writing: sqlite3.Connection,
        reading: sqlite3.Connection,
        writer: Executor,
        reader: Executor,
        lock: FileLock | None,
        *,
        keep_open: bool = False,
        watch: FileWatch | None = None,
        slow: SlowReaders | None = None,
    ) -> None:
        self.writing = writing
        self.reading = reading
        self._writer = writer
        self._reader = reader
        self.slow = slow
        self._lock = lock
        self._keep_open = keep_open
        self._watch = watch
        self._is_closed = False
        self._progress = stored_progress(writing) or NOTHING
        self._shard_count: int = writing.execute("SELECT count(*) FROM shards").fetchone()[0]

    @property
    def shard_count(self) -> int:
        return self._shard_count

    async def acquire(self, shard_id: int) -> ShardLease:
        def take() -> ShardLease:
            connection = self.writing
            try:
                sqlite_commit.rollback(connection)  # an earlier failure may have left one open
                connection.execute("BEGIN IMMEDIATE")
                row = connection.execute(
                    "SELECT range_id, commit_sequence, clock_ns, last_entity FROM shards WHERE shard_id = ?",
                    (shard_id,),
                ).fetchone()
                connection.execute(
                    "UPDATE shards SET range_id = range_id + 1 WHERE shard_id = ?", (shard_id,)
                )
                # After a commit of unknown outcome the number is in doubt.
                self._progress = stored_progress(connection) or self._progress
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                # If a transaction stays open, the next one rolls it back.
                why = self._explained(write_error(error))
                raise type(why)(f"shard {shard_id} could not be taken over: {why}") from error
            if row is None:
                raise DamagedWrite(
                    f"the row of shard {shard_id} is missing: restore the database from a backup"
                )
            if self._lock is not None:
                self._lock.write_down(self._progress)
            previous, sequence, clock_ns, last_entity = row
            return ShardLease(shard_id, previous + 1, sequence, clock_ns, last_entity, previous)

        return await self._writer.run(take)

    async def commit(self, batch: CommitBatch) -> None:
        await self._writer.run(partial(self._write, batch))

    def _write(self, batch: CommitBatch) -> None:
        if self._watch is not None:
            self._watch.check()
        try:
            sqlite_commit.write(self.writing, batch)
        except NotWritten as error:
            why = self._explained(error)
            if why is error:
                raise
            raise why from error
        if self._lock is not None:
            commits, clock_ns = self._progress
            latest_ns = max((clock_ns, *(shard.clock_ns for shard in batch.shards)))
            self._progress = Progress(commits + len(batch.shards), latest_ns)
            self._lock.write_down(self._progress)

    def _explained(self, error: NotWritten) -> NotWritten:
        """The same error, with the reason that SQLite does not tell."""
        if type(error) is not NotWritten or self._watch is None:
            return error
        problem = write_problem(self._watch.folder)
        if problem is None:
            return error
        kind = StoreFull if problem.is_no_space else NotWritten
        return kind(f"{error}: {problem.reason}")

    async def load(self, key: EntityKey) -> StoredEntity | None:
        return await self._read(sqlite_read.load, key)

    async def events(
        self, number: int, branch: int, first_event_id: int, last_event_id: int
    ) -> list[EventRow]:
        return await self._read(sqlite_read.events, number, branch, first_event_id, last_event_id)

    async def tasks(
        self, queue: QueueKey, shard_id: int, after_sequence: int, limit: int
    ) -> list[TaskRow]:
        return await self._read(sqlite_read.tasks, queue, shard_id, after_sequence, limit)

    async def doubtful_tasks(
        self, shard_ids: Sequence[int], before_ns: int, after: TaskRowId | None, limit: int
    ) -> DoubtfulTasks:
        return await self._slow_read(sqlite_read.doubtful_tasks, shard_ids, before_ns, after, limit)

    async def wakes(self, shard_ids: Sequence[int], until_ns: int, limit: int) -> list[WakeRow]:
        return await self._read(sqlite_read.wakes, shard_ids, until_ns, limit)

    async def expired(self, shard_ids: Sequence[int], until_ns: int, limit: int) -> list[EntityKey]:
        return await self._read(sqlite_read.expired, shard_ids, until_ns, limit)

    async def outbox(self, shard_ids: Sequence[int]) -> list[StoredEffect]:
        return await self._read(sqlite_read.outbox, shard_ids)

    async def with_tasks_in_flight(self, shard_ids: Sequence[int]) -> list[EntityKey]:
        return await self._read(sqlite_read.with_tasks_in_flight, shard_ids)

    async def entities(self, kind: int, fact_kind: int | None = None) -> list[EntityKey]:
        return await self._read(sqlite_read.entities, kind, fact_kind)

    async def visibility(self, query: VisibilityQuery) -> list[VisibilityRow]:
        return await self._slow_read(sqlite_read.visibility, query)

    async def visibility_count(self, query: VisibilityQuery) -> int:
        return await self._slow_read(sqlite_read.visibility_count, query)

    async def visibility_counts(self, query: VisibilityQuery) -> dict[int, int]:
        return await self._slow_read(sqlite_read.visibility_counts, query)

    async def close(self) -> None:
        """Finish what runs, write the log back into the file, release the lock. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        if not self._keep_open:
            if self.slow is not None:
                await self._writer.run(self.slow.close)
            if self.reading is not self.writing:
                await self._reader.run(self.reading.close)
            await self._writer.run(self.writing.close)
        self._writer.close()
        self._reader.close()
        if self._lock is not None:
            self._lock.release()

    def abandon(self) -> None:
        """Let go of everything at once, outside any event loop: the loop that used the store has ended."""
        if self.slow is not None:
            self.slow.close()
        self._writer.close()
        self._reader.close()
        self.reading.close()
        self.writing.close()
        if self._lock is not None:
            self._lock.release()

    def leave_to_parent(self) -> None:
        """In a forked child: touch nothing (SQLite forbids it) but the lock, which must not outlive the parent."""
        if self._lock is not None:
            self._lock.leave_to_parent()

    async def _read(
        self,
        read: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        try:
            return await self._reader.run(partial(read, self.reading, *args, **kwargs))
        except READ_ERRORS as error:
            raise read_error(error) from error

    async def _slow_read(
        self,
        read: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        if self.slow is None:
            return await self._read(read, *args, **kwargs)
        try:
            return await self.slow.run(lambda connection: read(connection, *args, **kwargs))
        except READ_ERRORS as error:
            raise read_error(error) from error


def _write_back(connection: sqlite3.Connection) -> None:
    """Write the log back into the file and empty it, unless another connection reads from it for too long."""
    with suppress(sqlite3.Error):  # the next commit reports what is wrong
        (usual_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
        try:
            connection.execute(f"PRAGMA busy_timeout = {_WRITE_BACK_WAIT_MS}")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {usual_ms}")
