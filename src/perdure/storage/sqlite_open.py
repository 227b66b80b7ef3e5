"""Opening a SQLite database for writing: checks, settings, migrations.

Invariant: nothing is written to a file before it is known to be empty or a Perdure database. Errors are `OpenError`s
whose text says what to do. Not here: the lock (`file_lock`), lost commits (`lost_commits`), readers (`sqlite_reader`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

from perdure.storage.file_system import write_problem
from perdure.storage.port import Damaged, NewerSchema, OpenError
from perdure.storage.schema import APPLICATION_ID, SCHEMA_VERSION, migrate
from perdure.storage.sqlite_errors import READ_ERRORS, ErrorKind, kind_of, text_of
from perdure.storage.sqlite_reader import MAGIC, connect
from perdure.storage.sqlite_sound import read_beginnings, schema_problems, shard_problems

CHECKED_BYTES_MAX = 32 * 1024 * 1024
"""Databases up to this size are checked page by page when opened (a few tens of ms); larger ones are not."""
CHECKPOINT_PAGES = 4_000


def connect_memory(shard_count: int) -> sqlite3.Connection:
    """A new database in memory. It lives as long as the connection."""
    connection = connect(":memory:")
    try:
        migrate(connection, 0, shard_count)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_file(path: Path, shard_count: int) -> sqlite3.Connection:
    """The connection for writes and checkpoints. The caller must hold the `FileLock`."""
    _check_header(path)
    with suppress(OSError):
        # A database holds the payloads of all namespaces, so only its owner may read a new one. SQLite gives the files
        # beside it the same mode. An existing file keeps its mode. SQLite reports other errors.
        path.touch(mode=0o600, exist_ok=False)
    with _refused_if_damaged(path):
        connection = connect(str(path))
        try:
            version = _version(connection, path)
            _settings(connection)
            if version < SCHEMA_VERSION:
                migrate(connection, version, shard_count)
            _check_beginnings(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _check_beginnings(connection: sqlite3.Connection, path: Path) -> None:
    problem = next(chain(schema_problems(connection), shard_problems(connection)), None)
    if problem is not None:
        raise Damaged(f"{path} is damaged ({problem}): restore it from a backup")
    read_beginnings(connection)


def _settings(connection: sqlite3.Connection) -> None:
    for setting in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "fullfsync = ON",  # macOS: fsync alone does not reach the platter
        "checkpoint_fullfsync = ON",
        f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
        "journal_size_limit = 67108864",
        "temp_store = MEMORY",
        "cache_size = -32768",
    ):
        connection.execute(f"PRAGMA {setting}").fetchall()
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if mode != "wal":
        raise OpenError(
            f"the file system of the database does not support a write-ahead log (got {mode!r}); "
            "use a local disk"
        )


def _check_header(path: Path) -> None:
    try:
        with path.open("r+b") as file:
            header = file.read(len(MAGIC))
    except FileNotFoundError:
        return
    except OSError as error:
        raise OpenError(
            f"cannot open {path}: {error.strerror}; it must be a file that this user may read and write"
        ) from None
    if header and header != MAGIC:
        raise Damaged(
            f"{path} is no SQLite database: restore it from a backup, or choose another file"
        )


def _version(connection: sqlite3.Connection, path: Path) -> int:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application or version or tables:
            raise Damaged(f"{path} is a SQLite database of another program: choose another file")
        return 0
    if version > SCHEMA_VERSION:
        raise NewerSchema(
            f"{path} has schema version {version}, and this version of Perdure knows {SCHEMA_VERSION}: "
            "upgrade Perdure, or choose another file"
        )
    if path.stat().st_size <= CHECKED_BYTES_MAX:
        problem = " ".join(connection.execute("PRAGMA quick_check(1)").fetchone()[0].split())
        if problem != "ok":
            raise Damaged(f"{path} is damaged ({problem}): restore it from a backup")
    return version


@contextmanager
def _refused_if_damaged(path: Path) -> Generator[None]:
    try:
        yield
    except READ_ERRORS as error:
        if kind_of(error) is ErrorKind.DAMAGE:
            raise Damaged(
                f"{path} is damaged ({text_of(error)}): restore it from a backup"
            ) from error
        raise OpenError(f"cannot open {path}: {_reason(error, path.parent)}") from error


def _reason(error: sqlite3.Error | UnicodeDecodeError, folder: Path) -> str:
    problem = write_problem(folder)
    if kind_of(error) is ErrorKind.FULL or (problem is not None and problem.is_no_space):
        reason = "no space left on the disk" if problem is None else problem.reason
        return f"no space left ({reason}); free some space, or choose another directory"
    if problem is not None:
        return f"{folder} cannot be written ({problem.reason}); choose a directory that is writable"
    return str(error)
