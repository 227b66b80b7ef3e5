"""A file that cannot be written, for whatever reason: the error says what the operating system says."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from perdure.core.ids import run_key
from perdure.storage.file_system import PROBE_BYTES, write_problem
from perdure.storage.port import EntityWrite, NotWritten, StoreFull
from tests.stores.conftest import Writer, open_inline

LIMITED = """
import asyncio, resource, sys
from pathlib import Path
from perdure.storage.sqlite import open_sqlite

async def main():
    if sys.argv[3] == "existing":
        await (await open_sqlite(Path(sys.argv[1]))).close()
    # A file may have so many bytes: for SQLite this is an I/O error, as a quota is.
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    try:
        store = await open_sqlite(Path(sys.argv[1]))
        await store.acquire(0)
        print("it was opened")
    except Exception as error:
        print(type(error).__name__, error)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("size_bytes", "given"),
    [(0, "new"), (3_000, "new"), (20_000, "new"), (16, "existing"), (20_000, "existing")],
)
async def test_what_a_limit_of_the_system_stops_is_named(
    tmp_path: Path, size_bytes: int, given: str
):
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LIMITED, str(tmp_path / "x.db"), str(size_bytes), given,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await child.communicate()
    said = output.decode()
    assert said.startswith(("OpenError cannot ", "StoreFull ")), said
    assert "File too large" in said
    assert "x.db" in said or "shard 0" in said


class Failing:
    """The connection that writes, of which no statement works."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def execute(self, *_: object) -> Any:
        raise sqlite3.OperationalError("disk I/O error")


async def test_the_reason_is_found_while_the_database_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = await open_inline(tmp_path / "x.db")
    writer = await Writer(store).acquire()
    connection = store.writing
    store.writing = cast("sqlite3.Connection", Failing(connection))
    write = EntityWrite(number=1, key=run_key("n", "w", "r"), shard_id=0, is_new=True)
    for number, name, kind in (
        (28, "No space left on device", StoreFull), (122, "Disk quota exceeded", StoreFull),
        (30, "Read-only file system", NotWritten), (5, "Input/output error", NotWritten),
    ):  # fmt: skip

        def refused(number: int = number, name: str = name, **_: object) -> None:
            raise OSError(number, name)

        with monkeypatch.context() as patch:
            patch.setattr("tempfile.TemporaryFile", refused)
            for call in (writer.write(write), store.acquire(1)):
                with pytest.raises(NotWritten, match=rf"disk I/O error\): {name}") as caught:
                    await call
                assert type(caught.value) is kind
    with pytest.raises(NotWritten, match=r"disk I/O error\)$") as caught:
        await writer.write(write)
    assert type(caught.value) is NotWritten
    store.writing = connection
    await writer.write(write)
    await store.close()


def test_a_folder_that_can_be_written_has_no_problem_and_keeps_no_file(tmp_path: Path):
    assert write_problem(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    problem = write_problem(tmp_path / "nowhere")
    assert problem is not None
    assert problem.reason == "No such file or directory"
    assert not problem.is_no_space
    assert PROBE_BYTES >= 32 * 1024
