"""Copies a database while its engine keeps working, with SQLite's backup API in one read transaction.

Invariants: the copy is the database as of one moment and contains everything acknowledged before the backup began; the
original is only read, and its engine can keep writing. The copy appears under its name only when it is complete and on
the disk.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from perdure.storage.file_system import check_name
from perdure.storage.port import OpenError
from perdure.storage.schema import APPLICATION_ID
from perdure.storage.sqlite_errors import READ_ERRORS, text_of
from perdure.storage.sqlite_reader import connect_reader


def back_up(database: Path, to: Path) -> int:
    """Copy `database` to `to`, which must not exist. Returns the copy's size in bytes.

    Args:
        database: The file to copy; another process may have it open.
        to: The new file, on any file system.

    Raises:
        OpenError: There is no such database, `to` exists, or the copy could not be written.

    Example:
        back_up(Path("orders.db"), Path("backups/orders-monday.db"))
    """
    check_name(to)
    if not database.is_file():
        raise OpenError(f"there is no database {database}")
    if to.exists():
        raise OpenError(f"{to} exists already: choose another name, or remove it first")
    partial = to.with_name(f"{to.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)
        _copy(database.resolve(), partial)
        # A link never replaces a file that appeared in the meantime.
        os.link(partial, to)
        _sync(to.parent)
    except OSError as error:
        raise OpenError(f"cannot write {to}: {error.strerror or error}") from None
    except READ_ERRORS as error:
        raise OpenError(f"cannot copy {database}: {text_of(error)}") from error
    finally:
        partial.unlink(missing_ok=True)
    return to.stat().st_size


def _copy(database: Path, partial: Path) -> None:
    source = connect_reader(database)
    try:
        if source.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise OpenError(f"{database} is no database of Perdure")
        target = sqlite3.connect(partial)
        try:
            # All pages in one step means one read transaction, so that writers cannot force a restart.
            source.backup(target, pages=-1)
            # Readers of a file without a write-ahead log leave no files beside it; an engine that opens it sets one up.
            target.execute("PRAGMA journal_mode = DELETE")
        finally:
            target.close()
    finally:
        source.close()
    _sync(partial)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
