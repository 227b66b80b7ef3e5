"""What concerns a database file: locks, damage, versions, space."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from pathlib import Path

import pytest

from perdure.core.ids import run_key
from perdure.entity.transition import EventRow
from perdure.storage.port import (
    CommitBatch,
    Damaged,
    EntityWrite,
    InUse,
    NewerSchema,
    OpenError,
    ShardLease,
    ShardWrite,
    StoreFull,
)
from perdure.storage.schema import SCHEMA_VERSION
from perdure.storage.sqlite import open_sqlite
from tests.stores.conftest import open_inline

KEY = run_key("n", "a", "r")


def fence(lease: ShardLease) -> tuple[ShardWrite]:
    return (ShardWrite(0, lease.range_id, lease.sequence, 0, 0),)


def big(number: int, size: int) -> EntityWrite:
    row = EventRow(0, 1, 1, b"x" * size)
    return EntityWrite(
        number=number, key=run_key("n", f"w{number}", "r"), shard_id=0, is_new=True, events=(row,)
    )


async def test_what_was_committed_is_there_after_reopening(tmp_path: Path):
    path = tmp_path / "x.db"
    store = await open_inline(path)
    lease = await store.acquire(0)
    write = EntityWrite(number=1, key=KEY, shard_id=0, is_new=True)
    await store.commit(CommitBatch(fence(lease), (write,)))
    await store.close()
    again = await open_sqlite(path, shard_count=99)
    assert again.shard_count == 4, "an existing database keeps its own number of shards"
    assert await again.load(KEY) is not None
    assert (await again.acquire(0)).range_id == lease.range_id + 1
    await again.close()


async def test_a_commit_survives_the_process(tmp_path: Path):
    path = tmp_path / "x.db"
    script = f"""
import asyncio, os
from pathlib import Path
from perdure.core.ids import run_key
from perdure.storage.port import CommitBatch, EntityWrite, ShardWrite
from perdure.storage.sqlite import open_sqlite
from tests.stores.conftest import open_inline
async def main():
    store = await open_sqlite(Path({str(path)!r}))
    lease = await store.acquire(0)
    write = EntityWrite(number=1, key=run_key("n", "a", "r"), shard_id=0, is_new=True)
    await store.commit(CommitBatch((ShardWrite(0, lease.range_id, lease.sequence, 0, 0),), (write,)))
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, env=child_environment()
    )
    assert await child.wait() == -9
    store = await open_inline(path)
    assert await store.load(KEY) is not None
    await store.close()


def child_environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


async def test_a_second_opener_is_told_who_has_it(tmp_path: Path):
    path = tmp_path / "x.db"
    store = await open_inline(path)
    with pytest.raises(InUse, match=rf"x\.db is in use by process {os.getpid()}:"):
        await open_inline(path)
    await store.close()
    await (await open_inline(path)).close()


async def test_another_programs_database_is_left_alone(tmp_path: Path):
    path = tmp_path / "x.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(Damaged, match="another program"):
        await open_inline(path)
    assert path.read_bytes() == before


async def test_a_newer_database_is_refused(tmp_path: Path):
    path = tmp_path / "x.db"
    await (await open_inline(path)).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(NewerSchema, match="upgrade Perdure"):
        await open_inline(path)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path):
    path = tmp_path / "x.db"
    path.write_text("hello, this is a text file and no database at all")
    with pytest.raises(Damaged, match="no SQLite database"):
        await open_inline(path)


async def test_a_damaged_database_is_refused(tmp_path: Path):
    path = tmp_path / "x.db"
    store = await open_inline(path)
    lease = await store.acquire(0)
    await store.commit(CommitBatch(fence(lease), tuple(big(n, 3_000) for n in range(1, 30))))
    await store.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(Damaged, match="restore it from a backup"):
        await open_inline(path)


async def test_a_missing_directory_is_said(tmp_path: Path):
    with pytest.raises(OpenError, match="directory that exists"):
        await open_inline(tmp_path / "nowhere" / "x.db")


async def test_a_full_disk_refuses_the_batch_until_there_is_space(tmp_path: Path):
    store = await open_inline(tmp_path / "x.db")
    lease = await store.acquire(0)
    pages = store.writing.execute("PRAGMA page_count").fetchone()[0]
    store.writing.execute(f"PRAGMA max_page_count = {pages + 3}")
    with pytest.raises(StoreFull):
        await store.commit(CommitBatch(fence(lease), (big(1, 100_000),)))
    assert await store.load(run_key("n", "w1", "r")) is None
    store.writing.execute("PRAGMA max_page_count = 1000000")
    await store.commit(CommitBatch(fence(lease), (big(1, 100_000),)))
    assert await store.load(run_key("n", "w1", "r")) is not None
    await store.close()
