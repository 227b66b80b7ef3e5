"""`perdure db`: backups of a database in use, and the check that finds every kind of damage."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from perdure.cli.app import cli
from perdure.cli.exits import CommandError
from perdure.embedded import open_embedded
from perdure.server.admin.audit import audit
from perdure.storage.port import OpenError
from perdure.storage.sqlite_backup import back_up
from tests.harness.builders import complete_workflow, schedule_activity
from tests.unit.embedded.calls import QUEUE, call, start
from tests.unit.server.world import start_timer


async def fill(url: str) -> None:
    """A run of each kind: untouched, waiting for a timer, with activities, closed; then let go of the file."""
    connection = await open_embedded(url)
    for name in ("busy", "closed", "sleeps"):
        await start(connection, name)
    for _ in range(3):
        task = await call(connection, "PollWorkflowTaskQueue", 60, task_queue=QUEUE)
        commands = {
            "busy": [schedule_activity("a"), schedule_activity("b")],
            "closed": [complete_workflow()],
            "sleeps": [start_timer("t", 3_600_000)],
        }[task.workflow_execution.workflow_id]
        await call(
            connection,
            "RespondWorkflowTaskCompleted",
            task_token=task.task_token,
            commands=commands,
        )
    await call(connection, "PollActivityTaskQueue", 5, task_queue=QUEUE)
    await start(connection, "new")
    await connection.close()


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    path = tmp_path / "x.db"
    await fill(f"sqlite:{path}")
    return path


def perdure(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_a_sound_database(database: Path):
    report = audit(database)
    assert report.findings == []
    assert report.looked_at["histories"] == 4
    assert report.looked_at["tasks"] == 2, "one activity waits, and the first task of `new`"
    assert report.stale_tasks == 0
    done = perdure("db", "check", database)
    assert done.exit_code == 0
    assert "sound" in done.output
    assert json.loads(perdure("db", "check", database, "-o", "json").output)["isSound"] is True


def test_damaged_pages_are_found(database: Path):
    data = bytearray(database.read_bytes())
    page = 4_096
    for number in range(2, len(data) // page):
        data[number * page : number * page + 8] = b"\xff" * 8
    database.write_bytes(data)
    try:
        report = audit(database)
    except (OpenError, sqlite3.DatabaseError):
        return
    assert report.findings
    assert report.findings[0].check == "pages"


@pytest.mark.parametrize(
    "content", [None, b"", b"no database at all, but long enough to have a header" * 9]
)
def test_what_is_no_database_is_refused(tmp_path: Path, content: bytes | None):
    path = tmp_path / "x.db"
    if content is not None:
        path.write_bytes(content)
    for command in (("check", path), ("backup", path, tmp_path / "copy")):
        done = perdure("db", *command)
        assert isinstance(done.exception, CommandError), done.output
        assert "database" in str(done.exception)
    left = [one.name for one in tmp_path.iterdir()]
    assert left == ([] if content is None else ["x.db"]), "nothing is left behind"


def test_a_backup_never_overwrites(database: Path, tmp_path: Path):
    (tmp_path / "copy.db").write_text("precious")
    with pytest.raises(OpenError, match="exists already"):
        back_up(database, tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "precious"
    with pytest.raises(OpenError, match="cannot write"):
        back_up(database, tmp_path / "no" / "copy.db")


async def test_a_backup_while_the_engine_works(tmp_path: Path):
    connection = await open_embedded(f"sqlite:{tmp_path}/x.db")
    acknowledged: list[str] = []
    is_over = False

    async def load() -> None:
        while not is_over:
            name = f"w{len(acknowledged)}"
            await start(connection, name)
            acknowledged.append(name)

    loading = asyncio.create_task(load())
    while len(acknowledged) < 20:  # noqa: ASYNC110 -- the count is what matters
        await asyncio.sleep(0)
    copies: list[tuple[Path, int]] = []
    for number in range(3):
        before = len(acknowledged)
        copy = tmp_path / f"copy{number}.db"
        await asyncio.to_thread(back_up, tmp_path / "x.db", copy)
        copies.append((copy, before))
    is_over = True
    await loading
    report = await asyncio.to_thread(audit, tmp_path / "x.db")
    assert report.findings == [], "an audit while the engine has the file"
    await connection.close()
    for copy, before in copies:
        report = audit(copy)
        assert report.findings == []
        assert report.looked_at["histories"] >= before, "all that was acknowledged before"
        again = await open_embedded(f"sqlite:{copy}")
        await start(again, "w0")
        await again.close()
