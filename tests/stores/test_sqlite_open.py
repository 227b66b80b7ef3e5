"""Opening a file: what is refused leaves no trace, the lock is one process's, and older versions become this one."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.storage import sqlite, sqlite_open
from perdure.storage.executors import InlineExecutor
from perdure.storage.file_lock import HOLDER_BYTES, FileLock
from perdure.storage.port import Damaged, InUse, NewerSchema, OpenError
from perdure.storage.schema import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION, migrate
from perdure.storage.sqlite import open_memory, open_sqlite
from perdure.storage.sqlite_open import connect_file, connect_memory
from tests.stores.conftest import files, open_inline, store_threads
from tests.stores.test_sqlite_file import child_environment

TEXT = b"hello, this is a text file and no database at all"


def sqlite_file(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


REFUSED: dict[str, tuple[Callable[[Path], object], type[OpenError], str]] = {
    "text": (lambda path: path.write_bytes(TEXT), Damaged, "no SQLite database"),
    "short text": (lambda path: path.write_bytes(b"SQLite"), Damaged, "no SQLite database"),
    "header only": (
        lambda path: path.write_bytes(b"SQLite format 3\x00" + b"\xff" * 4_096),
        Damaged,
        "is damaged",
    ),
    "a table": (
        lambda path: sqlite_file(path, "CREATE TABLE t (x)"),
        Damaged,
        "SQLite database of another program",
    ),
    "another application": (
        lambda path: sqlite_file(path, "PRAGMA application_id = 7"),
        Damaged,
        "SQLite database of another program",
    ),
    "another version number": (
        lambda path: sqlite_file(path, "PRAGMA user_version = 1"),
        Damaged,
        "SQLite database of another program",
    ),
    "newer": (
        lambda path: sqlite_file(
            path,
            f"PRAGMA application_id = {APPLICATION_ID}",
            f"PRAGMA user_version = {SCHEMA_VERSION + 1}",
        ),
        NewerSchema,
        rf"has schema version {SCHEMA_VERSION + 1}, and this version of Perdure knows {SCHEMA_VERSION}: upgrade",
    ),
    "a folder": (
        lambda path: path.mkdir(),
        OpenError,
        "cannot open .*: Is a directory; it must be a file",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_is_left_as_it_was(tmp_path: Path, name: str):
    make, kind, message = REFUSED[name]
    path = tmp_path / "x.db"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(kind, match=message) as caught:
        await open_inline(path)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert (path.read_bytes() if path.is_file() else b"") == before
    assert files(tmp_path) == ["x.db", "x.db.lock"]
    FileLock(path).release()  # nobody holds it


@pytest.mark.parametrize("content", [b"", None], ids=["empty", "missing"])
async def test_a_new_database(tmp_path: Path, content: bytes | None):
    path = tmp_path / "x.db"
    if content is not None:
        path.write_bytes(content)
    store = await open_inline(path, shard_count=3)
    assert store.shard_count == 3
    rows = store.writing.execute("SELECT * FROM shards ORDER BY shard_id").fetchall()
    assert rows == [(0, 0, 0, 0, 0), (1, 0, 0, 0, 0), (2, 0, 0, 0, 0)]
    for pragma, value in (("application_id", APPLICATION_ID), ("user_version", SCHEMA_VERSION)):
        assert store.writing.execute(f"PRAGMA {pragma}").fetchone() == (value,)
    await store.close()


async def test_what_was_started_for_a_refused_file_is_ended(tmp_path: Path):
    path = tmp_path / "x.db"
    path.write_bytes(TEXT)
    with pytest.raises(Damaged):
        await open_sqlite(path)
    assert store_threads() == []


async def test_what_was_opened_is_closed_again_when_the_rest_can_not_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    opened: list[sqlite3.Connection] = []

    def connect(path: Path, shard_count: int) -> sqlite3.Connection:
        opened.append(connect_file(path, shard_count))
        return opened[-1]

    def refused(_: Path) -> sqlite3.Connection:
        raise sqlite3.OperationalError("no more files (test)")

    path = tmp_path / "x.db"
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "connect_file", connect)
        patch.setattr(sqlite, "connect_reader", refused)
        with pytest.raises(sqlite3.OperationalError):
            await open_sqlite(path)
    (writing,) = opened
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        writing.execute("SELECT 1")
    assert store_threads() == []
    await (await open_inline(path)).close()


async def test_a_store_works_where_it_is_told_to_and_leaves_a_database_that_is_not_its_own_open(
    tmp_path: Path,
):
    writer, reader = InlineExecutor(), InlineExecutor()
    store = await open_sqlite(tmp_path / "x.db", writer=writer, reader=reader)
    assert (store._writer, store._reader) == (writer, reader)
    assert store_threads() == []
    await store.close()
    connection = connect_memory(3)
    kept = open_memory(connection=connection)
    assert kept.shard_count == 3
    await kept.close()
    assert connection.execute("SELECT count(*) FROM shards").fetchone() == (3,)
    connection.close()
    own = open_memory()
    await own.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        own.writing.execute("SELECT 1")


async def test_a_large_database_is_checked_only_in_outline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "x.db"
    await (await open_inline(path)).close()
    sqlite_file(path, "INSERT INTO facts VALUES (1, 1, '', randomblob(30000))")
    data = bytearray(path.read_bytes())
    data[-4_096:] = b"\xff" * 4_096  # a page of the blob: nothing but `quick_check` looks at it
    data[-3 * 4_096 : -3 * 4_096 + 4] = b"\xff" * 4  # breaks the chain of its pages
    path.write_bytes(data)
    with pytest.raises(Damaged, match=r"is damaged \(.+\): restore it from a backup"):
        await open_inline(path)
    monkeypatch.setattr(sqlite_open, "CHECKED_BYTES_MAX", len(data))
    with pytest.raises(Damaged):
        await open_inline(path)
    monkeypatch.setattr(sqlite_open, "CHECKED_BYTES_MAX", len(data) - 1)
    await (await open_inline(path)).close()


async def test_symbolic_links_to_one_file_are_one_database(tmp_path: Path):
    (tmp_path / "link.db").symlink_to(tmp_path / "x.db")
    store = await open_inline(tmp_path / "x.db")
    with pytest.raises(InUse, match=r"/x\.db is in use"):
        await open_inline(tmp_path / "link.db")
    await store.close()


# ── the lock ─────────────────────────────────────────────────────────────────────────────────────────

HOLD = """
import sys
from pathlib import Path
from perdure.storage.file_lock import FileLock
lock = FileLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


