"""Every store, opened; a writer that keeps its fence; rows to write."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from perdure.core.ids import EntityKey, QueueKey, QueueKind, run_key
from perdure.entity.transition import EventRow, VisibilityRow
from perdure.storage.executors import InlineExecutor
from perdure.storage.port import CommitBatch, EntityWrite, ShardWrite, Store
from perdure.storage.sqlite import SqliteStore, open_memory, open_sqlite

QUEUE = QueueKey("n", "q", QueueKind.WORKFLOW)


@pytest.fixture(params=["memory", "file", "file-inline"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        opened = open_memory()
    elif request.param == "file":
        opened = await open_sqlite(tmp_path / "x.db")
    else:
        opened = await open_inline(tmp_path / "x.db")
    yield opened
    await opened.close()


async def open_inline(path: Path, shard_count: int = 4) -> SqliteStore:
    """A database file, read and written on the thread of the test."""
    executor = InlineExecutor()
    return await open_sqlite(path, shard_count=shard_count, writer=executor, reader=executor)


def files(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


class Writer:
    """Commits to shard 0 with the right fence."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.range_id = 0
        self.sequence = 0

    async def acquire(self) -> Writer:
        lease = await self.store.acquire(0)
        self.range_id, self.sequence = lease.range_id, lease.sequence
        return self

    def fence(self, **changes: int) -> ShardWrite:
        values = {
            "shard_id": 0, "range_id": self.range_id, "sequence": self.sequence, "clock_ns": 7, "last_entity": 9,
        }  # fmt: skip
        return ShardWrite(**(values | changes))

    async def write(self, *writes: EntityWrite) -> None:
        await self.store.commit(CommitBatch((self.fence(),), writes))
        self.sequence += 1

    async def entity(self, number: int, key: EntityKey, **changes: Any) -> None:
        await self.write(EntityWrite(number=number, key=key, shard_id=0, is_new=True, **changes))

    async def change(self, number: int, key: EntityKey, **changes: Any) -> None:
        await self.write(EntityWrite(number=number, key=key, shard_id=0, **changes))


@pytest.fixture
async def writer(store: Store) -> Writer:
    return await Writer(store).acquire()


A, B = run_key("n", "a", "r1"), run_key("n", "b", "r2")


def events(first: int, count: int, branch: int = 0) -> EventRow:
    return EventRow(branch, first, count, b"%d+%d" % (first, count))


def row(run_id: str, start_ns: int = 1, close_ns: int = 0, **changes: Any) -> VisibilityRow:
    values: dict[str, Any] = {
        "namespace_id": "n", "workflow_id": f"id-{run_id}", "run_id": run_id, "workflow_type": "T",
        "task_queue": "q", "status": 2 if close_ns else 1, "start_ns": start_ns, "execution_ns": start_ns,
        "close_ns": close_ns, "memo": b"\x00m",
    }  # fmt: skip
    return VisibilityRow(**(values | changes))


STORE_THREADS = ("perdure-reader", "perdure-slow-reader", "perdure-writer")


def store_threads() -> list[str]:
    """Names of the threads that stores have; a worker's watchdog of an earlier test may run as well."""
    names = (thread.name for thread in threading.enumerate())
    return sorted(name for name in names if name.startswith(STORE_THREADS))
