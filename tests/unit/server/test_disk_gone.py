"""A disk that answers nothing but errors for a while: calls fail, and service resumes when it is back (D-36)."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from perdure.storage.port import NotWritten
from perdure.storage.sqlite import open_sqlite
from perdure.wire import errors
from tests.unit.server.world import World, open_world


class Disk:
    """The connection that writes, of which every statement fails while the disk is gone."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.failures_left = 0
        self.failures = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def execute(self, *arguments: Any) -> Any:
        if self.failures_left:
            self.failures_left -= 1
            self.failures += 1
            raise sqlite3.OperationalError("disk I/O error")
        return self.connection.execute(*arguments)


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[tuple[World, Disk]]:
    store = await open_sqlite(tmp_path / "perdure.db")
    disk = Disk(store._writing)
    store._writing = cast("sqlite3.Connection", disk)
    world = await open_world(store)
    yield world, disk
    await world.node.close()


async def test_shards_are_taken_over_again_however_often_that_fails(file: tuple[World, Disk]):
    world, disk = file
    key = await world.start()
    (signal,) = await world.holding(world.signal(request_id="one"))
    world.faults.unknown = "lost"
    disk.failures_left = 3
    world.go_on()
    with pytest.raises(errors.Unavailable):
        await signal
    assert disk.failures == 3
    await world.signal(request_id="one")
    await world.check_memory(key)
    assert await world.engine.read(key, lambda state: state.signal_count) == 1


async def test_a_failed_take_over_is_an_error_of_the_port(tmp_path: Path):
    store = await open_sqlite(tmp_path / "perdure.db")
    disk = Disk(store._writing)
    store._writing = cast("sqlite3.Connection", disk)
    disk.failures_left = 1
    with pytest.raises(NotWritten, match="disk I/O error"):
        await store.acquire(0)
    disk.connection.execute("BEGIN")  # left open by something that went wrong
    assert (await store.acquire(0)).range_id == 1
    await store.close()
    await store.close()


async def test_a_bug_in_the_committer_does_not_end_it(
    file: tuple[World, Disk], monkeypatch: pytest.MonkeyPatch
):
    world, _ = file
    key = await world.start()

    async def broken(_: object) -> bool:
        raise AssertionError("a bug")

    (signal,) = await world.holding(world.signal(request_id="one"))
    world.faults.unknown = "lost"
    monkeypatch.setattr(world.engine.committer, "_settle", broken)
    world.go_on()
    with pytest.raises(errors.Unavailable):
        await signal
    shards = world.engine._shards
    shards.drop(shards.of(key), True)  # what `_settle` would have done
    await world.signal(request_id="one")
    await world.check_memory(key)
