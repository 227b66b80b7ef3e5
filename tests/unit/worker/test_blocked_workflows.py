"""A workflow that blocks in C costs one slot: other runs, polls and heartbeats go on, and its task says where it is."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.client import Client, WorkflowHandle
from perdure.common import RetryPolicy
from perdure.core.units import MS_NS
from perdure.wire.api import enums
from perdure.worker import Worker
from tests.unit.worker import gates
from tests.unit.worker.gates import LIMIT_S, Gate
from tests.unit.worker.test_task_answers import FAILED, QUERIED, Server, task, working
from tests.unit.worker_host.programs import in_process

pytestmark = pytest.mark.interrupts

SHORT = timedelta(seconds=LIMIT_S)
BUDGET_NS = 100 * MS_NS
RETRIED = timedelta(seconds=3)
"""The time-out of tasks whose next attempt a test waits for."""
TASK_TIMED_OUT = enums.EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT
TASK_FAILED = enums.EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED


class Outside:
    """What blocks the workflows of a test, and what they did."""

    def __init__(self) -> None:
        self.block: Callable[[], object] = lambda: None
        self.entered: list[str] = []
        """The workflows whose code has begun. Not an event: the watchdog may interrupt a thread that has its lock."""
        self.loops: list[Any] = []
        self.beats = asyncio.Event()
        self.ends: list[str] = []


outside: Outside


@workflow.defn
class Blocks:
    @workflow.run
    async def run(self) -> str:
        outside.entered.append(workflow.info().workflow_id)
        try:
            with workflow.unsafe.sandbox_unrestricted():
                outside.block()
            return f"{workflow.info().attempt}"
        finally:
            outside.ends.append(workflow.info().workflow_id)


@workflow.defn
class BlocksWithText:
    @workflow.run
    async def run(self, _text: str) -> None:
        with workflow.unsafe.sandbox_unrestricted():
            outside.block()

    @workflow.query
    def state(self) -> str:
        return "asked"


@activity.defn
async def beat() -> str:
    for number in range(3):
        activity.heartbeat(number)
        await asyncio.sleep(0)
    outside.beats.set()
    return "beaten"


@activity.defn
async def fails_once() -> str:
    if activity.info().attempt == 1:
        raise ValueError("once")
    return "local"


@workflow.defn
class Busy:
    """Uses what a worker has: an activity, a local one, timers, conditions, signals, queries."""

    def __init__(self) -> None:
        self._told = ""

    @workflow.run
    async def run(self) -> list[Any]:
        outside.loops.append(threading.current_thread().name)
        numbers = [workflow.random().random(), str(workflow.uuid4()), workflow.time()]
        await workflow.sleep(0.001)
        done = await asyncio.gather(
            workflow.execute_activity(beat, start_to_close_timeout=SHORT, heartbeat_timeout=SHORT),
            workflow.execute_local_activity(
                fails_once,
                start_to_close_timeout=SHORT,
                retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=1)),
            ),
        )
        await workflow.wait_condition(lambda: self._told != "")
        return [*done, self._told, *numbers]

    @workflow.signal
    def tell(self, text: str) -> None:
        self._told = text

    @workflow.query
    def told(self) -> str:
        return self._told


@pytest.fixture(autouse=True)
async def gate() -> AsyncIterator[Gate]:
    """What the blocked code waits for."""
    global outside  # noqa: PLW0603 - workflows are plain classes
    outside = Outside()
    gate = Gate()
    outside.block = gate.block
    yield gate
    gate.open()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with await Client.connect("memory:") as client:
        yield client


def worker_of(client: Client, *, budget_ns: int = 0, **settings: Any) -> Worker:
    """With a budget, what blocks is given up after a moment; without one, never."""
    settings.setdefault("workflow_execution", "threads")
    worker = Worker(
        client,
        task_queue="q",
        workflows=[Blocks, Busy],
        activities=[beat, fails_once],
        **settings,
    )
    set_budget(worker, budget_ns)
    return worker


def set_budget(worker: Worker, budget_ns: int) -> None:
    operation: Any = worker._operation
    operation._options = replace(operation._options, deadlock_budget_ns=budget_ns)


async def blocked(
    client: Client, workflow_id: str = "blocked", task_timeout: timedelta = SHORT
) -> WorkflowHandle[Any, str]:
    """A workflow whose code is blocked by now.

    Only the first failure of a task is reported: further attempts end by the time-out of the task.
    """
    handle = await client.start_workflow(
        Blocks.run, id=workflow_id, task_queue="q", task_timeout=task_timeout
    )
    while workflow_id not in outside.entered:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return handle


async def play(client: Client, number: int = 0) -> list[Any]:
    handle = await client.start_workflow(Busy.run, id=f"busy-{number}", task_queue="q")
    await outside.beats.wait()
    assert await handle.query(Busy.told) == ""
    await handle.signal(Busy.tell, "news")
    return await handle.result()


async def failed_task(handle: WorkflowHandle[Any, Any]) -> str:
    """What the failed task of a run says, once there is one. Empty if it came after the time-out of the task."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            async for event in handle.fetch_history_events():
                if event.event_type in {TASK_FAILED, TASK_TIMED_OUT}:
                    return event.workflow_task_failed_event_attributes.failure.message
            await asyncio.sleep(0.02)