async def test_another_process_has_the_file_until_it_ends(tmp_path: Path):
    path = tmp_path / "x.db"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, str(path), env=child_environment(),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    assert await child.stdout.readline() == b"held\n"
    with pytest.raises(InUse, match=rf"is in use by process {child.pid}: .* one process") as caught:
        await open_inline(path)
    assert caught.value.holder == str(child.pid)
    assert not path.exists(), "nothing is opened without the lock"
    child.kill()
    await child.wait()
    store = await open_inline(path)
    await store.close()


def test_the_lock_names_its_holder_and_no_earlier_one(tmp_path: Path):
    (tmp_path / "x.db.lock").write_text("99999999999999999999\nand more\n")
    lock = FileLock(tmp_path / "x.db")
    held = (tmp_path / "x.db.lock").read_text()
    assert held == f"{os.getpid():<{HOLDER_BYTES - 1}}\n", "what is no number of commits is gone"
    with pytest.raises(InUse) as caught:
        FileLock(tmp_path / "x.db")
    assert caught.value.holder == held.strip()
    assert (tmp_path / "x.db.lock").read_text() == held, "who is refused writes nothing"
    lock.release()
    FileLock(tmp_path / "x.db").release()


def test_a_holder_that_did_not_say_who_it_is_is_unknown(tmp_path: Path):
    lock = FileLock(tmp_path / "x.db")
    (tmp_path / "x.db.lock").write_text("")
    with pytest.raises(InUse, match="in use by process unknown") as caught:
        FileLock(tmp_path / "x.db")
    assert caught.value.holder == "unknown"
    lock.release()


def test_a_forked_child_leaves_the_lock_to_its_parent(tmp_path: Path):
    lock = FileLock(tmp_path / "x.db")
    # A fork shares the open file, as this does.
    parents = os.dup(lock._fd)
    lock.leave_to_parent()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(lock._fd)
    with pytest.raises(InUse):
        FileLock(tmp_path / "x.db")
    os.close(parents)
    FileLock(tmp_path / "x.db").release()


async def test_a_lock_file_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "x.db.lock").mkdir()
    with pytest.raises(OpenError, match=r"cannot create .*x\.db\.lock: Is a directory; choose"):
        await open_inline(tmp_path / "x.db")


# ── migrations ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
async def test_each_version_becomes_this_one(tmp_path: Path, version: int):
    path = tmp_path / "x.db"
    statements = [one for step in MIGRATIONS[:version] for one in step]
    sqlite_file(
        path,
        *statements,
        "INSERT INTO shards VALUES (0, 5, 6, 7, 8)",
        f"PRAGMA application_id = {APPLICATION_ID}",
        f"PRAGMA user_version = {version}",
    )
    store = await open_inline(path, shard_count=9)
    fresh = connect_memory(1)
    shape = "SELECT type, name, sql FROM sqlite_master ORDER BY name"
    assert store.writing.execute(shape).fetchall() == fresh.execute(shape).fetchall()
    assert store.writing.execute("SELECT * FROM shards").fetchall() == [(0, 5, 6, 7, 8)]
    assert store.writing.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    fresh.close()
    await store.close()


@pytest.mark.parametrize("version", range(SCHEMA_VERSION))
def test_a_migration_that_fails_changes_nothing(version: int):
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for step in MIGRATIONS[:version]:
        for statement in step:
            connection.execute(statement)
    # The last table of the last step is there already.
    connection.execute("CREATE TABLE held (x)")
    before = connection.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall()
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        migrate(connection, version, 4)
    assert not connection.in_transaction
    assert connection.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall() == before
    assert connection.execute("PRAGMA user_version").fetchone() == (0,)
    connection.close()


def test_a_database_of_this_version_is_not_migrated(tmp_path: Path):
    path = tmp_path / "x.db"
    connect_file(path, 4).close()
    before = path.read_bytes()
    connect_file(path, 4).close()
    assert path.read_bytes() == before


async def test_only_its_owner_reads_a_new_database(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        store = await open_sqlite(tmp_path / "x.db")
        modes = {
            name: stat.S_IMODE(os.stat(tmp_path / name).st_mode)  # noqa: PTH116 - neither blocks here
            for name in os.listdir(tmp_path)  # noqa: PTH208
            if not name.endswith(".lock")
        }
        assert modes.keys() >= {"x.db", "x.db-wal"}
        assert set(modes.values()) == {0o600}
        await store.close()
        (tmp_path / "x.db").chmod(0o640)
        store = await open_sqlite(tmp_path / "x.db")
        assert stat.S_IMODE((tmp_path / "x.db").stat().st_mode) == 0o640
        await store.close()
    finally:
        os.umask(before)
