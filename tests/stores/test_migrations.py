"""From each version of the schema to the present one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from perdure.core.ids import run_key
from perdure.storage import sqlite_read
from perdure.storage.schema import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION
from perdure.storage.sqlite import open_sqlite

NS = 1_000_000_000
CLOSED_AT_NS = 1_000 * NS


def of_version(number: int, path: Path) -> sqlite3.Connection:
    """An empty database as that version made it."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statements in MIGRATIONS[:number]:
        for statement in statements:
            connection.execute(statement)
    connection.executemany("INSERT INTO shards VALUES (?, 1, 1, ?, 9)", [(0, CLOSED_AT_NS), (1, 5)])
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {number}")
    return connection


async def test_version_1_names_every_run_that_a_worker_may_hold(tmp_path: Path):
    path = tmp_path / "x.db"
    old = of_version(1, path)
    wakes = {"taken": CLOSED_AT_NS + 10 * NS, "works": CLOSED_AT_NS + 9_000 * NS}
    wakes["sleeps"] = wakes["retries"] = CLOSED_AT_NS + 9_000 * NS
    for number, (name, at_ns) in enumerate(wakes.items(), 1):
        old.execute(
            "INSERT INTO entities VALUES (?, ?, ?, ?, ?)", (number, *run_key("n", name, "r"))
        )
        old.execute("INSERT INTO wakes VALUES (?, ?, ?)", (number, number % 2, at_ns))
    old.execute("INSERT INTO facts VALUES (2, 4, '5', x'00')")
    old.close()
    store = await open_sqlite(path)
    assert sorted(key.name for key in await store.with_tasks_in_flight((0, 1))) == [
        "taken",
        "works",
    ]
    assert store.writing.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    loaded = sqlite_read.load(store.reading, run_key("n", "sleeps", "r"))
    assert loaded is not None
    assert not loaded.has_task_in_flight
    await store.close()
