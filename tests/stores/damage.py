"""Seeded damage of database files: bytes, pages, rows, columns, the schema, the header.

Each damage is a function of the sound file's bytes and a random generator; the same seed gives the same file.
"""

from __future__ import annotations

import sqlite3
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

Damage = Callable[[bytes, Random], bytes]

_HEADER_BYTES = 100
_GARBAGE: tuple[object, ...] = (
    b"", b"\xff\xff\xff\xff", b"\x01\x93\x01", "", "CAST(x'ff' AS TEXT)", "text", -1, 0, 7, 99, 2**63 - 1, -(2**63),
    1.5, 1e300,
)  # fmt: skip


def damaged(sound: bytes, seed: int) -> tuple[str, bytes]:
    """The name of the damage of a seed, and the damaged file."""
    random = Random(seed)
    name = sorted(DAMAGES)[seed % len(DAMAGES)]
    return name, DAMAGES[name](sound, random)


# ── bytes and pages ──────────────────────────────────────────────────────────────────────────────


def _page_bytes(data: bytes | bytearray) -> int:
    size = struct.unpack(">H", data[16:18])[0]
    return 65_536 if size == 1 else size


def _pages(data: bytes | bytearray) -> int:
    return len(data) // _page_bytes(data)


def _place(data: bytes | bytearray, page: int) -> slice:
    size = _page_bytes(data)
    return slice(page * size, (page + 1) * size)


def _flip(sound: bytes, random: Random, count: int, start: int, end: int) -> bytes:
    data = bytearray(sound)
    for _ in range(count):
        data[random.randrange(start, min(end, len(data)))] = random.randrange(256)
    return bytes(data)


def flip_many(sound: bytes, random: Random) -> bytes:
    return _flip(sound, random, 50, _HEADER_BYTES, len(sound))


def flip_one(sound: bytes, random: Random) -> bytes:
    return _flip(sound, random, 1, _HEADER_BYTES, len(sound))


def flip_header(sound: bytes, random: Random) -> bytes:
    return _flip(sound, random, 3, 0, _HEADER_BYTES)


def flip_schema_page(sound: bytes, random: Random) -> bytes:
    return _flip(sound, random, 5, _HEADER_BYTES, _page_bytes(sound))


def flip_in_one_page(sound: bytes, random: Random) -> bytes:
    place = _place(sound, random.randrange(_pages(sound)))
    return _flip(sound, random, 20, max(place.start, _HEADER_BYTES), place.stop)


def zero_pages(sound: bytes, random: Random) -> bytes:
    data = bytearray(sound)
    for _ in range(random.randint(1, 3)):
        place = _place(data, random.randrange(1, _pages(data)))
        data[place] = bytes(place.stop - place.start)
    return bytes(data)


def swap_pages(sound: bytes, random: Random) -> bytes:
    data = bytearray(sound)
    one, two = (_place(data, n) for n in random.sample(range(1, _pages(data)), 2))
    data[one], data[two] = data[two], data[one]
    return bytes(data)


def copy_page(sound: bytes, random: Random) -> bytes:
    data = bytearray(sound)
    one, two = (_place(data, n) for n in random.sample(range(1, _pages(data)), 2))
    data[one] = data[two]
    return bytes(data)


def truncate(sound: bytes, random: Random) -> bytes:
    return sound[: random.randrange(1, len(sound))]


def truncate_at_a_page(sound: bytes, random: Random) -> bytes:
    return sound[: _place(sound, random.randrange(1, _pages(sound))).start]


def append(sound: bytes, random: Random) -> bytes:
    return sound + random.randbytes(random.randrange(1, 10_000))


def wrong_page_size(sound: bytes, random: Random) -> bytes:
    data = bytearray(sound)
    size = random.choice((0, 1, 2, 3, 256, 512, 1_024, 4_095, 8_192, 32_768, 65_535))
    data[16:18] = struct.pack(">H", size)
    return bytes(data)


# ── rows and schema ──────────────────────────────────────────────────────────────────────────────


def _text(stored: bytes) -> str:
    return stored.decode(errors="replace")


