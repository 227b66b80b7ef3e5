"""Applications that embed the engine: kill -9, ends of every kind, mistakes of the first day, and the server's turn."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from functools import partial
from pathlib import Path

import pytest

from perdure import workflow
from perdure.client import Client, RPCError, WorkflowExecutionStatus, WorkflowFailureError
from perdure.exceptions import WorkflowAlreadyStartedError
from perdure.server.admin.audit import audit
from perdure.worker import Worker
from tests.e2e.embedded_app import QUEUE, Steps, make_worker
from tests.e2e.processes import PATIENCE_S, ROOT, Processes

pytestmark = [pytest.mark.e2e]


class Apps:
    """Processes of `embedded_app` over one database."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "perdure.db"
        self.ledger = folder / "ledger"
        self.running: list[subprocess.Popen[str]] = []

    def start(self, what: str, database: Path | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.embedded_app", str(database or self.database), what],
            cwd=ROOT,
            env={
                **os.environ,
                "LEDGER": str(self.ledger),
                "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.running.append(process)
        return process

    def run(self, what: str) -> tuple[int, str]:
        """To its end: exit code and output."""
        process = self.start(what)
        output, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode, output


@pytest.fixture
def apps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Apps]:
    apps = Apps(tmp_path)
    monkeypatch.setenv("LEDGER", str(apps.ledger))
    yield apps
    for process in apps.running:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


async def wait_for(process: subprocess.Popen[str], *lines: str) -> None:
    """Read the process's output until all of these lines were seen, in any order."""
    assert process.stdout is not None
    missing, seen = set(lines), ""
    async with asyncio.timeout(PATIENCE_S):
        while missing:
            line = await asyncio.to_thread(process.stdout.readline)
            assert line, f"it ended without {missing}:\n{seen}"
            seen += line
            missing.discard(line.strip())


async def until_ledger_has(apps: Apps, line: str, times: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while apps.ledger.read_text().split("\n").count(line) < times:  # noqa: ASYNC110 -- another process writes
            await asyncio.sleep(0.05)


def url(apps: Apps) -> str:
    return f"sqlite:{apps.database}"


async def test_kill_9_loses_nothing_and_the_attempt_is_tried_again_at_once(apps: Apps):
    app = apps.start("begin")
    await wait_for(app, "started", "signalled", "working quick 1", "working slow 1")
    app.kill()
    assert app.wait() == -signal.SIGKILL
    async with await Client.connect(url(apps)) as client, make_worker(client):
        handle = client.get_workflow_handle("steps", result_type=list[str])
        await handle.signal(Steps.tell, "three")
        async with asyncio.timeout(PATIENCE_S):  # the attempt itself has an hour
            result = await handle.result()
    assert result == ["quick done by attempt 1", "slow done by attempt 2", "one", "two", "three"]
    assert audit(apps.database).findings == []
    assert apps.ledger.read_text().split("\n")[:-1] == [
        "quick attempt 1",
        "slow attempt 1",
        "slow attempt 2",
    ]


@pytest.mark.parametrize("what", ["leave_open", "close"])
async def test_an_application_ends_when_its_main_function_does(apps: Apps, what: str):
    code, output = await asyncio.to_thread(apps.run, what)
    assert (code, output) == (0, {"leave_open": "left\n", "close": "closed\n"}[what])
    async with await Client.connect(url(apps)) as client:
        description = await client.get_workflow_handle("left").describe()
        assert description.status == WorkflowExecutionStatus.RUNNING


async def test_a_second_process_is_told_what_to_do(apps: Apps):
    app = apps.start("serve")
    await wait_for(app, "serving")
    with pytest.raises(RuntimeError, match=f"in use by process {app.pid}") as caught:
        await Client.connect(url(apps))
    assert "uvicorn --workers 1" in str(caught.value)
    assert f"perdure server start-dev --db-filename {apps.database}" in str(caught.value)


async def test_a_process_that_is_on_its_way_out_is_waited_for(apps: Apps):
    app = apps.start("serve")
    await wait_for(app, "serving")
    connecting = asyncio.create_task(Client.connect(url(apps)))
    await asyncio.sleep(0.2)
    assert not connecting.done()
    app.kill()
    client = await connecting
    await client.close()


async def test_a_fork_after_connecting_is_explained_and_harms_nothing(apps: Apps):
    code, output = await asyncio.to_thread(apps.run, "fork")
    assert code == 0, output
    assert "child: this process was forked after its parent had connected" in output
    assert "parent goes on, child ended with 0" in output
    async with await Client.connect(url(apps)) as client:
        description = await client.get_workflow_handle("after-fork").describe()
        assert description.status == WorkflowExecutionStatus.RUNNING


async def test_a_child_that_outlives_its_parent_does_not_hold_the_database(apps: Apps):
    app = apps.start("orphan")
    await wait_for(app, "orphaned")
    assert await asyncio.to_thread(app.wait, PATIENCE_S) == 0
    client = await Client.connect(url(apps))
    await client.close()


def test_a_client_on_another_loop_or_thread_is_told(apps: Apps):
    async def connect() -> Client:
        client = await Client.connect(url(apps))
        with pytest.raises(RPCError, match="belongs to another event loop"):
            await asyncio.to_thread(lambda: asyncio.run(client.get_workflow_handle("w").describe()))
        with pytest.raises(RuntimeError, match="open on another event loop"):
            await asyncio.to_thread(lambda: asyncio.run(Client.connect(url(apps))))
        return client

    client = asyncio.run(connect())
    with pytest.raises(RPCError, match="belongs to another event loop"):
        asyncio.run(client.get_workflow_handle("w").describe())
    asyncio.run(reopen_and_close(url(apps)))


async def reopen_and_close(target: str) -> None:
    """Opening lets go of an engine whose loop has ended."""
    async with await Client.connect(target):
        pass


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("sqlite:/no/such/folder/x.db", "cannot create /no/such/folder/x.db.lock"),
        ("sqlite:{folder}/file/x.db", "cannot create {folder}/file/x.db.lock: Not a directory"),
    ],
)
async def test_a_place_that_cannot_be_written_is_named(target: str, words: str, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(RuntimeError) as caught:
        await Client.connect(target.format(folder=tmp_path))
    assert words.format(folder=tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("sqlite:", "names no database"),
        ("sqlite:///:memory:", "'memory:'"),
        ("sqlite::memory:", "'memory:'"),
        ("sqlite:x.db?mode=ro", "no options"),
        ("mysql://host/db", "Unknown scheme 'mysql'"),
        ("sqllite:x.db", "Unknown scheme 'sqllite'"),
        ("orders.db", "sqlite:orders.db"),
        ("postgresql://host/db", "not available"),
    ],
)
async def test_a_target_that_means_nothing_is_refused(target: str, words: str):
    with pytest.raises(ValueError) as caught:
        await Client.connect(target)
    assert words in str(caught.value)


