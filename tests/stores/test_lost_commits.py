"""A write-ahead log that is lost while nothing has the database open: the next opening says so and writes nothing."""

# ruff: noqa: ASYNC240 -- nothing else runs

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.core.ids import run_key
from perdure.server.admin.audit import audit
from perdure.storage import lost_commits
from perdure.storage.file_lock import HOLDER_BYTES, FileLock, Progress, progress_beside
from perdure.storage.lost_commits import check_opened
from perdure.storage.port import EntityWrite, FenceLost, InUse, LostCommits, OpenError
from perdure.storage.sqlite_audit import AuditReader
from perdure.storage.sqlite_backup import back_up
from tests.stores.conftest import Writer, files, open_inline

COMMITS = 6
WRITE = """
import asyncio, os, sys
from pathlib import Path
from perdure.core.ids import run_key
from perdure.storage.port import CommitBatch, EntityWrite, ShardWrite
from perdure.storage.sqlite import open_sqlite

async def main():
    store = await open_sqlite(Path(sys.argv[1]))
    for n in range(int(sys.argv[2])):
        shard = n % 4
        lease = await store.acquire(shard)
        number = shard << 40 | lease.sequence + 1
        write = EntityWrite(number=number, key=run_key("n", f"{shard}-{number}", "r"), shard_id=shard, is_new=True)
        clock_ns = 1_700_000_000_000_000_000 + n * 1_000_000_000
        await store.commit(CommitBatch((ShardWrite(shard, lease.range_id, lease.sequence, clock_ns, 9),), (write,)))
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


async def write_and_die(path: Path, commits: int = COMMITS) -> None:
    """Commit in another process, which is killed as soon as the last commit is acknowledged."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITE, str(path), str(commits), env=environment
    )
    assert await child.wait() == -9


@pytest.fixture
async def killed(tmp_path: Path) -> Path:
    """A database whose process was killed: most of it is in the log."""
    path = tmp_path / "x.db"
    await (await open_inline(path)).close()
    await write_and_die(path)
    return path


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def commits(path: Path) -> int:
    connection = sqlite3.connect(path)
    (found,) = connection.execute("SELECT sum(commit_sequence) FROM shards").fetchone()
    connection.close()
    return found


def lost(path: Path) -> str:
    """What an audit says about lost commits. The runs of these tests are no sound ones."""
    return "".join(one.what for one in audit(path).findings if one.check == "commits")


def known(path: Path) -> int:
    """The number of commits that is written down."""
    progress = progress_beside(path)
    assert progress is not None
    return progress.commits


def delete(log: Path) -> None:
    log.unlink()


def empty(log: Path) -> None:
    log.write_bytes(b"")


def cut(log: Path) -> None:
    os.truncate(log, log.stat().st_size - 5_000)


def cut_to_its_header(log: Path) -> None:
    os.truncate(log, 32)


def flip(log: Path) -> None:
    data = bytearray(log.read_bytes())
    data[-3_000] ^= 1
    log.write_bytes(data)


def overwrite(log: Path) -> None:
    log.write_bytes(os.urandom(log.stat().st_size))


def delete_the_shared_memory_too(log: Path) -> None:
    log.unlink()
    log.with_name(log.name.replace("-wal", "-shm")).unlink()


@pytest.mark.parametrize(
    "lose", [delete, empty, cut, cut_to_its_header, flip, overwrite, delete_the_shared_memory_too]
)
async def test_a_log_that_is_lost_is_noticed(killed: Path, lose: Callable[[Path], None]):
    log, before = beside(killed, "-wal"), killed.read_bytes()
    lose(log)
    left = log.read_bytes() if log.exists() else b""
    assert f"{killed} has lost at least" in lost(killed)
    with pytest.raises(LostCommits, match=r"has lost at least \d of 6 commits, .*2023") as caught:
        await open_inline(killed)
    assert f"remove {killed}.lock" in str(caught.value)
    assert 1 <= caught.value.commits <= COMMITS
    with pytest.raises(LostCommits):  # a refusal changes nothing
        await open_inline(killed)
    assert killed.read_bytes() == before
    assert (log.read_bytes() if log.exists() else b"") == left
    lock = beside(killed, ".lock")
    lock.unlink()
    store = await open_inline(killed)
    await store.close()
    assert commits(killed) == known(killed) == COMMITS - caught.value.commits
    await (await open_inline(killed)).close()