def _edited(sound: bytes, edit: Callable[[sqlite3.Connection], object]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.db")
        path.write_bytes(sound)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.text_factory = _text
        try:
            edit(connection)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()
        return path.read_bytes()


def _tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    tables = [name for (name,) in rows]
    return [
        name for name in tables if connection.execute(f"SELECT EXISTS (SELECT 1 FROM {name})").fetchone()[0]
    ]  # fmt: skip


def _row(connection: sqlite3.Connection, table: str, random: Random) -> tuple[str, list[object]]:
    """A condition that holds for one row of the table, and its arguments."""
    cursor = connection.execute(f"SELECT * FROM {table}")
    columns = [column[0] for column in cursor.description]
    rows = cursor.fetchall()
    row = rows[random.randrange(len(rows))]
    return " AND ".join(f"{column} IS ?" for column in columns), list(row)


def cut_rows(sound: bytes, random: Random) -> bytes:
    def edit(connection: sqlite3.Connection) -> None:
        table = random.choice(_tables(connection))
        for _ in range(random.randint(1, 3)):
            if table in _tables(connection):
                where, arguments = _row(connection, table, random)
                connection.execute(f"DELETE FROM {table} WHERE {where}", arguments)

    return _edited(sound, edit)


def empty_table(sound: bytes, random: Random) -> bytes:
    return _edited(sound, lambda c: c.execute(f"DELETE FROM {random.choice(_tables(c))}"))


def wrong_value(sound: bytes, random: Random) -> bytes:
    def edit(connection: sqlite3.Connection) -> None:
        table = random.choice(_tables(connection))
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        for _ in range(random.randint(1, 2)):
            where, arguments = _row(connection, table, random)
            value = random.choice(_GARBAGE)
            is_sql = isinstance(value, str) and value.startswith("CAST")
            given, new = ([], value) if is_sql else ([value], "?")
            column = random.choice(columns)
            try:
                connection.execute(
                    f"UPDATE OR REPLACE {table} SET {column} = {new} WHERE {where}",
                    [*given, *arguments],
                )
            except (sqlite3.IntegrityError, OverflowError):
                continue  # the key of a table cannot be text

    return _edited(sound, edit)


def swap_values(sound: bytes, random: Random) -> bytes:
    def edit(connection: sqlite3.Connection) -> None:
        places = [
            ("events", "data"),
            ("facts", "value"),
            ("outbox", "body"),
            ("visibility", "memo"),
        ]
        table, column = random.choice([p for p in places if p[0] in _tables(connection)])
        conditions = [_row(connection, table, random) for _ in range(2)]
        values = [
            connection.execute(f"SELECT {column} FROM {table} WHERE {where}", arguments).fetchone()[
                0
            ]
            for where, arguments in conditions
        ]
        for (where, arguments), value in zip(conditions, reversed(values), strict=True):
            connection.execute(
                f"UPDATE {table} SET {column} = ? WHERE {where}", [value, *arguments]
            )

    return _edited(sound, edit)


def cut_values(sound: bytes, random: Random) -> bytes:
    def edit(connection: sqlite3.Connection) -> None:
        table, column = random.choice([("events", "data"), ("facts", "value")])
        where, arguments = _row(connection, table, random)
        connection.execute(
            f"UPDATE {table} SET {column} = substr({column}, 1, length({column}) / 2) WHERE {where}",
            arguments,
        )

    return _edited(sound, edit)


def drop_something(sound: bytes, random: Random) -> bytes:
    def edit(connection: sqlite3.Connection) -> None:
        kind, name = random.choice(
            connection.execute(
                "SELECT type, name FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
            ).fetchall()
        )
        connection.execute(f"DROP {kind} {name}")

    return _edited(sound, edit)


def rename_something(sound: bytes, random: Random) -> bytes:
    def edit(connection: sqlite3.Connection) -> None:
        table = random.choice(_tables(connection))
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        connection.execute(
            random.choice(
                (
                    f"ALTER TABLE {table} RENAME TO other",
                    f"ALTER TABLE {table} RENAME COLUMN {random.choice(columns)} TO other",
                    f"ALTER TABLE {table} ADD COLUMN other",
                )
            )
        )

    return _edited(sound, edit)


def wrong_version(sound: bytes, random: Random) -> bytes:
    version = random.choice((-1, 0, 1, 3, 99))
    return _edited(sound, lambda c: c.execute(f"PRAGMA user_version = {version}"))


def wrong_application(sound: bytes, random: Random) -> bytes:
    number = random.choice((0, 1, -1))
    return _edited(sound, lambda c: c.execute(f"PRAGMA application_id = {number}"))


def wrong_root_page(sound: bytes, random: Random) -> bytes:
    def edit(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA writable_schema = ON")
        names = [
            row[0] for row in connection.execute("SELECT name FROM sqlite_master ORDER BY name")
        ]
        connection.execute(
            "UPDATE sqlite_master SET rootpage = ? WHERE name = ?",
            (random.choice((0, 1, 2, 9, 10_000)), random.choice(names)),
        )

    return _edited(sound, edit)


def wrong_sql(sound: bytes, random: Random) -> bytes:
    def edit(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA writable_schema = ON")
        rows = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
        ).fetchall()
        name, sql = random.choice(rows)
        position = random.randrange(len(sql))
        connection.execute(
            "UPDATE sqlite_master SET sql = ? WHERE name = ?",
            (sql[:position] + random.choice("x(),' ") + sql[position + 1 :], name),
        )

    return _edited(sound, edit)


def enlarged(data: bytes, size_bytes: int) -> bytes:
    """The database with so many free pages that it is at least of that size."""

    def edit(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE filler (x)")
        connection.execute("INSERT INTO filler VALUES (zeroblob(?))", (size_bytes,))
        connection.execute("DROP TABLE filler")

    return _edited(data, edit)


DAMAGES: dict[str, Damage] = {
    make.__name__: make
    for make in (
        append, copy_page, cut_rows, cut_values, drop_something, empty_table, flip_header, flip_in_one_page, flip_many,
        flip_one, flip_schema_page, rename_something, swap_pages, swap_values, truncate, truncate_at_a_page,
        wrong_application, wrong_page_size, wrong_root_page, wrong_sql, wrong_value, wrong_version, zero_pages,
    )
}  # fmt: skip