async def test_a_run_goes_from_embedded_to_a_server_and_back(apps: Apps, tmp_path: Path):
    app = apps.start("begin")
    await wait_for(app, "signalled", "working slow 1")
    app.kill()
    app.wait()
    with Processes(tmp_path, "tests.e2e.embedded_app:worker") as processes:
        assert processes.database == apps.database
        processes.start_server()
        await processes.wait_for_server()
        async with await Client.connect(processes.address) as remote:
            await remote.start_workflow(
                Steps.run, args=[["quick"], 1], id="of-server", task_queue=QUEUE
            )
            handle = remote.get_workflow_handle("steps", result_type=list[str])
            await handle.signal(Steps.tell, "three")
            description = await handle.describe()
            assert description.status == WorkflowExecutionStatus.RUNNING
        with pytest.raises(RuntimeError, match="in use by process"):
            await Client.connect(url(apps))
        processes.start_worker()
        await until_ledger_has(apps, "quick attempt 1", times=2)
        await processes.kill("worker")
        await processes.kill("server")
    async with await Client.connect(url(apps)) as client, make_worker(client):
        async with asyncio.timeout(PATIENCE_S):
            result = await client.get_workflow_handle("steps", result_type=list[str]).result()
            other = client.get_workflow_handle("of-server", result_type=list[str])
            await other.signal(Steps.tell, "end")
            await other.result()
    assert audit(apps.database).findings == []
    assert result[-3:] == ["one", "two", "three"]
    assert result[1] == "slow done by attempt 2", "a server cannot know that the attempt is dead"


async def test_a_run_goes_from_a_server_to_embedded_after_a_graceful_stop(
    apps: Apps, tmp_path: Path
):
    with Processes(tmp_path, "tests.e2e.embedded_app:worker") as processes:
        processes.start_server()
        await processes.wait_for_server()
        async with await Client.connect(processes.address) as remote:
            await remote.start_workflow(Steps.run, args=[[], 1], id="moved", task_queue=QUEUE)
        assert await processes.stop("server") == 0
    async with await Client.connect(url(apps)) as client, make_worker(client):
        handle = client.get_workflow_handle("moved", result_type=list[str])
        await handle.signal(Steps.tell, "hello")
        assert await handle.result() == ["hello"]


