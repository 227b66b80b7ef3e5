"""Whether a database has lost commits because its write-ahead log was deleted, cut off or replaced.

SQLite cannot tell: it takes a log that ends early for one whose last transactions never happened. The lock file knows
how many commits there were (`file_lock`).

Invariants: nothing is written, not even by SQLite, which would write the rest of a wrong log into the file.
"""

from __future__ import annotations

import logging
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from perdure.core.units import SECOND_NS
from perdure.storage.file_lock import Progress
from perdure.storage.port import LostCommits, OpenError
from perdure.storage.sqlite_errors import READ_ERRORS
from perdure.storage.sqlite_reader import connect_reader, has_log, is_at_rest, is_backup

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

NOTHING = Progress(0, 0)


def check_opened(database: Path, known: Progress | None) -> Progress:
    """Compare a database that is about to be opened with what is known of its commits.

    Args:
        database: The file; it need not exist. The caller holds its lock.
        known: What is written down beside it.

    Returns:
        The commits of the database.

    Raises:
        LostCommits: There were more.
        OpenError: There is a log that is not the file's.
    """
    check_log(database)
    if not database.exists():
        if known is not None and known.commits:
            log.warning(
                "%s is new: the database that was here before is gone, with its %d commits",
                database,
                known.commits,
            )
        return NOTHING
    found = _stored(database)
    if found is None:
        return known or NOTHING  # what is wrong with the file comes up when it is opened
    if known is None or found.commits >= known.commits:
        return found
    if is_backup(database):
        log.warning(
            "%s is a backup from %s: at least %d commits that were made here later are not in it",
            database,
            _time(found.clock_ns),
            known.commits - found.commits,
        )
        return found
    raise _lost(database, found, known)


def check_complete(connection: sqlite3.Connection, database: Path, known: Progress) -> None:
    """Compare again once the database is open: before, it may have been unreadable.

    Raises:
        LostCommits: There were more commits than the database has.
    """
    found = stored_progress(connection)
    if found is not None and found.commits < known.commits:
        raise _lost(database, found, known)


def _lost(database: Path, found: Progress, known: Progress) -> LostCommits:
    return LostCommits(
        f"{missing(database, found, known)}. Put back what is missing, or restore a backup. To go on without "
        f"these commits, remove {database}.lock",
        known.commits - found.commits,
    )


def check_log(database: Path) -> None:
    """Refuse a log that cannot be the file's: SQLite would write its pages into the file.

    Raises:
        OpenError: There is one.
    """
    if not has_log(database, with_content=True):
        return
    if not database.exists():
        raise OpenError(
            f"{database} is missing, and its log {database}-wal is there: put the file back, or remove the log "
            "and what it holds"
        )
    if is_backup(database):
        raise OpenError(
            f"{database} is a backup, and the log beside it is of another database: remove {database}-wal and "
            f"{database}-shm"
        )


def missing(database: Path, found: Progress, known: Progress) -> str:
    """What a database lacks, in words."""
    since = ""
    if found.clock_ns < known.clock_ns:
        since = f", made from {_time(found.clock_ns)} to {_time(known.clock_ns)}"
        if not found.clock_ns:
            since = f", the last of {_time(known.clock_ns)}"
    return (
        f"{database} has lost at least {known.commits - found.commits} of {known.commits} commits{since}: its log "
        f"{database}-wal was deleted, cut off or replaced, or the file was replaced by an older copy"
    )


def lost_in(connection: sqlite3.Connection, database: Path, known: Progress | None) -> str | None:
    """What the database that a connection reads lacks, in words; None if nothing is known to be missing."""
    found = stored_progress(connection)
    if known is None or found is None or found.commits >= known.commits or is_backup(database):
        return None
    return missing(database, found, known)


def stored_progress(connection: sqlite3.Connection) -> Progress | None:
    """The commits of a database; None if the rows of its shards are damaged.

    Raises:
        sqlite3.Error: They cannot be read.
    """
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return NOTHING  # new, or all of it was in the log
    rows = connection.execute("SELECT commit_sequence, clock_ns FROM shards").fetchall()
    if not rows or not all(isinstance(value, int) for row in rows for value in row):
        return None
    return Progress(sum(sequence for sequence, _ in rows), max(clock_ns for _, clock_ns in rows))


def _stored(database: Path) -> Progress | None:
    try:
        if not database.stat().st_size:
            return NOTHING
        connection = connect_reader(database, is_immutable=is_at_rest(database))
        try:
            return stored_progress(connection)
        finally:
            connection.close()
    except (OSError, *READ_ERRORS):
        return None


def _time(ns: int) -> str:
    try:
        return f"{datetime.fromtimestamp(ns // SECOND_NS, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return "an unknown time"
