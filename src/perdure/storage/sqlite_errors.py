"""What SQLite's errors mean: one table from error codes to kinds, and the error of the port for each kind.

Invariants: extended codes are looked up before their primary codes; the text of an error holds no stored value.
Not here: what a failed commit left behind (`sqlite_commit`), what the server does about an error.
"""

from __future__ import annotations

import sqlite3
from enum import Enum

from perdure.storage.port import DamagedWrite, DamageError, NotWritten, StoreError, StoreFull


class ErrorKind(Enum):
    """What is wrong, as far as it decides what to do.

    Attributes:
        FULL: There is no space left. Freeing some helps.
        DAMAGE: Pages, rows or the schema are damaged. The same statement fails again.
        OTHER: The disk, memory or a lock. Trying again may help.
    """

    FULL = "full"
    DAMAGE = "damage"
    OTHER = "other"


_KINDS = {
    sqlite3.SQLITE_FULL: ErrorKind.FULL,
    sqlite3.SQLITE_CORRUPT: ErrorKind.DAMAGE,
    sqlite3.SQLITE_NOTADB: ErrorKind.DAMAGE,
    # The statements are fixed, so "no such table" and "no such column" mean that the schema is not ours any more.
    sqlite3.SQLITE_ERROR: ErrorKind.DAMAGE,
    sqlite3.SQLITE_FORMAT: ErrorKind.DAMAGE,
    # A value is longer than SQLite allows: its stored length is damaged. What is written is limited far below that.
    sqlite3.SQLITE_TOOBIG: ErrorKind.DAMAGE,
    # Fewer bytes than the file has pages: it was cut off.
    sqlite3.SQLITE_IOERR | 2 << 8: ErrorKind.DAMAGE,  # SQLITE_IOERR_SHORT_READ
    sqlite3.SQLITE_IOERR | 32 << 8: ErrorKind.DAMAGE,  # SQLITE_IOERR_DATA: a checksum is wrong
    sqlite3.SQLITE_IOERR | 33 << 8: ErrorKind.DAMAGE,  # SQLITE_IOERR_CORRUPTFS
}


READ_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What reading may raise: the module cannot decode messages of SQLite that quote damaged text."""


def kind_of(error: sqlite3.Error | UnicodeDecodeError) -> ErrorKind:
    """The kind of an error that reading or writing SQLite raised."""
    if isinstance(error, UnicodeDecodeError):
        return ErrorKind.DAMAGE
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # The module's own errors have no code. Of those that reading can raise, only this one comes from stored values.
        is_text = str(error).startswith("Could not decode to UTF-8")
        return ErrorKind.DAMAGE if is_text else ErrorKind.OTHER
    return _KINDS.get(code) or _KINDS.get(code & 0xFF, ErrorKind.OTHER)


def text_of(error: sqlite3.Error | UnicodeDecodeError) -> str:
    """The text of an error without stored values: that of Python's own error quotes what cannot be decoded."""
    if isinstance(error, UnicodeDecodeError) or str(error).startswith("Could not decode to UTF-8"):
        return "stored text is not valid UTF-8"
    return " ".join(str(error).split())


def read_error(error: sqlite3.Error | UnicodeDecodeError) -> StoreError:
    """The error of the port for a read that failed."""
    if kind_of(error) is ErrorKind.DAMAGE:
        return DamageError(f"the database is damaged ({text_of(error)}): restore it from a backup")
    return StoreError(f"the database could not be read ({error})")


def write_error(error: sqlite3.Error) -> NotWritten:
    """The error of the port for a write that failed before its commit."""
    match kind_of(error):
        case ErrorKind.FULL:
            return StoreFull(f"no space left for the database ({error})")
        case ErrorKind.DAMAGE:
            return DamagedWrite(
                f"the database could not be written, because it is damaged ({text_of(error)}): "
                "restore it from a backup"
            )
        case ErrorKind.OTHER:
            return NotWritten(f"the database could not be written ({error})")
