"""Reads that take long have connections of their own: short reads never wait for them, and closing does not either."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perdure.storage import slow_readers
from perdure.storage.port import DamageError, StoreError, VisibilityQuery
from perdure.storage.slow_readers import SLOW_READERS_MAX
from perdure.storage.sqlite import SqliteStore, open_sqlite
from perdure.storage.sqlite_reader import log_bytes
from tests.stores.conftest import (
    QUEUE,
    A,
    B,
    Writer,
    events,
    files,
    open_inline,
    row,
    store_threads,
)

ALL = VisibilityQuery(namespace_id="n")
ENDLESS = VisibilityQuery(
    namespace_id="n",
    where="(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n) > 0",
)
"""A read that ends only when it is interrupted."""
SHORT_THREADS = ["perdure-reader_0", "perdure-writer_0"]
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def file_store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await open_sqlite(tmp_path / "x.db")
    writer = await Writer(store).acquire()
    await writer.entity(1, A, events=(events(1, 1),), visibility=row("r1"), wake_at_ns=5)
    yield store
    await store.close()


def pool(store: SqliteStore) -> slow_readers.SlowReaders:
    assert store.slow is not None
    return store.slow


async def endless(store: SqliteStore, count: int = 1) -> list[asyncio.Task[int]]:
    """Reads that run, and never end."""
    tasks = [asyncio.create_task(store.visibility_count(ENDLESS)) for _ in range(count)]
    await running(store, count)
    return tasks


async def running(store: SqliteStore, count: int) -> None:
    while pool(store).running_count != count:  # noqa: ASYNC110 -- threads tell nobody
        await asyncio.sleep(0)


async def ended(*tasks: asyncio.Task[int]) -> None:
    for task in tasks:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def short_reads(store: SqliteStore) -> None:
    assert await store.load(A) is not None
    assert len(await store.events(1, 0, 1, 1)) == 1
    assert await store.tasks(QUEUE, 0, 0, 9) == []
    assert [wake.key for wake in await store.wakes((0,), 9, 9)] == [A]
    assert await store.expired((0,), 9, 9) == []
    assert await store.outbox((0,)) == []
    assert await store.with_tasks_in_flight((0,)) == []
    assert await store.entities(A.kind) == [A]


@pytest.mark.parametrize("count", [1, SLOW_READERS_MAX, SLOW_READERS_MAX + 3])
async def test_short_reads_and_commits_do_not_wait_for_slow_reads(
    file_store: SqliteStore, count: int
):
    tasks = [asyncio.create_task(file_store.visibility_count(ENDLESS)) for _ in range(count)]
    await running(file_store, min(count, SLOW_READERS_MAX))
    await short_reads(file_store)
    await (await Writer(file_store).acquire()).entity(2, B)
    assert await file_store.load(B) is not None
    assert not any(task.done() for task in tasks)
    await ended(*tasks)


async def test_slow_reads_run_side_by_side_up_to_a_limit(file_store: SqliteStore):
    tasks = await endless(file_store, SLOW_READERS_MAX)
    waiting = asyncio.create_task(file_store.visibility(ALL))
    await short_reads(file_store)
    assert not waiting.done()
    await ended(tasks.pop())
    assert [one.run_id for one in await waiting] == ["r1"]
    assert pool(file_store).free_count == 1
    await ended(*tasks)
    await running(file_store, 0)
    assert pool(file_store).free_count == SLOW_READERS_MAX
    assert len(store_threads()) == 2 + SLOW_READERS_MAX


async def test_a_slow_read_that_nobody_waits_for_any_more_is_left_out(file_store: SqliteStore):
    tasks = await endless(file_store, SLOW_READERS_MAX)
    left = [asyncio.create_task(file_store.visibility_count(ENDLESS)) for _ in range(5)]
    await short_reads(file_store)
    await ended(*left)
    await ended(*tasks)
    assert await file_store.visibility_count(ALL) == 1
    await running(file_store, 0)


async def test_threads_and_connections_of_slow_reads_are_made_when_needed(file_store: SqliteStore):
    await short_reads(file_store)
    assert store_threads() == SHORT_THREADS
    for _ in range(SLOW_READERS_MAX + 1):
        assert await file_store.visibility_count(ALL) == 1
    assert pool(file_store).free_count == 1
    await file_store.close()
    await file_store.close()
    assert store_threads() == []


async def test_each_read_sees_what_was_committed_before_it_began(file_store: SqliteStore):
    writer = await Writer(file_store).acquire()
    for number in range(2, 9):
        await writer.entity(number, A._replace(run_id=f"r{number}"), visibility=row(f"r{number}"))
        answers = await asyncio.gather(
            file_store.visibility_count(ALL),
            file_store.visibility(ALL),
            file_store.visibility_count(ALL),
        )
        assert (answers[0], len(answers[1]), answers[2]) == (number, number, number)


@pytest.mark.parametrize("is_damaged", [False, True])
async def test_a_list_that_is_broken_off_does_not_keep_its_moment(
    file_store: SqliteStore, is_damaged: bool
):
    writer = await Writer(file_store).acquire()
    await writer.entity(2, B, visibility=row("r2"))
    kept: list[BaseException] = []  # the traceback has the frame of the read
    if is_damaged:
        file_store.writing.execute("UPDATE visibility SET status = 'x' WHERE run_id = 'r2'")
        with pytest.raises(DamageError, match="value of another type") as caught:
            await file_store.visibility(ALL)
        kept.append(caught.value)
    else:
        limited = VisibilityQuery(namespace_id="n", bytes_max=1)
        assert len(await file_store.visibility(limited)) == 2
    await writer.entity(3, A._replace(run_id="r3"), visibility=row("r3"))
    assert await file_store.visibility_count(ALL) == 3
    assert pool(file_store).free_count == 1


@pytest.mark.parametrize("count", [1, SLOW_READERS_MAX + 2])
async def test_closing_interrupts_slow_reads(file_store: SqliteStore, tmp_path: Path, count: int):
    tasks = [asyncio.create_task(file_store.visibility_count(ENDLESS)) for _ in range(count)]
    await running(file_store, min(count, SLOW_READERS_MAX))
    await file_store.close()
    for task in tasks:
        with pytest.raises(StoreError, match="the database is being closed"):
            await task
    assert store_threads() == []
    assert files(tmp_path) == ["x.db", "x.db.lock"]
    with pytest.raises(StoreError, match="the database is being closed"):
        await file_store.visibility_count(ALL)


async def test_closing_interrupts_a_read_that_begins_at_that_moment(file_store: SqliteStore):
    tasks = [asyncio.create_task(file_store.visibility_count(ENDLESS)) for _ in range(9)]
    await asyncio.sleep(0)
    await file_store.close()
    for task in tasks:
        with pytest.raises(StoreError, match="the database is being closed"):
            await task
    assert store_threads() == []


def test_abandoning_interrupts_slow_reads(tmp_path: Path):
    loop = asyncio.new_event_loop()
    store = loop.run_until_complete(open_sqlite(tmp_path / "x.db"))
    writer = loop.run_until_complete(Writer(store).acquire())
    loop.run_until_complete(writer.entity(1, A, visibility=row("r1")))
    (task,) = loop.run_until_complete(endless(store))
    store.abandon()
    assert store_threads() == []
    with pytest.raises(StoreError, match="the database is being closed"):
        loop.run_until_complete(task)
    loop.close()


async def test_an_error_in_one_reader_stays_there(file_store: SqliteStore):
    tasks = await endless(file_store)
    file_store.writing.execute("UPDATE visibility SET memo = 7")
    with pytest.raises(DamageError, match="value of another type"):
        await file_store.visibility(ALL)
    wrong = VisibilityQuery(namespace_id="n", where="no_such_column > ?", arguments=(1,))
    with pytest.raises(DamageError, match="no such column"):
        await file_store.visibility_count(wrong)
    assert not tasks[0].done()
    await short_reads(file_store)
    assert await file_store.visibility_count(ALL) == 1
    await ended(*tasks)


async def test_slow_readers_cannot_write(file_store: SqliteStore):
    def delete(connection: sqlite3.Connection) -> object:
        return connection.execute("DELETE FROM shards")

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await pool(file_store).run(delete)
    assert len(await file_store.visibility(ALL)) == 1


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_a_later_connection_reads_the_file_that_was_opened(
    file_store: SqliteStore, tmp_path: Path, is_replaced: bool
):
    path, kept = tmp_path / "x.db", tmp_path / "kept.db"
    if is_replaced:
        await (await open_inline(tmp_path / "other.db")).close()
    await short_reads(file_store)
    path.rename(kept)
    if is_replaced:
        shutil.copy(tmp_path / "other.db", path)
    with pytest.raises(StoreError, match="was deleted, moved or replaced"):
        await file_store.visibility_count(ALL)
    await short_reads(file_store)
    kept.replace(path)
    assert await file_store.visibility_count(ALL) == 1


async def test_all_reads_share_an_executor_that_was_given(tmp_path: Path):
    store = await open_inline(tmp_path / "x.db")
    said: list[str] = []
    store.reading.set_trace_callback(said.append)
    assert await store.visibility_count(ALL) == 0
    assert len(said) == 1
    assert store_threads() == []
    store.reading.set_trace_callback(None)
    await store.close()


@pytest.fixture
def short_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_readers, "LOG_BYTES_MAX", 1)


@pytest.mark.usefixtures("short_log")
async def test_a_long_log_is_written_back_between_slow_reads(tmp_path: Path):
    path = tmp_path / "x.db"
    store = await open_sqlite(path)
    writer = await Writer(store).acquire()
    await writer.entity(1, A, visibility=row("r1"))
    assert log_bytes(path) > 1
    assert await store.visibility_count(ALL) == 1
    assert log_bytes(path) == 0
    tasks = await endless(store)
    await writer.entity(2, B, visibility=row("r2"))
    waiting = asyncio.create_task(store.visibility_count(ALL))
    assert await store.load(B) is not None
    assert not waiting.done(), "the log cannot be written back while it is read"
    await ended(*tasks)
    assert await waiting == 2
    assert log_bytes(path) == 0
    await store.close()


@pytest.mark.usefixtures("short_log")
async def test_a_log_that_another_process_reads_does_not_stop_slow_reads(tmp_path: Path):
    path = tmp_path / "x.db"
    store = await open_sqlite(path)
    writer = await Writer(store).acquire()
    await writer.entity(1, A, visibility=row("r1"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT * FROM shards").fetchall()
    assert await store.visibility_count(ALL) == 1
    length = log_bytes(path)
    assert length > 1
    assert pool(store).rest_above_bytes == length + 1, "it is not tried again at once"
    assert store.writing.execute("PRAGMA busy_timeout").fetchone() == (5_000,)
    other.close()
    number = 1
    while log_bytes(path) == length:  # it begins anew, and is not longer at once
        number += 1
        await writer.entity(number, B._replace(run_id=f"r{number}"), visibility=row(f"r{number}"))
    assert await store.visibility_count(ALL) == number
    assert log_bytes(path) == 0
    await store.close()


@pytest.mark.usefixtures("short_log")
async def test_a_store_is_closed_while_slow_reads_wait_for_the_log(tmp_path: Path):
    store = await open_sqlite(tmp_path / "x.db")
    writer = await Writer(store).acquire()
    tasks = [asyncio.create_task(store.visibility_count(ENDLESS)) for _ in range(3)]
    await writer.entity(1, A, visibility=row("r1"))
    await store.close()
    for task in tasks:
        with pytest.raises(StoreError, match="the database is being closed"):
            await task