async def test_others_go_on_while_one_is_blocked(client: Client, gate: Gate) -> None:
    async with asyncio.timeout(LIMIT_S), worker_of(client):
        handle = await blocked(client)
        assert (await play(client))[:3] == ["beaten", "local", "news"]
        gate.open()
        assert await handle.result() == "1"
    assert all(name.startswith("perdure-workflows-") for name in outside.loops)


async def test_a_replay_in_threads_is_the_same(client: Client) -> None:
    """Without a cache each task replays the run, and any difference would fail it."""
    async with asyncio.timeout(LIMIT_S), worker_of(client, max_cached_workflows=0):
        assert (await play(client))[:3] == ["beaten", "local", "news"]
    assert len(outside.loops) > 2


async def test_the_default_is_the_event_loop(client: Client) -> None:
    async with asyncio.timeout(LIMIT_S), worker_of(client, workflow_execution=None):
        await play(client)
    assert set(outside.loops) == {threading.current_thread().name}


async def test_an_unknown_mode_is_refused(client: Client) -> None:
    with pytest.raises(ValueError, match="must be 'event_loop' or 'threads', not 'process'"):
        worker_of(client, workflow_execution="process")


def in_a_lock(_: Path) -> tuple[Callable[[], object], Callable[[], None]]:
    lock = threading.Lock()
    lock.acquire()
    return lambda: lock.acquire(timeout=LIMIT_S), lock.release


def in_a_sleep(_: Path) -> tuple[Callable[[], object], Callable[[], None]]:
    return lambda: time.sleep(2), lambda: None


def in_a_socket(_: Path) -> tuple[Callable[[], object], Callable[[], None]]:
    ours, theirs = socket.socketpair()

    def release() -> None:
        theirs.sendall(b"x" * 100)
        theirs.close()

    def read() -> None:
        with ours:
            ours.recv(1)

    return read, release


def in_a_database(folder: Path) -> tuple[Callable[[], object], Callable[[], None]]:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            folder / "busy.db", timeout=LIMIT_S, isolation_level=None, check_same_thread=False
        )

    holder = connect()
    holder.execute("BEGIN EXCLUSIVE")

    def use() -> None:
        with closing(connect()) as connection:
            connection.execute("BEGIN EXCLUSIVE")

    return use, holder.close


@pytest.mark.parametrize("kind", [in_a_lock, in_a_sleep, in_a_socket, in_a_database])
async def test_what_blocks_is_given_up_named_and_tried_again_when_it_is_over(
    client: Client,
    tmp_path: Path,
    kind: Callable[[Path], tuple[Callable[[], object], Callable[[], None]]],
) -> None:
    outside.block, release = kind(tmp_path)
    try:
        async with asyncio.timeout(LIMIT_S), worker_of(client, budget_ns=BUDGET_NS):
            handle = await blocked(client)
            text = await failed_task(handle)
            assert text.startswith("[TMPRL1101] Potential deadlock: Workflow Blocks (id blocked, ")
            assert f" at {__file__}:" in text
    finally:
        outside.block = lambda: None
        release()