@pytest.mark.parametrize("lose", [delete, empty, cut_to_its_header])
async def test_a_log_that_held_everything_is_missed_too(
    tmp_path: Path, lose: Callable[[Path], None]
):
    path = tmp_path / "x.db"
    await write_and_die(path)
    lose(beside(path, "-wal"))
    before = path.read_bytes()
    for use in (lambda: open_inline(path), lambda: asyncio.to_thread(audit, path)):
        with pytest.raises(LostCommits, match="has lost at least 6 of 6 commits, the last of 2023"):
            await use()
    assert path.read_bytes() == before
    beside(path, ".lock").unlink()
    await (await open_inline(path)).close()
    assert commits(path) == 0


async def test_what_could_not_be_read_before_is_compared_once_it_is_open(
    killed: Path, monkeypatch: pytest.MonkeyPatch
):
    def busy(*_: object, **__: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("unable to open database file")

    beside(killed, "-wal").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(lost_commits, "connect_reader", busy)
        with pytest.raises(LostCommits, match="has lost at least 6 of 6 commits"):
            await open_inline(killed)
    with pytest.raises(LostCommits):
        await open_inline(killed)
    assert known(killed) == COMMITS


async def test_the_log_can_be_put_back(killed: Path):
    log, aside = beside(killed, "-wal"), killed.with_name("aside")
    shutil.move(log, aside)
    with pytest.raises(LostCommits):
        await open_inline(killed)
    shutil.move(aside, log)
    assert not lost(killed)
    await (await open_inline(killed)).close()
    assert commits(killed) == COMMITS


@pytest.mark.parametrize("is_closed", [False, True])
async def test_an_older_log_is_noticed_and_not_written_into_the_file(killed: Path, is_closed: bool):
    log = beside(killed, "-wal")
    older = log.read_bytes()
    await write_and_die(killed, 3)
    if is_closed:
        await (await open_inline(killed)).close()
        assert not log.exists()
    before = killed.read_bytes()
    log.write_bytes(older)
    beside(killed, "-shm").unlink(missing_ok=True)
    with pytest.raises(LostCommits, match="at least 3 of 9 commits"):
        await open_inline(killed)
    assert killed.read_bytes() == before, "the file may be sound without the log"
    if is_closed:
        log.unlink()
        beside(killed, "-shm").unlink()
        await (await open_inline(killed)).close()
        assert commits(killed) == COMMITS + 3


async def test_an_older_copy_of_the_file_is_noticed(killed: Path):
    await (await open_inline(killed)).close()
    older = killed.read_bytes()
    await write_and_die(killed, 2)
    await (await open_inline(killed)).close()
    killed.write_bytes(older)
    with pytest.raises(LostCommits, match="at least 2 of 8 commits"):
        await open_inline(killed)
    assert files(killed.parent) == ["x.db", "x.db.lock"]
    killed.write_bytes(b"")
    with pytest.raises(LostCommits, match="8 of 8 commits, the last of 2023"):
        await open_inline(killed)


async def test_a_kill_loses_nothing_and_is_no_reason_to_complain(killed: Path):
    for n in range(1, 4):
        assert progress_beside(killed) == Progress(
            COMMITS * n, 1_700_000_000_000_000_000 + (COMMITS - 1) * 1_000_000_000
        )
        assert not lost(killed)
        await write_and_die(killed)
    assert commits(killed) == 4 * COMMITS


async def test_a_database_alone_is_accepted_and_counted_from_then_on(killed: Path):
    beside(killed, ".lock").unlink()
    store = await open_inline(killed)
    assert known(killed) == COMMITS
    await store.close()
    (killed.parent / "copy").mkdir()
    copy = killed.parent / "copy" / "x.db"
    shutil.copy(killed, copy)
    await (await open_inline(copy)).close()


async def test_what_is_ahead_of_its_lock_file_is_accepted(killed: Path):
    lock = FileLock(killed)
    lock.write_down(Progress(COMMITS - 1, 5))
    lock.release()
    store = await open_inline(killed)
    assert known(killed) == COMMITS
    await store.close()


@pytest.mark.parametrize(
    "text", ["", "12345\n", "9" * 200, " " * 32 + "99 7 00000000\n", "x" * 32 + "a b c\n"]
)
async def test_a_lock_file_without_a_valid_number_claims_nothing(killed: Path, text: str):
    beside(killed, ".lock").write_text(text)
    assert progress_beside(killed) is None
    assert not lost(killed)
    store = await open_inline(killed)
    assert known(killed) == COMMITS
    await store.close()


async def test_every_commit_is_written_down_and_nothing_else(tmp_path: Path):
    path = tmp_path / "x.db"
    store = await open_inline(path)
    assert progress_beside(path) == Progress(0, 0)
    writer = await Writer(store).acquire()
    for number in (1, 2):
        await writer.entity(number, run_key("n", f"w{number}", "r"))
        assert progress_beside(path) == Progress(number, 7)
    writer.sequence = 0
    with pytest.raises(FenceLost):
        await writer.write(EntityWrite(number=3, key=run_key("n", "w3", "r"), shard_id=0))
    assert progress_beside(path) == Progress(2, 7)
    with pytest.raises(InUse, match=f"in use by process {os.getpid()}:"):
        await open_inline(path)
    assert progress_beside(path) == Progress(2, 7)
    # A batch of unknown outcome was written after all: who takes the shard over counts it.
    store.writing.execute("UPDATE shards SET commit_sequence = 5, clock_ns = 9 WHERE shard_id = 1")
    await store.acquire(2)
    assert progress_beside(path) == Progress(7, 9)
    await store.close()
    assert progress_beside(path) == Progress(7, 9)
    assert beside(path, ".lock").read_bytes()[:HOLDER_BYTES].strip() == b"%d" % os.getpid()


def test_a_lock_file_that_cannot_be_written_is_no_error(tmp_path: Path):
    lock = FileLock(tmp_path / "x.db")
    lock.write_down(Progress(1, 2))
    lock.release()
    lock.write_down(Progress(3, 4))  # its file is closed
    assert progress_beside(tmp_path / "x.db") == Progress(1, 2)


# ── restoring, replacing ─────────────────────────────────────────────────────────────────────────────


async def test_a_backup_is_restored_without_further_steps(
    killed: Path, caplog: pytest.LogCaptureFixture
):
    backup = killed.with_name("backup.db")
    back_up(killed, backup)
    await write_and_die(killed, 3)
    beside(killed, "-wal").unlink()
    beside(killed, "-shm").unlink()
    shutil.copy(backup, killed)
    assert not lost(killed)
    store = await open_inline(killed)
    assert "is a backup from 2023-11-14" in caplog.text
    assert "at least 3 commits" in caplog.text
    await store.close()
    caplog.clear()
    await (await open_inline(killed)).close()
    assert not caplog.text
    assert commits(killed) == COMMITS


async def test_a_restored_backup_stays_accepted_whenever_its_first_opening_ends(killed: Path):
    backup = killed.with_name("backup.db")
    back_up(killed, backup)
    await write_and_die(killed, 3)
    beside(killed, "-wal").unlink()
    shutil.copy(backup, killed)
    lock = FileLock(killed)
    lock.write_down(check_opened(killed, lock.found))
    lock.release()  # killed here
    connection = sqlite3.connect(killed)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    await (await open_inline(killed)).close()


async def test_the_log_of_another_database_is_refused_beside_a_backup(killed: Path):
    backup = killed.with_name("backup.db")
    back_up(killed, backup)
    await write_and_die(killed, 3)
    shutil.copy(backup, killed)
    for use in (lambda: open_inline(killed), lambda: asyncio.to_thread(audit, killed)):
        with pytest.raises(OpenError, match=r"is a backup, .*: remove .*/x\.db-wal and"):
            await use()
    assert killed.read_bytes() == backup.read_bytes()


async def test_a_log_without_its_database_is_kept(killed: Path):
    killed.unlink()
    with pytest.raises(OpenError, match=r"x\.db is missing, and its log .*x\.db-wal is there"):
        await open_inline(killed)
    assert beside(killed, "-wal").stat().st_size > 0
    assert not killed.exists()


async def test_a_new_database_in_the_place_of_one_that_is_gone_is_logged(
    killed: Path, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING):
        await (await open_inline(killed)).close()
        assert not caplog.text
        killed.unlink()
        store = await open_inline(killed)
    assert (
        f"{killed} is new: the database that was here before is gone, with its 6 commits"
        in caplog.text
    )
    assert progress_beside(killed) == Progress(0, 0)
    await store.close()


# ── reading from outside ─────────────────────────────────────────────────────────────────────────────


async def test_a_check_leaves_no_files_beside_a_plain_copy(killed: Path):
    await (await open_inline(killed)).close()
    folder = killed.parent / "copies"
    folder.mkdir()
    shutil.copy(killed, folder / "x.db")
    assert not lost(folder / "x.db")
    assert files(folder) == ["x.db"]


async def test_a_database_that_is_opened_during_a_check_is_not_judged(killed: Path):
    await (await open_inline(killed)).close()
    reader = AuditReader.open(killed)
    store = await open_inline(killed)
    reader.pages()
    with pytest.raises(OpenError, match="was opened by a process while it was read: try again"):
        reader.__exit__(None, None, None)
    assert not lost(killed), "it is open now, and has a log"
    await store.close()
