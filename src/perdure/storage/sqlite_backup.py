"""A copy of a database while its engine works on: SQLite's own backup, in one reading transaction.

Invariants: the copy is the database as of one moment, with everything that was acknowledged before it began; the
original is only read, and its engine is not kept from writing. The copy appears under its name when it is complete and
on the disk, or not at all.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from perdure.storage.port import OpenError
from perdure.storage.schema import APPLICATION_ID
from perdure.storage.sqlite_open import connect_reader


def back_up(database: Path, to: Path) -> int:
    """Copy `database` to `to`, which must not exist; the copy's size in bytes.

    Args:
        database: May be open in another process.
        to: On any file system.

    Raises:
        OpenError: There is no such database, `to` exists, or the copy could not be written.

    Example:
        back_up(Path("orders.db"), Path("backups/orders-monday.db"))
    """
    if not database.is_file():
        raise OpenError(f"there is no database {database}")
    if to.exists():
        raise OpenError(f"{to} exists already: choose another name, or remove it first")
    partial = to.with_name(f"{to.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)
        _copy(database.resolve(), partial)
        # Never over a file that appeared meanwhile.
        os.link(partial, to)
        _sync(to.parent)
    except OSError as error:
        raise OpenError(f"cannot write {to}: {error.strerror or error}") from None
    except sqlite3.Error as error:
        raise OpenError(f"cannot copy {database}: {error}") from error
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
            # All pages in one step: one reading transaction, so that writers cannot make it begin anew.
            source.backup(target, pages=-1)
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
