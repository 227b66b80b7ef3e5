"""Whatever goes wrong while a database is opened, read or copied: none of its connections is left open."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from perdure.server.admin.audit import audit, audit_memory
from perdure.storage import sqlite_open
from perdure.storage.port import OpenError
from perdure.storage.sqlite_backup import back_up
from perdure.storage.sqlite_open import connect_file, connect_memory


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """Every connection that Perdure makes during the test; coverage makes some of its own."""
    connections: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def recorded(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        caller: str = sys._getframe(1).f_globals["__name__"]
        if caller.partition(".")[0] == "perdure":
            connections.append(connection)
        return connection

    monkeypatch.setattr(sqlite3, "connect", recorded)
    return connections


def still_open(connections: list[sqlite3.Connection]) -> int:
    count = 0
    for connection in connections:
        try:
            connection.execute("SELECT 1")
        except sqlite3.ProgrammingError:
            continue
        count += 1
    return count


def database(path: Path, *statements: str) -> Path:
    with closing(connect_file(path, 2)) as connection:
        for statement in statements:
            connection.execute(statement)
    return path


def write(path: Path) -> object:
    return connect_file(path, 2)


@pytest.mark.parametrize("work", [write, audit])
@pytest.mark.parametrize("damage", ["PRAGMA user_version = 99", "PRAGMA application_id = 7"])
def test_a_file_that_is_refused_is_let_go_of(
    tmp_path: Path,
    made: list[sqlite3.Connection],
    work: Callable[[Path], object],
    damage: str,
):
    path = database(tmp_path / "x.db", damage)
    del made[:]
    with pytest.raises(OpenError) as refused:
        work(path)
    assert len(made) == 1
    assert still_open(made) == 0, refused.value


def test_a_copy_that_is_made_or_refused_is_let_go_of(
    tmp_path: Path, made: list[sqlite3.Connection]
):
    good = database(tmp_path / "x.db")
    del made[:]
    assert back_up(good, tmp_path / "copy.db")
    assert (len(made), still_open(made)) == (2, 0)
    other = database(tmp_path / "other.db", "PRAGMA application_id = 7")
    del made[:]
    with pytest.raises(OpenError) as refused:
        back_up(other, tmp_path / "copy 2.db")
    assert (len(made), still_open(made)) == (1, 0), refused.value


def test_a_database_in_memory_that_can_not_be_made_is_let_go_of(
    made: list[sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
):
    def refused(*_: object) -> None:
        raise sqlite3.OperationalError("out of memory (test)")

    monkeypatch.setattr(sqlite_open, "migrate", refused)
    with pytest.raises(sqlite3.OperationalError) as error:
        connect_memory(2)
    assert (len(made), still_open(made)) == (1, 0), error.value


def test_an_audit_leaves_the_connection_of_another_as_it_was():
    with closing(connect_memory(2)) as connection:
        assert audit_memory(connection).looked_at["shards"] == 2
        assert not connection.in_transaction
        connection.execute("PRAGMA application_id = 7")
        with pytest.raises(OpenError):
            audit_memory(connection)
        assert not connection.in_transaction
        connection.execute("SELECT 1")
