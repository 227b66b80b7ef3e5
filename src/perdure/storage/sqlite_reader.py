"""Connections that only read a database file, and what its header says about its log.

Not here: the connections of an open store
(`sqlite_open`).
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

MAGIC = b"SQLite format 3\x00"
_MODE = slice(18, 20)
_WITH_LOG, _WITHOUT_LOG = b"\x02\x02", b"\x01\x01"


class FileState(NamedTuple):
    """What changes when a process opens or writes a file without a log."""

    size_bytes: int
    modified_ns: int
    has_log: bool


def is_backup(database: Path) -> bool:
    """Whether the file is a copy made by `db backup` that no engine has opened: only such a copy is without a log."""
    return _mode(database) == _WITHOUT_LOG


def _mode(database: Path) -> bytes:
    try:
        with database.open("rb") as file:
            header = file.read(_MODE.stop)
    except OSError:
        return b""
    return header[_MODE] if header.startswith(MAGIC) else b""


def has_log(database: Path, *, with_content: bool = False) -> bool:
    """Whether there is a write-ahead log beside the database."""
    size = _log_bytes(database)
    return size is not None and (size > 0 or not with_content)


def log_bytes(database: Path) -> int:
    """The length of the write-ahead log; 0 if there is none."""
    return _log_bytes(database) or 0


def _log_bytes(database: Path) -> int | None:
    try:
        return os.stat(f"{database}-wal").st_size  # noqa: PTH116 -- the suffix belongs to no path
    except OSError:
        return None


def state_of(database: Path) -> FileState:
    """The present state of a file, to compare it later."""
    found = database.stat()
    return FileState(found.st_size, found.st_mtime_ns, has_log(database))


def is_at_rest(database: Path) -> bool:
    """Whether nothing has the database open, and all of it is in the file: its log goes with the last connection."""
    if _mode(database) != _WITH_LOG or has_log(database):
        return False
    return not Path(f"{database}-journal").exists()


def connect_reader(database: Path, *, is_immutable: bool = False) -> sqlite3.Connection:
    """A read-only connection.

    Args:
        database: The file.
        is_immutable: Read the file as it is, because it `is_at_rest`. Otherwise SQLite creates a log for it in order to
            read, and leaves it there. Who does not hold the lock compares `state_of` afterwards.
    """
    options = "mode=ro&immutable=1" if is_immutable else "mode=ro"
    return connect(f"file:{quote(os.fsencode(database))}?{options}")


def connect(name: str) -> sqlite3.Connection:
    """A connection with the settings that all have in common."""
    # Transactions are begun explicitly; the executor uses one thread at a time.
    return sqlite3.connect(
        name,
        timeout=5.0,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        uri=name.startswith("file:"),
    )