async def test_closing_while_workflows_run_leaves_them_for_the_next_time(apps: Apps):
    client = await Client.connect(url(apps))
    async with make_worker(client):
        for number in range(20):
            await client.start_workflow(
                Steps.run, args=[["quick"], 1], id=f"w{number}", task_queue=QUEUE
            )
    await client.close()
    async with await Client.connect(url(apps)) as client, make_worker(client):
        for number in range(20):
            handle = client.get_workflow_handle(f"w{number}", result_type=list[str])
            await handle.signal(Steps.tell, "end")
            assert (await handle.result())[-1] == "end"


async def until_ledger_begins(apps: Apps) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not apps.ledger.exists():  # noqa: ASYNC110 -- the worker writes
            await asyncio.sleep(0.01)


async def test_a_client_closed_before_its_worker_ends_both_and_loses_nothing(
    apps: Apps, caplog: pytest.LogCaptureFixture
):
    client = await Client.connect(url(apps))
    working = asyncio.create_task(make_worker(client).run())
    handle = await client.start_workflow(Steps.run, args=[["slow"], 0], id="w", task_queue=QUEUE)
    result = asyncio.ensure_future(handle.result())
    await until_ledger_begins(apps)
    await client.close()
    async with asyncio.timeout(PATIENCE_S):
        await working
        for call in (result, handle.describe()):
            with pytest.raises(RPCError, match=r"perdure.db is closed: connect again"):
                await call
    assert "end workers before their client" in caplog.text
    async with await Client.connect(url(apps)) as client, make_worker(client):
        again = client.get_workflow_handle("w", result_type=list[str])
        assert await again.result() == ["slow done by attempt 2"]


async def test_what_a_worker_leaves_behind_is_tried_again_by_the_next_one(apps: Apps):
    async with await Client.connect("memory:") as client:
        async with make_worker(client):
            handle = await client.start_workflow(
                Steps.run, args=[["slow"], 0], id="w", task_queue=QUEUE
            )
            await until_ledger_begins(apps)
        async with make_worker(client), asyncio.timeout(PATIENCE_S):
            assert await handle.result() == ["slow done by attempt 2"]


async def test_a_worker_whose_client_was_not_awaited_says_so():
    connecting = Client.connect("memory:")
    with pytest.raises(TypeError, match=r"await Client\.connect"):
        make_worker(connecting)  # type: ignore[arg-type]
    connecting.close()


async def test_a_workflow_id_that_is_taken_is_named():
    async with await Client.connect("memory:") as client:
        start = partial(client.start_workflow, "T", id="order-7", task_queue=QUEUE)
        run_id = (await start()).result_run_id
        with pytest.raises(WorkflowAlreadyStartedError, match=f"'order-7' .run {run_id}"):
            await start()


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@workflow.defn
class Connects:
    @workflow.run
    async def run(self, target: str) -> None:
        await Client.connect(target)


@pytest.mark.parametrize("target", ["memory:", "sqlite:{folder}/x.db", "localhost:1"])
async def test_a_client_in_a_workflow_is_refused(target: str, tmp_path: Path):
    async with (
        await Client.connect("memory:") as client,
        Worker(
            client,
            task_queue=QUEUE,
            workflows=[Connects],
            workflow_failure_exception_types=[RuntimeError],
        ),
        asyncio.timeout(PATIENCE_S),
    ):
        with pytest.raises(WorkflowFailureError) as caught:
            await client.execute_workflow(
                Connects.run, target.format(folder=tmp_path), id="w", task_queue=QUEUE
            )
        assert "do that in an activity" in str(caught.value.cause)
    assert files_in(tmp_path) == []


async def test_a_workflow_that_no_worker_knows_is_in_the_log(
    caplog: pytest.LogCaptureFixture, apps: Apps
):
    async with await Client.connect("memory:") as client, make_worker(client):
        await client.start_workflow("Stepz", id="typo", task_queue=QUEUE)
        async with asyncio.timeout(PATIENCE_S):
            while "Stepz is not registered" not in caplog.text:  # noqa: ASYNC110 -- the worker logs
                await asyncio.sleep(0.01)
    assert "typo" in caplog.text
    assert "Steps" in caplog.text, "what is registered"
