"""Whether the files of an open database are still where they were.

A process goes on writing to an open file after that was deleted, moved or replaced, and what it writes is lost with
the process. Two calls of `stat` for each batch cost a few microseconds beside its `fsync`. Not here: damage inside the
files.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from perdure.storage.port import FileGone

if TYPE_CHECKING:
    from pathlib import Path


class FileWatch:
    """Remembers which files an open database has: the file itself and its log.

    Args:
        database: The file; its log is beside it, because the database has been read.

    Attributes:
        folder: The folder of the files.
    """

    def __init__(self, database: Path) -> None:
        self.folder = database.parent
        paths = (str(database), f"{database}-wal")
        self._files = [(path, identity) for path in paths if (identity := _identity(path))]

    def check(self) -> None:
        """Compare.

        Raises:
            FileGone: One of the files was deleted, moved or replaced.
        """
        for path, identity in self._files:
            if _identity(path) != identity:
                raise FileGone(
                    f"{path} was deleted, moved or replaced while the database was open: put it back, or stop "
                    "this process"
                )


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 -- with each batch; a Path costs more
    except OSError:
        return None
    return found.st_dev, found.st_ino
