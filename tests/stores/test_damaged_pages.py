"""Rows on pages that the disk cannot read or write: only their entities are to blame, whatever SQLite rolls back.

After an error of the disk SQLite rolls back the whole transaction by itself, unlike after other errors of a statement.
A disk cannot be made to fail at a row on demand, so the errors are injected between the store and SQLite.
"""

from __future__ import annotations

import sqlite3
from typing import Any, cast

import pytest

from perdure.core.ids import run_key
from perdure.storage.port import DamagedRows, DamagedWrite, EntityWrite, FactRow
from perdure.storage.sqlite import SqliteStore, open_memory
from tests.stores.conftest import Writer

CORRUPT = sqlite3.SQLITE_CORRUPT
UNREADABLE = sqlite3.SQLITE_IOERR | 33 << 8
"""The device answers that a sector cannot be read."""
CHECKSUM = sqlite3.SQLITE_IOERR | 32 << 8


class BadPages:
    """A connection that fails at the facts of some entities, as SQLite does when their page cannot be read."""

    def __init__(self, connection: sqlite3.Connection, code: int, *numbers: int) -> None:
        self.connection = connection
        self.code = code
        self.numbers = numbers
        self.rolls_back = code != CORRUPT
        self.fails_once = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def executemany(self, statement: str, rows: list[tuple[Any, ...]]) -> Any:
        if statement.startswith("INSERT INTO facts"):
            for place, row in enumerate(rows):
                if row[0] in self.numbers:
                    self.connection.executemany(statement, rows[:place])
                    self._fail()
        return self.connection.executemany(statement, rows)

    def _fail(self) -> None:
        if self.fails_once:
            self.numbers = ()
        if self.rolls_back:
            self.connection.execute("ROLLBACK")
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = self.code
        raise error


def damaged(store: SqliteStore, code: int, *numbers: int) -> BadPages:
    pages = BadPages(store.writing, code, *numbers)
    store.writing = cast("sqlite3.Connection", pages)
    return pages


def entity(number: int) -> EntityWrite:
    key = run_key("n", f"w{number}", "r")
    return EntityWrite(
        number=number, key=key, shard_id=0, is_new=True, facts=(FactRow(1, "", b"x"),)
    )


@pytest.mark.parametrize("code", [CORRUPT, UNREADABLE, CHECKSUM])
@pytest.mark.parametrize("guilty", [(1,), (2,), (4,), (1, 2), (2, 4), (1, 2, 3, 4)])
async def test_only_the_entities_on_damaged_pages_are_to_blame(code: int, guilty: tuple[int, ...]):
    store = open_memory()
    writer = await Writer(store).acquire()
    pages = damaged(store, code, *guilty)
    batch = [entity(number) for number in range(1, 5)]
    with pytest.raises(DamagedRows, match="restore it from a backup") as caught:
        await writer.write(*batch)
    assert caught.value.numbers == set(guilty)
    assert not pages.connection.in_transaction
    assert pages.connection.execute("SELECT count(*) FROM entities").fetchone() == (0,)
    sound = [one for one in batch if one.number not in guilty]
    await writer.write(*sound)
    found = [one.number for one in batch if await store.load(one.key) is not None]
    assert found == [one.number for one in sound]
    await store.close()


@pytest.mark.parametrize("code", [CORRUPT, UNREADABLE])
async def test_a_name_that_the_batch_frees_and_takes_again_is_not_to_blame(code: int):
    store = open_memory()
    writer = await Writer(store).acquire()
    await writer.write(entity(1))
    damaged(store, code, 3)
    again = entity(2)
    again.key = entity(1).key
    gone = EntityWrite(number=1, key=entity(1).key, shard_id=0, is_deleted=True)
    with pytest.raises(DamagedRows) as caught:
        await writer.write(gone, entity(3), again)
    assert caught.value.numbers == {3}
    await writer.write(gone, again)
    stored = await store.load(again.key)
    assert stored is not None
    assert stored.number == 2
    await store.close()


async def test_damage_that_shows_only_once_blames_no_entity():
    store = open_memory()
    writer = await Writer(store).acquire()
    pages = damaged(store, UNREADABLE, 2)
    pages.fails_once = True
    batch = [entity(number) for number in range(1, 4)]
    with pytest.raises(DamagedWrite):
        await writer.write(*batch)
    assert not pages.connection.in_transaction
    await writer.write(*batch)
    await store.close()


async def test_sqlite_rolls_everything_back_after_such_errors():
    """What `BadPages` imitates, shown with the one error of this kind that can be had without a broken disk."""
    store = open_memory()
    connection = store.writing
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("SAVEPOINT one")
    connection.execute("UPDATE shards SET clock_ns = 5")
    connection.set_progress_handler(lambda: 1, 1)
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        connection.execute("UPDATE shards SET clock_ns = 6")
    connection.set_progress_handler(None, 0)
    assert not connection.in_transaction
    await store.close()