async def test_a_further_task_fails_at_once_until_the_thread_has_come_back(
    client: Client, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(LIMIT_S), worker_of(client, budget_ns=BUDGET_NS):
        handle = await blocked(client, task_timeout=RETRIED)
        await failed_task(handle)
        assert (await play(client))[:3] == ["beaten", "local", "news"]
        threads = [each for each in threading.enumerate() if "perdure-workflows" in each.name]
        assert len(threads) <= 3, "none for further attempts"
        outside.ends.clear()
        outside.block = lambda: None
        gate.open()
        assert await handle.result() == "1"
        while len(outside.ends) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    # That of the attempt that was dropped, and the real one. On a slow machine, another one may have been stopped.
    assert set(outside.ends) == {"blocked"}
    assert [each for each in caplog.messages if "came back after" in each]


async def test_tasks_and_queries_of_a_blocked_run_are_answered_at_once() -> None:
    tasks = [
        task("BlocksWithText"),
        task("BlocksWithText", query="state"),
        task("BlocksWithText"),
        task("BlocksWithText", run_id="another"),
    ]
    server = Server(tasks, {})
    options: dict[str, Any] = {
        "workflow_execution": "threads",
        "max_concurrent_workflow_tasks": 3,
    }
    async with (
        asyncio.timeout(LIMIT_S),
        working(server, workflows=[BlocksWithText], **options) as worker,
    ):
        set_budget(worker, BUDGET_NS)  # it has not begun yet
        await server.all_taken.wait()
    assert server.names() == [FAILED, QUERIED, FAILED, FAILED]
    stopped, query, refused, other = (request for _, request in server.answers())
    assert " was stopped: it has been blocked for " in stopped.failure.message
    assert query.completed_type == enums.QUERY_RESULT_TYPE_FAILED
    for text in (query.error_message, refused.failure.message):
        assert text.startswith("[TMPRL1101] Potential deadlock: code of run run has been blocked")
        assert f" at {gates.__file__}:" in text
        assert text.endswith("; until it comes back, the run cannot go on")
    assert " was stopped: it has been blocked for " in other.failure.message, "another run"


async def test_the_report_comes_before_the_end(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(LIMIT_S), worker_of(client, budget_ns=BUDGET_NS):
        await failed_task(await blocked(client))
    said = [each for each in caplog.messages if each.startswith("Workflow Blocks (id blocked, ")]
    assert "has not yielded for" in said[0]
    assert f"it is at {gates.__file__}:" in said[0]
    assert "is stopped: it has been blocked for" in said[1]
    assert "cannot be interrupted" in said[2]
    assert len(said) == 3, "each once"


@pytest.mark.parametrize("slots", [1, 2, 3])
async def test_each_blocked_workflow_takes_a_slot_and_no_more(
    client: Client, gate: Gate, slots: int
) -> None:
    worker = worker_of(client, budget_ns=BUDGET_NS, max_concurrent_workflow_tasks=slots)
    async with asyncio.timeout(LIMIT_S), worker:
        handles: list[WorkflowHandle[Any, Any]] = []
        for number in range(slots):
            handles.append(await blocked(client, f"blocked-{number}", RETRIED))
            await failed_task(handles[-1])
        waiting = await client.start_workflow(Blocks.run, id="waiting", task_queue="q")
        await asyncio.sleep(0.1)
        assert "waiting" not in outside.entered, "there is no slot left"
        outside.block = lambda: None
        gate.open()
        for handle in (waiting, *handles):
            assert await handle.result() == "1"


EXITS = """
import asyncio, threading
from tests.unit.worker import test_blocked_workflows as tests
from perdure.client import Client

async def main():
    tests.outside = tests.Outside()
    tests.outside.block = threading.Event().wait
    async with await Client.connect("memory:") as client:
        async with tests.worker_of(client, budget_ns=tests.BUDGET_NS):
            await tests.failed_task(await tests.blocked(client))
    print("ended", flush=True)

asyncio.run(main())
"""


def test_a_process_with_a_blocked_workflow_can_end() -> None:
    assert in_process(EXITS) == ("ended\n", 0)
