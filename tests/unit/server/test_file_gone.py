"""A database file that is deleted, moved or replaced while it is open: nothing more is acknowledged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.storage.sqlite import open_sqlite
from perdure.wire import errors
from tests.unit.server.world import open_world


def delete(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("moved"))


def replace(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.replace(path)


@pytest.mark.parametrize("name", ["x.db", "x.db-wal"])
@pytest.mark.parametrize("change", [delete, move, replace])
async def test_nothing_is_acknowledged_without_the_file(
    tmp_path: Path, change: Callable[[Path], None], name: str, caplog: pytest.LogCaptureFixture
):
    world = await open_world(await open_sqlite(tmp_path / "x.db"))
    await world.start("before")
    change(tmp_path / name)
    for number in range(3):
        with pytest.raises(errors.Unavailable, match=rf"{name} was deleted, moved or replaced"):
            await world.start(f"after-{number}")
    said = [record for record in caplog.records if "was deleted" in record.message]
    assert len([record for record in said if record.levelname == "ERROR"]) == 1
    await world.node.close()
