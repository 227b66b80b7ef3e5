"""Where a database may lie: SQLite's log and locks need a local disk. What the operating system says when it is full.

Role: `check_name` refuses what is no path. `check_file_system` refuses network file systems, where locks, shared memory
and `fsync` are unreliable, and warns about folders that a virtual machine shares with its host. It reads the mount
table and works on Linux only; on other systems it checks nothing. `write_problem` finds the reason for which nothing
can be written, which SQLite does not tell.
"""

from __future__ import annotations

import errno
import logging
from pathlib import Path
from typing import NamedTuple

from perdure.storage.port import OpenError

_log = logging.getLogger(__name__)

MOUNTS = Path("/proc/self/mountinfo")

_NETWORK = frozenset(
    {
        "9p2000", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs",
        "nfs", "nfs4", "ocfs2", "orangefs", "pvfs2", "smb3", "smbfs",
        "fuse.ceph", "fuse.davfs2", "fuse.gcsfuse", "fuse.glusterfs", "fuse.goofys", "fuse.juicefs",
        "fuse.mount-s3", "fuse.rclone", "fuse.s3fs", "fuse.sshfs",
    }
)  # fmt: skip
"""Other machines may write the same file, and delays are unbounded."""
_PASSED_THROUGH = frozenset(
    {"9p", "drvfs", "prl_fs", "vboxsf", "virtiofs", "vmhgfs", "fuse.vmhgfs-fuse"}
)
"""A host folder shared with a virtual machine or container: safe while only one side uses the file."""


PROBE_BYTES = 256 * 1024
"""More than SQLite needs at a time: the index of a log grows by 32 KiB."""
_NO_SPACE = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


class WriteProblem(NamedTuple):
    """Why nothing can be written to a folder.

    Attributes:
        reason: In the words of the operating system.
        is_no_space: Whether the disk or a quota is full.
    """

    reason: str
    is_no_space: bool


def write_problem(folder: Path) -> WriteProblem | None:
    """Try to write to a folder. SQLite says "disk I/O error" whatever the reason is, unless the disk itself is full.

    Args:
        folder: The folder of a database that could not be written.

    Returns:
        The reason; None if a file can be written there.
    """
    import tempfile  # here because it is needed only when a database could not be written

    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
    except OSError as error:
        return WriteProblem(error.strerror or str(error), error.errno in _NO_SPACE)
    return None


def check_name(database: Path) -> None:
    """Refuse a target, such as `sqlite:orders.db`, where a path is asked for: a file of that name would be created.

    Args:
        database: The path as it was given.

    Raises:
        OpenError: It is a target.
    """
    text = str(database)
    if text.startswith("sqlite:"):
        raise OpenError(f"{text} is no path: give the path of the file alone, without 'sqlite:'")
    if text in {":memory:", "memory:"}:
        raise OpenError(f"{text} is no path: without a file, a server keeps everything in memory")


def check_file_system(database: Path) -> None:
    """Refuse a database on a network file system.

    Args:
        database: Absolute, without symbolic links; it need not exist.

    Raises:
        OpenError: Its folder is on a network file system.
    """
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    kind = file_system_of(database, mounts)
    if kind in _NETWORK:
        raise OpenError(
            f"{database} would lie on a network file system ({kind}), where SQLite's locks and log are not safe: use a "
            "folder on a local disk, or run `perdure server start-dev` where the disk is and connect to it"
        )
    if kind in _PASSED_THROUGH:
        _log.warning(
            "%s lies in a folder that comes from outside of this machine (%s): do not open it on both sides; "
            "a local folder or volume is safer and faster",
            database,
            kind,
        )


def file_system_of(path: Path, mountinfo: str) -> str:
    """The type of the file system that holds `path`, or the empty string if the table does not list it.

    Args:
        path: Absolute.
        mountinfo: The text of `/proc/self/mountinfo`.

    Example:
        >>> file_system_of(Path("/srv/x.db"), "30 1 0:9 / /srv rw - nfs4 host:/x rw")
        'nfs4'
    """
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        place, dash, rest = line.partition(" - ")
        fields = place.split(" ")
        if not dash or len(fields) < 5:
            continue
        point = Path(_unescaped(fields[4]))
        # If several file systems are mounted on one point, the last one is visible.
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), rest.split(" ", 1)[0]
    return kind


def _unescaped(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
