"""Connections for reads that may take long, each used by one thread at a time, so that short reads never wait for them.

Role: a pool in addition to the connection for short reads. A write-ahead log allows any number of readers; each
statement sees what was committed before it began. Connections and threads are created when a slow read finds none free,
and are kept.

Invariants: a connection reads the file that the store opened, not one that has replaced it since. A read is interrupted
if its caller is cancelled or its store is being closed. No read leaves a transaction open.
Not here: which reads are slow (`sqlite`), what a read does (`sqlite_read`).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Condition
from typing import Any, TypeVar

from perdure.storage.executors import run_jobs
from perdure.storage.file_watch import FileWatch
from perdure.storage.port import FileGone, StoreError
from perdure.storage.sqlite_reader import connect_reader, log_bytes

T = TypeVar("T")
Read = Callable[[sqlite3.Connection], T]
SLOW_READERS_MAX = 2
"""How many slow reads run at a time; further ones wait. More would not help: they share the disk and the processors."""
LOG_BYTES_MAX = 64 * 1024 * 1024
"""A longer log is written back before further slow reads begin. SQLite can restart the log only while nothing reads
from it, so slow reads that follow each other without a gap would let it grow without limit."""
_INTERRUPT_AGAIN_S = 0.01


class SlowReaders:
    """The pool of one open database file.

    Args:
        database: The file.
        watch: Notices when another file has taken its place.
        write_back: Writes the log back into the file, if it can. Called when no slow read runs.

    Attributes:
        rest_above_bytes: The length of the log above which it is written back next.
    """

    def __init__(
        self, database: Path, watch: FileWatch, write_back: Callable[[], Awaitable[None]]
    ) -> None:
        self._database = database
        self._watch = watch
        self._write_back = write_back
        self._rest: asyncio.Task[None] | None = None
        self.rest_above_bytes = LOG_BYTES_MAX
        self._under_way: set[asyncio.Future[Any]] = set()
        self._pool = ThreadPoolExecutor(SLOW_READERS_MAX, thread_name_prefix="perdure-slow-reader")
        self._changed = Condition()
        self._is_closed = False
        self._free: list[sqlite3.Connection] = []
        self._running: dict[_Ticket, sqlite3.Connection] = {}

    @property
    def running_count(self) -> int:
        """How many reads are running."""
        return len(self._running)

    @property
    def free_count(self) -> int:
        """How many connections are idle."""
        return len(self._free)

    async def run(self, read: Read[T]) -> T:
        """The result of a read.

        Raises:
            StoreError: The store is being closed, or its file is gone.
        """
        loop = asyncio.get_running_loop()
        if self._rest is None and log_bytes(self._database) > self.rest_above_bytes:
            self._rest = loop.create_task(self._shorten_log())
        if self._rest is not None:
            await asyncio.shield(self._rest)
        done: asyncio.Future[T] = loop.create_future()
        ticket = _Ticket()
        with self._changed:
            if self._is_closed:
                raise _closing()
            self._pool.submit(run_jobs, [(partial(self._perform, ticket, read), done)], loop)
        self._under_way.add(done)
        done.add_done_callback(self._under_way.discard)
        try:
            return await done
        except asyncio.CancelledError:
            self._leave(ticket)
            raise

    async def _shorten_log(self) -> None:
        try:
            if self._under_way:
                await asyncio.wait(self._under_way)
            if not self._is_closed:
                await self._write_back()
        finally:
            # The log stays long if another process reads it.
            self.rest_above_bytes = log_bytes(self._database) + LOG_BYTES_MAX
            self._rest = None

    def close(self) -> None:
        """Interrupt running reads, wait for them to end, and close the connections. Idempotent."""
        with self._changed:
            self._is_closed = True
            while self._running:
                for connection in self._running.values():
                    connection.interrupt()
                # Repeated, because an interrupt has no effect on a statement that has not begun.
                self._changed.wait(_INTERRUPT_AGAIN_S)
        self._pool.shutdown(wait=True)
        while self._free:
            self._free.pop().close()

    def _perform(self, ticket: _Ticket, read: Read[T]) -> T | None:
        """Run a read on a thread of the pool. None: the caller no longer waits."""
        if ticket.has_left:
            return None
        connection = self._take()
        try:
            with self._changed:
                if self._is_closed:
                    raise _closing()
                if ticket.has_left:
                    return None
                self._running[ticket] = connection
            return read(connection)
        except sqlite3.OperationalError:
            if self._is_closed:
                raise _closing() from None
            raise
        finally:
            with self._changed:
                self._running.pop(ticket, None)
                self._free.append(connection)
                self._changed.notify_all()

    def _take(self) -> sqlite3.Connection:
        with self._changed:
            if self._is_closed:
                raise _closing()
            if self._free:
                return self._free.pop()
        try:
            return self._connect()
        except FileGone as error:
            raise StoreError(str(error)) from error

    def _connect(self) -> sqlite3.Connection:
        self._watch.check()
        connection = connect_reader(self._database)
        try:
            connection.execute("SELECT 1 FROM shards LIMIT 1").fetchone()  # opens the log
            self._watch.check()
        except BaseException:
            connection.close()
            raise
        return connection

    def _leave(self, ticket: _Ticket) -> None:
        with self._changed:
            ticket.has_left = True
            connection = self._running.get(ticket)
            if connection is not None:
                connection.interrupt()


class _Ticket:
    """One call of `SlowReaders.run`."""

    has_left = False


def _closing() -> StoreError:
    return StoreError("the database is being closed")
