"""Cheap checks of a database that is being opened: its schema, its shards, and the first pages of tables and indexes.

Role: they find what would otherwise come up in the middle of a call, or not at all: a shard whose row is gone would
give every workflow id another shard. Not here: pages further down, which `PRAGMA quick_check` reads for small files;
what the rows mean (`perdure.server.admin.audit`).
"""

from __future__ import annotations

import sqlite3
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from perdure.core.ids import ENTITY_BITS
from perdure.storage.schema import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ITEMS = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL"
_SHARED_PAGES = """SELECT group_concat(name, ' and '), rootpage FROM sqlite_master WHERE rootpage > 0
    GROUP BY rootpage HAVING count(*) > 1"""


class _Item(NamedTuple):
    """A table or an index of the schema."""

    kind: str
    name: str
    table: str
    sql: str


def schema_problems(connection: sqlite3.Connection) -> Iterator[str]:
    """What is missing from the schema, or differs. More tables and indexes than ours do no harm."""
    found = _items(connection)
    for name, item in _expected().items():
        if name not in found:
            yield f"{item.kind} {name} is missing"
        elif found[name] != item:
            yield f"{item.kind} {name} is not as it was made"
    for names, page in connection.execute(_SHARED_PAGES):
        yield f"{names} share the root page {page}"


def shard_problems(connection: sqlite3.Connection) -> Iterator[str]:
    """What is wrong with the rows of the shards, by which everything else is found."""
    rows = connection.execute(
        "SELECT shard_id, range_id, commit_sequence, clock_ns, last_entity FROM shards ORDER BY shard_id"
    ).fetchall()
    if not rows:
        yield "there are no shards"
    for place, row in enumerate(rows):
        if row[0] != place:
            yield f"the row of shard {place} is missing"
            return
        if not all(isinstance(value, int) and value >= 0 for value in row):
            yield f"the row of shard {place} holds a value that is not a number"
    (last,) = connection.execute("SELECT max(number) FROM entities").fetchone()
    if last is not None and last >> ENTITY_BITS >= len(rows):
        yield f"the row of shard {last >> ENTITY_BITS} is missing"


def read_beginnings(connection: sqlite3.Connection) -> None:
    """Read the first row of each table and each index.

    Raises:
        sqlite3.Error: A page on the way there is damaged.
    """
    for item in _expected().values():
        if item.kind == "table":
            connection.execute(f"SELECT 1 FROM {item.name} NOT INDEXED LIMIT 1").fetchall()
        else:
            columns = connection.execute(f"PRAGMA index_info({item.name})").fetchall()
            names = ", ".join(column[2] for column in columns)
            connection.execute(
                f"SELECT {names} FROM {item.table} INDEXED BY {item.name} LIMIT 1"
            ).fetchall()


@cache
def _expected() -> Mapping[str, _Item]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(connection, 0, 1)
        return _items(connection)
    finally:
        connection.close()


def _items(connection: sqlite3.Connection) -> dict[str, _Item]:
    rows = connection.execute(_ITEMS).fetchall()
    return {
        name: _Item(kind, name, table, " ".join(sql.split())) for kind, name, table, sql in rows
    }
