"""What a server refuses at its start, and a disk that is full: one clear line, and no file is harmed."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.client import Client, RPCError, RPCStatusCode
from perdure.core.clock import SystemClock
from perdure.core.ids import new_id
from perdure.server.node.node import open_node
from perdure.storage.schema import SCHEMA_VERSION
from perdure.storage.sqlite import open_sqlite
from perdure.wire.api import common, workflowservice
from perdure.wire.api import taskqueue as queues
from perdure.wire.errors import ResourceExhausted
from perdure.wire.seam import WORKFLOW_SERVICE
from tests.e2e.stack import Stack, running

pytestmark = [pytest.mark.e2e]


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that a server has used."""
    folder = tmp_path_factory.mktemp("used")
    with running(folder) as stack:
        for number in range(20):
            stack.cli("workflow", "start", "--type", "T", "--task-queue", "q", "-w", f"w{number}")
        stack.end("server")
        return stack.database


@pytest.fixture
def database(used: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(used, tmp_path / "orders.db"))


def refused(folder: Path, *flags: str) -> str:
    """A server that does not start; what it says, in one line."""
    done = Stack(folder).try_cli("server", "start-dev", "--headless", "--port", "0", *flags)
    assert done.returncode == 1, done
    (line,) = done.stderr.strip().splitlines()
    return line


def newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()


def damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def text(path: Path) -> None:
    path.write_text("item,amount\ntea,3\n")


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE notes (text)")
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "advice"),
    [
        (newer, "upgrade Perdure"),
        (damaged, "restore it from a backup"),
        (cut_off, "restore it from a backup"),
        (text, "choose another file"),
        (foreign, "choose another file"),
    ],
)
async def test_a_database_that_is_not_ours_to_open(
    database: Path, spoil: Callable[[Path], None], advice: str
):
    spoil(database)
    before = await asyncio.to_thread(database.read_bytes)
    line = refused(database.parent, "--db-filename", str(database))
    assert "orders.db" in line
    assert advice in line
    with pytest.raises(RuntimeError) as embedded:
        await Client.connect(f"sqlite:{database}")
    assert advice in str(embedded.value)
    assert await asyncio.to_thread(database.read_bytes) == before, "it was not touched"


async def test_a_database_in_use_by_a_live_process(database: Path):
    holder = await Client.connect(f"sqlite:{database}")
    line = refused(database.parent, "--db-filename", str(database))
    assert f"in use by process {os.getpid()}" in line
    assert "Stop that process, or connect to it" in line
    handle = await holder.start_workflow("T", id="during", task_queue="q")
    assert (await handle.describe()).id == "during", "its holder was not disturbed"
    await holder.close()
    async with await Client.connect(f"sqlite:{database}") as later:
        assert (await later.get_workflow_handle("during").describe()).id == "during"


def test_a_port_in_use(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        line = refused(tmp_path, "--port", port, "--db-filename", str(tmp_path / "x.db"))
    assert port in line
    assert "--port" in line


@pytest.mark.parametrize("place", ["no/such/folder/x.db", "file.txt/x.db"])
def test_a_folder_that_is_none(tmp_path: Path, place: str):
    (tmp_path / "file.txt").touch()
    line = refused(tmp_path, "--db-filename", str(tmp_path / place))
    assert "choose a directory that exists and is writable" in line


def test_an_unwritable_folder(tmp_path: Path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    if os.geteuid() == 0:
        folder = Path("/sys")  # root may write everywhere, but not there
    line = refused(tmp_path, "--db-filename", str(folder / "x.db"))
    assert "choose a directory that exists and is writable" in line


# ── a full disk ──────────────────────────────────────────────────────────────────────────────────────


def start_request(
    workflow_id: str, size_bytes: int
) -> workflowservice.StartWorkflowExecutionRequest:
    payload = common.Payload(metadata={"encoding": b"binary/plain"}, data=b"x" * size_bytes)
    return workflowservice.StartWorkflowExecutionRequest(
        namespace="default",
        workflow_id=workflow_id,
        workflow_type=common.WorkflowType(name="T"),
        task_queue=queues.TaskQueue(name="q"),
        request_id=workflow_id,
        input=common.Payloads(payloads=[payload]),
    )


async def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path):
    """The real database reports that it is full; what is acknowledged is there afterwards, and nothing else."""
    path = tmp_path / "orders.db"
    store = await open_sqlite(path)
    node = await open_node(store, clock=SystemClock(), new_id=new_id)

    async def start(workflow_id: str, size_bytes: int = 10) -> None:
        await node.frontend.dispatch(
            WORKFLOW_SERVICE["StartWorkflowExecution"], start_request(workflow_id, size_bytes)
        )

    await start("before")
    pages = store.writing.execute("PRAGMA page_count").fetchone()[0]
    store.writing.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(ResourceExhausted) as full:
        await start("too much", 500_000)
    assert full.value.message == (
        "The database has no space left; nothing was written. Free some space."
    )
    store.writing.execute("PRAGMA max_page_count = 1000000")
    while True:  # writes are refused for a moment more, so that a full disk is not hammered
        try:
            await start("after")
        except ResourceExhausted:
            await asyncio.sleep(0.05)
        else:
            break
    await node.close()

    async with await Client.connect(f"sqlite:{path}") as client:
        for workflow_id in ("before", "after"):
            history = await client.get_workflow_handle(workflow_id).fetch_history()
            assert [event.event_id for event in history.events] == [1, 2]
        with pytest.raises(RPCError) as missing:
            await client.get_workflow_handle("too much").describe()
        assert missing.value.status is RPCStatusCode.NOT_FOUND
