"""A copy of a database: whole, of one moment, never over another file, and nothing left behind when it fails."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from perdure.core.ids import run_key
from perdure.storage.port import EntityWrite, OpenError
from perdure.storage.sqlite_backup import back_up
from tests.stores.conftest import Writer, files, open_inline

SIZE = 2_000


async def fill(path: Path) -> Writer:
    """Left open, so that everything is still in the log beside the file."""
    writer = await Writer(await open_inline(path)).acquire()
    await writer.write(
        *(
            EntityWrite(number=n, key=run_key("n", f"w{n}", "r"), shard_id=0, is_new=True)
            for n in range(1, SIZE)
        )
    )
    return writer


async def test_a_copy_has_what_is_only_in_the_log(tmp_path: Path):
    writer = await fill(tmp_path / "x.db")
    size_bytes = back_up(tmp_path / "x.db", tmp_path / "copy.db")
    assert files(tmp_path) == ["copy.db", "x.db", "x.db-shm", "x.db-wal", "x.db.lock"]
    stat = (tmp_path / "copy.db").stat()
    assert (stat.st_size, stat.st_mode & 0o777, stat.st_nlink) == (size_bytes, 0o600, 1)
    await writer.entity(SIZE, run_key("n", "later", "r"))
    copy = await open_inline(tmp_path / "copy.db")
    assert copy.reading.execute("SELECT count(*) FROM entities").fetchone() == (SIZE - 1,)
    assert copy.reading.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    lease = await copy.acquire(0)
    assert (lease.previous_range_id, lease.sequence) == (writer.range_id, 1)
    for store in (copy, writer.store):
        await store.close()


async def test_what_an_earlier_copy_left_is_replaced(tmp_path: Path):
    await (await open_inline(tmp_path / "x.db")).close()
    (tmp_path / "copy.db.partial").write_bytes(b"half of something else" * 1_000)
    back_up(tmp_path / "x.db", tmp_path / "copy.db")
    assert {"copy.db.partial"}.isdisjoint(files(tmp_path))
    await (await open_inline(tmp_path / "copy.db")).close()


async def test_a_copy_through_a_link_is_of_the_file(tmp_path: Path):
    writer = await fill(tmp_path / "x.db")
    (tmp_path / "link.db").symlink_to(tmp_path / "x.db")
    back_up(tmp_path / "link.db", tmp_path / "copy.db")
    await writer.store.close()
    copy = await open_inline(tmp_path / "copy.db")
    assert copy.reading.execute("SELECT count(*) FROM entities").fetchone() == (SIZE - 1,)
    await copy.close()


async def test_a_file_that_is_there_is_not_touched(tmp_path: Path):
    await (await open_inline(tmp_path / "x.db")).close()
    (tmp_path / "copy.db").write_text("precious")
    with pytest.raises(OpenError, match=r"copy\.db exists already: choose another name"):
        back_up(tmp_path / "x.db", tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "precious"
    # A dangling link does not "exist", and yet the name is taken when the copy is put there.
    (tmp_path / "dangling.db").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OpenError, match=r"cannot write .*dangling\.db: File exists"):
        back_up(tmp_path / "x.db", tmp_path / "dangling.db")
    assert [name for name in files(tmp_path) if not name.startswith("x.db")] == [
        "copy.db",
        "dangling.db",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"there is no database .*x\.db"),
        (b"", r"x\.db is no database of Perdure"),
        (b"no database, but with enough bytes for a header" * 9, r"cannot copy .*x\.db: "),
    ],
)
def test_only_a_database_is_copied(tmp_path: Path, content: bytes | None, message: str):
    if content is not None:
        (tmp_path / "x.db").write_bytes(content)
    with pytest.raises(OpenError, match=message):
        back_up(tmp_path / "x.db", tmp_path / "copy.db")
    assert files(tmp_path) == ([] if content is None else ["x.db"])


def test_another_programs_database_is_not_copied(tmp_path: Path):
    connection = sqlite3.connect(tmp_path / "x.db")
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    with pytest.raises(OpenError, match=r"x\.db is no database of Perdure"):
        back_up(tmp_path / "x.db", tmp_path / "copy.db")
    assert files(tmp_path) == ["x.db"]


async def test_a_folder_that_is_not_there_is_said(tmp_path: Path):
    await (await open_inline(tmp_path / "x.db")).close()
    with pytest.raises(OpenError, match=r"cannot write .*: No such file or directory"):
        back_up(tmp_path / "x.db", tmp_path / "no" / "copy.db")
