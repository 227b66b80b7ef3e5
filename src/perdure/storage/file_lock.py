"""The lock file beside a database: who has the database open, and how many commits it has had.

Role: `FileLock` keeps a second process out. It also writes down the number of commits, outside the write-ahead log, so
that the next opening notices when the log was lost (`lost_commits`).

Invariants: what is written down follows the commit and is not synchronised with the disk, so it may be too low after a
power failure, and is never too high. Without a valid number nothing is claimed.
"""

from __future__ import annotations

import os
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from perdure.storage.port import InUse, OpenError

HOLDER_BYTES = 32
"""The process id, padded; what is known of the commits follows."""
_PROGRESS_BYTES_MAX = 96


class Progress(NamedTuple):
    """How far the commits of a database have come.

    Attributes:
        commits: The sum of the commit sequences of its shards.
        clock_ns: The latest time that a shard has stored.
    """

    commits: int
    clock_ns: int


class FileLock:
    """An exclusive lock on `<database>.lock`, which names the holder. While it is held, the file must not be removed.

    Attributes:
        found: The commits that were written down before, if any.
    """

    def __init__(self, database: Path) -> None:
        path = _path(database)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise OpenError(
                f"cannot create {path}: {error.strerror}; choose a directory that exists and is writable"
            ) from None
        try:
            _lock(self._fd)
        except OSError:
            holder = os.read(self._fd, HOLDER_BYTES).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise InUse(
                f"{database} is in use by process {holder}: a SQLite database has one process at a time. Stop that "
                "process, or connect to it if it is a server, or use another file",
                holder,
            ) from None
        try:
            self.found = _progress(os.read(self._fd, HOLDER_BYTES + _PROGRESS_BYTES_MAX))
            if self.found is None:
                os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
            os.write(self._fd, f"{os.getpid():<{HOLDER_BYTES - 1}}\n".encode())
        except OSError as error:
            os.close(self._fd)
            raise OpenError(
                f"cannot write {path}: {error.strerror}; free some space, or choose another directory"
            ) from None

    def write_down(self, progress: Progress) -> None:
        """Write down how many commits there have been. A failure is harmless: the number is too low then."""
        text = b"%020d %020d" % progress
        with suppress(OSError):
            os.lseek(self._fd, HOLDER_BYTES, os.SEEK_SET)
            os.write(self._fd, b"%s %08x\n" % (text, zlib.crc32(text)))

    def release(self) -> None:
        os.close(self._fd)

    def leave_to_parent(self) -> None:
        """Close the lock file in a forked child. The parent keeps the lock."""
        os.close(self._fd)


def progress_beside(database: Path) -> Progress | None:
    """The commits that are written down beside a database, which may be open; None: nothing is known."""
    try:
        with _path(database).open("rb") as file:
            return _progress(file.read(HOLDER_BYTES + _PROGRESS_BYTES_MAX))
    except OSError:
        return None


def _path(database: Path) -> Path:
    return Path(f"{database}.lock")


def _progress(data: bytes) -> Progress | None:
    text, _, check = data[HOLDER_BYTES:].partition(b"\n")[0].rpartition(b" ")
    try:
        if int(check, 16) != zlib.crc32(text):
            return None
        commits, clock_ns = map(int, text.split())
    except ValueError:
        return None
    return Progress(commits, clock_ns)


if sys.platform == "win32":
    import msvcrt

    def _lock(fd: int) -> None:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
