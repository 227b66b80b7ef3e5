"""Which file system holds a path, and what is said about those of other machines."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from perdure.storage import file_system
from perdure.storage.file_system import check_file_system, file_system_of
from perdure.storage.port import OpenError
from perdure.storage.sqlite import open_sqlite
from perdure.storage.sqlite_backup import back_up

MOUNTS = """\
27 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 27 0:31 / /srv rw shared:5 - nfs4 host:/srv rw
31 30 0:32 / /srv/local rw - xfs /dev/sdb rw
32 27 0:33 / /my\\040disk rw - fuse.sshfs me@host: rw
33 27 0:34 / /host rw - virtiofs tag rw
34 27 0:35 / /twice rw - nfs4 host:/a rw
35 27 0:36 / /twice rw - tmpfs tmpfs rw
a line of no meaning
too short - nfs4 host:/ rw
"""
NETWORK = [
    "9p2000",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "davfs",
    "gfs2",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "orangefs",
    "pvfs2",
    "smb3",
    "smbfs",
    "fuse.ceph",
    "fuse.davfs2",
    "fuse.gcsfuse",
    "fuse.glusterfs",
    "fuse.goofys",
    "fuse.juicefs",
    "fuse.mount-s3",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.sshfs",
]
PASSED_THROUGH = ["9p", "drvfs", "prl_fs", "vboxsf", "virtiofs", "vmhgfs", "fuse.vmhgfs-fuse"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/x.db", "ext4"),
        ("/srv/a/x.db", "nfs4"),
        ("/srv2/x.db", "ext4"),
        ("/srv/local/x.db", "xfs"),
        ("/my disk/x.db", "fuse.sshfs"),
        ("/twice/x.db", "tmpfs"),
    ],
)
def test_the_innermost_and_latest_mount_counts(path: str, kind: str):
    assert file_system_of(Path(path), MOUNTS) == kind
    assert file_system_of(Path(path), "") == ""


def test_a_line_needs_its_mount_point_and_no_more():
    assert file_system_of(Path("/a/x.db"), "1 2 3 / /a - nfs4 host") == "nfs4"
    assert file_system_of(Path("/a/x.db"), "1 2 3 / - nfs4 host") == ""


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    monkeypatch.setattr(file_system, "MOUNTS", table)
    return table


async def test_a_network_file_system_is_refused(mounts: Path, tmp_path: Path):
    with pytest.raises(OpenError, match=r"network file system \(nfs4\).*local disk"):
        check_file_system(Path("/srv/x.db"))
    mounts.write_text(  # noqa: ASYNC240
        f"1 0 0:1 / {tmp_path} rw - cifs //host/share rw"
    )
    with pytest.raises(OpenError, match="cifs"):
        await open_sqlite(tmp_path / "x.db")
    assert not (tmp_path / "x.db.lock").exists(), "nothing was touched"


def test_a_folder_of_the_host_is_warned_about(mounts: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, logger=file_system.__name__):
        check_file_system(Path("/srv/local/x.db"))
        assert not caplog.messages
        check_file_system(Path("/host/x.db"))
    assert "both sides" in caplog.text


def test_a_system_without_a_table_of_mounts_says_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(file_system, "MOUNTS", Path("/no/such/table"))
    with caplog.at_level(logging.DEBUG):
        check_file_system(Path("/srv/x.db"))
    assert caplog.messages == []


@pytest.mark.parametrize("kind", NETWORK)
def test_each_file_system_of_other_machines_is_known(mounts: Path, kind: str):
    mounts.write_text(f"1 0 0:1 / /data rw - {kind} somewhere rw")
    with pytest.raises(OpenError, match="network file system"):
        check_file_system(Path("/data/x.db"))


@pytest.mark.parametrize("kind", PASSED_THROUGH)
def test_each_file_system_of_a_host_is_known(
    mounts: Path, kind: str, caplog: pytest.LogCaptureFixture
):
    mounts.write_text(f"1 0 0:1 / /data rw - {kind} somewhere rw")
    check_file_system(Path("/data/x.db"))
    assert "both sides" in caplog.text


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sqlite:x.db", "without 'sqlite:'"),
        ("sqlite:///x.db", "without 'sqlite:'"),
        (":memory:", "keeps everything in memory"),
        ("memory:", "keeps everything in memory"),
    ],
)
async def test_a_target_is_no_path(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OpenError, match=reason):
        await open_sqlite(Path(name))
    store = await open_sqlite(Path("x.db"))
    await store.close()
    with pytest.raises(OpenError, match=reason):
        back_up(Path("x.db"), Path(name))
    assert names(tmp_path) == {"x.db", "x.db.lock"}
