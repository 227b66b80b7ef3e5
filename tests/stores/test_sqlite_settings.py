"""How each connection to a SQLite database is set: what must be durable, who may write, how long one waits."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pytest

from perdure.storage.port import OpenError
from perdure.storage.sqlite import open_memory, open_sqlite
from perdure.storage.sqlite_open import connect_file
from perdure.storage.sqlite_reader import connect_reader
from tests.stores.conftest import files, open_inline, store_threads

WRITER = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: the log is synced in each commit
    "fullfsync": 1,
    "checkpoint_fullfsync": 1,
    "wal_autocheckpoint": 4_000,
    "journal_size_limit": 64 * 1024 * 1024,
    "temp_store": 2,
    "cache_size": -32_768,
    "busy_timeout": 5_000,
    "query_only": 0,
    "locking_mode": "normal",
}
READER = {"journal_mode": "wal", "busy_timeout": 5_000, "locking_mode": "normal"}


def settings(connection: sqlite3.Connection, names: Mapping[str, object]) -> dict[str, object]:
    return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}


@pytest.mark.parametrize("is_new", [True, False])
async def test_both_connections_of_a_file_are_set(tmp_path: Path, is_new: bool):
    path = tmp_path / "x.db"
    if not is_new:
        await (await open_inline(path)).close()
    store = await open_inline(path)
    assert settings(store.writing, WRITER) == WRITER
    assert settings(store.reading, READER) == READER
    for connection in (store.writing, store.reading):
        assert connection.isolation_level is None, "transactions are begun by hand"
    await store.close()


async def test_only_the_writer_writes(tmp_path: Path):
    store = await open_inline(tmp_path / "x.db")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        store.reading.execute("DELETE FROM shards")
    assert store.writing.execute("SELECT count(*) FROM shards").fetchone() == (4,)
    await store.close()


def test_a_reader_never_makes_a_database(tmp_path: Path):
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        connect_reader(tmp_path / "x.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a b.db", "a?mode=rwc.db", "a#b.db", "a%20b.db", "é.db"])
async def test_a_file_of_any_name_is_read_and_written(tmp_path: Path, name: str):
    store = await open_inline(tmp_path / name)
    assert (await store.acquire(0)).range_id == 1
    assert store.reading.execute("SELECT range_id FROM shards").fetchone() == (1,)
    await store.close()
    assert files(tmp_path) == sorted([name, f"{name}.lock"])


async def test_the_reader_sees_one_moment_and_does_not_stop_the_writer(tmp_path: Path):
    store = await open_inline(tmp_path / "x.db")
    store.reading.execute("BEGIN")
    assert store.reading.execute("SELECT range_id FROM shards").fetchone() == (0,)
    assert (await store.acquire(0)).range_id == 1
    assert store.reading.execute("SELECT range_id FROM shards").fetchone() == (0,)
    store.reading.execute("COMMIT")
    assert store.reading.execute("SELECT range_id FROM shards").fetchone() == (1,)
    await store.close()


def test_without_a_write_ahead_log_a_database_is_refused(tmp_path: Path):
    # SQLite's own file system with dot files has no shared memory, and so no write-ahead log.
    with pytest.raises(OpenError, match=r"does not support a write-ahead log \(got 'delete'\)"):
        connect_file(Path(f"file:{tmp_path}/x.db?vfs=unix-dotfile"), 4)


def test_a_database_in_memory_has_its_own_shards_and_one_connection():
    store = open_memory(shard_count=7)
    assert store.shard_count == 7
    assert store.reading is store.writing
    assert store.writing.isolation_level is None


async def test_each_connection_of_a_file_has_a_thread_of_its_own(tmp_path: Path):
    assert store_threads() == []
    store = await open_sqlite(tmp_path / "x.db")
    await store.acquire(0)
    assert await store.with_tasks_in_flight((0,)) == []
    assert store_threads() == ["perdure-reader_0", "perdure-writer_0"]
    await store.close()
    await store.close()
    assert store_threads() == []


async def test_closing_writes_the_log_back_into_the_file(tmp_path: Path):
    store = await open_inline(tmp_path / "x.db")
    await store.acquire(0)
    assert (tmp_path / "x.db-wal").stat().st_size > 0
    await store.close()
    assert files(tmp_path) == ["x.db", "x.db.lock"]
    for connection in (store.writing, store.reading):
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


async def test_abandoning_lets_go_of_everything(tmp_path: Path):
    store = await open_inline(tmp_path / "x.db")
    store.abandon()
    for connection in (store.writing, store.reading):
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
    await (await open_inline(tmp_path / "x.db")).close()


async def test_abandoning_ends_the_threads(tmp_path: Path):
    store = await open_sqlite(tmp_path / "x.db")
    await store.acquire(0)
    assert await store.with_tasks_in_flight((0,)) == []
    store.abandon()
    assert store_threads() == []
