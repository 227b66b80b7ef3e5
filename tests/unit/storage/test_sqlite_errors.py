"""What SQLite's errors mean, each from a database that really has the trouble where one can be made."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest

from perdure.storage.port import DamagedWrite, DamageError, NotWritten, StoreError, StoreFull
from perdure.storage.sqlite_errors import ErrorKind, kind_of, read_error, write_error


def coded(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("injected")
    error.sqlite_errorcode = code
    return error


KINDS = {
    "SQLITE_FULL": (13, ErrorKind.FULL),
    "SQLITE_FULL, extended": (13 | 1 << 8, ErrorKind.FULL),
    "SQLITE_CORRUPT": (11, ErrorKind.DAMAGE),
    "SQLITE_CORRUPT_INDEX": (11 | 3 << 8, ErrorKind.DAMAGE),
    "SQLITE_NOTADB": (26, ErrorKind.DAMAGE),
    "SQLITE_ERROR": (1, ErrorKind.DAMAGE),
    "SQLITE_TOOBIG": (18, ErrorKind.DAMAGE),
    "SQLITE_FORMAT": (24, ErrorKind.DAMAGE),
    "SQLITE_IOERR_SHORT_READ": (522, ErrorKind.DAMAGE),
    "SQLITE_IOERR_DATA": (8202, ErrorKind.DAMAGE),
    "SQLITE_IOERR_CORRUPTFS": (8458, ErrorKind.DAMAGE),
    "SQLITE_IOERR": (10, ErrorKind.OTHER),
    "SQLITE_IOERR_READ": (266, ErrorKind.OTHER),
    "SQLITE_IOERR_WRITE": (778, ErrorKind.OTHER),
    "SQLITE_BUSY": (5, ErrorKind.OTHER),
    "SQLITE_BUSY_SNAPSHOT": (517, ErrorKind.OTHER),
    "SQLITE_LOCKED": (6, ErrorKind.OTHER),
    "SQLITE_NOMEM": (7, ErrorKind.OTHER),
    "SQLITE_READONLY": (8, ErrorKind.OTHER),
    "SQLITE_CANTOPEN": (14, ErrorKind.OTHER),
    "no such code": (250, ErrorKind.OTHER),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_code_has_a_kind(name: str):
    code, kind = KINDS[name]
    assert kind_of(coded(code)) is kind


@pytest.mark.parametrize(
    ("kind", "read", "written"),
    [
        (13, StoreError, StoreFull),
        (11, DamageError, DamagedWrite),
        (10, StoreError, NotWritten),
    ],
)
def test_each_kind_has_its_errors_of_the_port(
    kind: int, read: type[StoreError], written: type[StoreError]
):
    assert type(read_error(coded(kind))) is read
    assert type(write_error(coded(kind))) is written


def no_table(connection: sqlite3.Connection) -> None:
    connection.execute("SELECT * FROM held")


def no_column(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE held (entity)")
    connection.execute("SELECT shard_id FROM held")


def no_text(connection: sqlite3.Connection) -> None:
    connection.execute("SELECT CAST(x'73656372657420ff' AS TEXT)").fetchall()


@pytest.mark.parametrize("trouble", [no_table, no_column, no_text])
def test_what_is_stored_wrong_is_damage_and_is_not_quoted(
    trouble: Callable[[sqlite3.Connection], None],
):
    connection = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.OperationalError) as caught:
        trouble(connection)
    connection.close()
    error = read_error(caught.value)
    assert isinstance(error, DamageError)
    assert "secret" not in str(error)
    assert str(error).endswith("restore it from a backup")


def test_an_error_of_the_module_itself_is_no_damage():
    connection = sqlite3.connect(":memory:")
    connection.close()
    with pytest.raises(sqlite3.ProgrammingError) as caught:
        connection.execute("SELECT 1")
    assert kind_of(caught.value) is ErrorKind.OTHER
