"""Workflow tasks that are worked off in the step that starts them: the same histories, fewer transactions."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from perdure.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from perdure.converter import DataConverter
from perdure.core.ids import EntityKind, QueueKind
from perdure.embedded.engine import EmbeddedConnection
from perdure.server.node.node import Node
from perdure.server.shards.committer import Committer
from perdure.server.shards.step import Steps
from perdure.storage.port import CommitBatch, StoreFull
from perdure.storage.sqlite import SqliteStore
from perdure.wire.api import enums
from perdure.worker import Worker
from perdure.worker.polling.rpc import WorkerRpc
from tests.reference.normalise import Normaliser
from tests.unit.embedded import inline_workflows as flows

QUEUE = "inline"
_MEASURED = re.compile(
    r'"first_workflow_task_backoff": "[^"]*", |'
    r'\\"(complete|original_schedule)_time\\":\{[^}]*\},?'
)
"""Times that are not of their own type: of a delayed run, and in the data of a local activity's marker."""


@asynccontextmanager
async def working(
    *, inline: bool = True, url: str = "memory:", **options: Any
) -> AsyncGenerator[Client]:
    """A client whose worker works inline, or takes all tasks from polls."""
    async with await Client.connect(url) as client:
        if not inline:
            connection_of(client).inline_workers = None
        async with Worker(
            client,
            task_queue=QUEUE,
            workflows=flows.WORKFLOWS,
            activities=[flows.double, flows.refuse, flows.held],
            **options,
        ):
            await polls_are_parked(client)
            yield client


def connection_of(client: Client) -> EmbeddedConnection:
    connection = client.connection
    assert isinstance(connection, EmbeddedConnection)
    return connection


def node_of(client: Client) -> Node:
    return connection_of(client)._node


async def polls_are_parked(client: Client) -> None:
    """Wait until the worker's first polls have come, and the rows of its queue are read."""
    matching = node_of(client).matching
    queues = matching._queues
    await until(
        lambda: any(
            queue.is_drained
            for key, queue in queues.all()
            if (key.name, key.kind) == (QUEUE, QueueKind.WORKFLOW)
        )
    )


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 -- nobody tells
            await asyncio.sleep(0.001)


def committer_of(client: Client) -> Committer:
    return node_of(client).engine.committer


async def history_of(client: Client, workflow_id: str) -> list[Any]:
    """The whole chain of runs, without what differs in every run."""
    normaliser = Normaliser()
    found: list[Any] = []
    async for execution in client.list_workflows(f"WorkflowId = '{workflow_id}'"):
        handle = client.get_workflow_handle(workflow_id, run_id=execution.run_id)
        events = [normaliser.message(event) async for event in handle.fetch_history_events()]
        found.append(json.loads(_MEASURED.sub("", json.dumps(events))))
    return found


async def drive(client: Client, workflow: Any, number: int) -> Any:
    """Run one workflow; it waits for nothing between its steps but itself."""
    handle = await client.start_workflow(workflow, number, id="it", task_queue=QUEUE)
    if workflow is flows.Waiting.run:
        assert await handle.query(flows.Waiting.seen) == []
        await handle.signal(flows.Waiting.add, 1)
        assert await handle.query(flows.Waiting.seen) == [1]
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update(flows.Waiting.put, -1)
        assert await handle.execute_update(flows.Waiting.put, 2) == 2
        assert await handle.query(flows.Waiting.seen) == [1, 4]
        await handle.signal(flows.Waiting.add, 3)
    try:
        return await handle.result()
    except WorkflowFailureError as error:
        return repr(error.cause)


CASES = {
    "sequence": (flows.Sequence.run, 1, 8),
    "one in parallel": (flows.Parallel.run, 1, 0),
    "local": (flows.Local.run, 1, 8),
    "sleeper": (flows.Sleeper.run, 3, 3),
    "failing": (flows.Failing.run, 0, "ActivityError('Activity task failed')"),
    "parent": (flows.Parent.run, 1, 9),
    "again": (flows.Again.run, 3, 7),
    "patched": (flows.Patched.run, 1, 2),
    "waiting": (flows.Waiting.run, 3, [1, 4, 3]),
}


@pytest.mark.parametrize("name", CASES)
async def test_histories_are_those_of_tasks_from_polls(name: str):
    workflow, number, result = CASES[name]
    histories: list[Any] = []
    for inline in (True, False):
        async with working(inline=inline) as client:
            assert await drive(client, workflow, number) == result
            histories.append(await history_of(client, "it"))
    assert histories[0] == histories[1]


@pytest.mark.parametrize(("inline", "groups"), [(True, 3), (False, 4)])
async def test_a_start_and_its_first_task_are_one_transaction(*, inline: bool, groups: int):
    async with working(inline=inline) as client:
        await client.execute_workflow(flows.Parallel.run, 1, id="first", task_queue=QUEUE)
        committer = committer_of(client)
        before = committer.groups
        await client.execute_workflow(flows.Parallel.run, 1, id="second", task_queue=QUEUE)
        assert committer.groups - before == groups


async def test_a_hundred_at_once_are_all_worked_off_inline():
    async with working() as client:
        committer = committer_of(client)
        before = committer.groups
        await asyncio.gather(
            *(
                client.execute_workflow(flows.Patched.run, 1, id=f"w-{n}", task_queue=QUEUE)
                for n in range(100)
            )
        )
        assert committer.groups - before == 100


async def test_many_activities_of_one_task():
    async with working() as client:
        result = await client.execute_workflow(flows.Parallel.run, 200, id="it", task_queue=QUEUE)
        assert result == 200 * 199


async def test_an_endless_chain_does_not_keep_the_loop():
    async with working() as client:
        handle = await client.start_workflow(flows.Again.run, 10_000, id="it", task_queue=QUEUE)
        await handle.terminate()
        with pytest.raises(WorkflowFailureError):
            await handle.result()


async def test_workflow_code_does_not_see_the_variables_of_whoever_started_it():
    async with working() as client:
        flows.tenant.set("acme")
        for number in range(2):
            result = await client.execute_workflow(
                flows.Tenant.run, id=f"it-{number}", task_queue=QUEUE
            )
            assert result == "none+"
        assert flows.tenant.get() == "acme"


async def test_code_that_raises_fails_its_task_and_goes_on_when_it_is_mended():
    flows.Broken.is_broken, flows.Broken.runs = True, 0
    async with working() as client:
        handle = await client.start_workflow(
            flows.Breaks.run, id="it", task_queue=QUEUE, task_timeout=flows.timedelta(seconds=1)
        )
        await until(lambda: flows.Broken.runs > 1)
        flows.Broken.is_broken = False
        assert await handle.result() == "mended"
        names = [one["event_type"] for one in (await history_of(client, "it"))[0]]
    assert names.count("EVENT_TYPE_WORKFLOW_TASK_FAILED") == 1


async def test_a_worker_with_a_codec_takes_tasks_from_polls():
    class Plain:
        async def encode(self, payloads: Any) -> Any:
            return list(payloads)

        async def decode(self, payloads: Any) -> Any:
            return list(payloads)

    converter = DataConverter(payload_codec=Plain())  # pyright: ignore[reportArgumentType]
    async with (
        await Client.connect("memory:", data_converter=converter) as client,
        Worker(client, task_queue=QUEUE, workflows=flows.WORKFLOWS),
    ):
        result = await client.execute_workflow(flows.Patched.run, 1, id="it", task_queue=QUEUE)
        assert result == 2


@pytest.mark.parametrize("slots", [1, 2])
async def test_few_slots_are_enough(slots: int):
    async with working(max_concurrent_workflow_tasks=slots) as client:
        results = await asyncio.gather(
            *(
                client.execute_workflow(flows.Local.run, n, id=f"w-{n}", task_queue=QUEUE)
                for n in range(10)
            )
        )
        assert results == [8 * n for n in range(10)]


async def test_without_a_cache_each_task_replays():
    async with working(max_cached_workflows=0) as client:
        assert await drive(client, flows.Sequence.run, 1) == 8


class Gate:
    """Holds back commits, or refuses them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.refusals = 0
        self.waiting = 0
        commit = SqliteStore.commit

        async def gated(store: SqliteStore, batch: CommitBatch) -> None:
            self.waiting += 1
            await self.is_open.wait()
            self.waiting -= 1
            if self.refusals:
                self.refusals -= 1
                raise StoreFull("no space")
            await commit(store, batch)

        monkeypatch.setattr(SqliteStore, "commit", gated)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


async def test_an_activity_begins_after_the_commit_that_schedules_it(gate: Gate, tmp_path: Path):
    began: list[int] = []

    @flows.activity.defn(name="double")
    async def record(number: int) -> int:
        began.append(number)
        return number

    async with (
        await Client.connect(f"sqlite:{tmp_path}/x.db") as client,
        Worker(client, task_queue=QUEUE, workflows=flows.WORKFLOWS, activities=[record]),
    ):
        await polls_are_parked(client)
        gate.is_open.clear()
        running = asyncio.create_task(
            client.execute_workflow(flows.Parallel.run, 1, id="it", task_queue=QUEUE)
        )
        await until(lambda: gate.waiting > 0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert not began
        assert not running.done()
        gate.is_open.set()
        assert await running == 0
        assert began == [0]


@pytest.mark.parametrize("workflow", [flows.Parallel.run, flows.Local.run, flows.Patched.run])
async def test_work_that_could_not_be_written_is_done_again(
    gate: Gate, tmp_path: Path, workflow: Any
):
    async with working(url=f"sqlite:{tmp_path}/x.db") as client:
        gate.refusals = 1
        result = await client.execute_workflow(workflow, 1, id="it", task_queue=QUEUE)
        assert result == {flows.Parallel.run: 0, flows.Local.run: 8, flows.Patched.run: 2}[workflow]
        assert not gate.refusals


async def test_a_task_that_waits_stays_with_the_worker_that_began_it():
    """Two workers on one queue: neither may keep a run that the other one has."""
    async with await Client.connect("memory:") as client:
        workers = [
            Worker(
                client,
                task_queue=QUEUE,
                workflows=flows.WORKFLOWS,
                activities=[flows.double],
                identity=f"worker {number}",
            )
            for number in range(2)
        ]
        async with workers[0], workers[1]:
            await polls_are_parked(client)
            handles = [
                await client.start_workflow(flows.Slow.run, id=f"w-{n}", task_queue=QUEUE)
                for n in range(10)
            ]
            async with asyncio.timeout(60):
                for handle in handles:
                    assert await handle.query(flows.Slow.is_done) in {True, False}
                assert await asyncio.gather(*(handle.result() for handle in handles)) == [2] * 10


async def test_a_run_that_ends_before_its_begun_task_is_delivered_is_free_again():
    async with working(max_concurrent_workflow_tasks=2, max_cached_workflows=2) as client:
        async with asyncio.timeout(60):
            for number in range(10):
                handle = await client.start_workflow(
                    flows.Slow.run, id=f"w-{number}", task_queue=QUEUE
                )
                await handle.terminate()
            result = await client.execute_workflow(flows.Slow.run, id="last", task_queue=QUEUE)
            assert result == 2


def watch_what_is_written(client: Client) -> None:
    """Let the next `Watching` return the id of the latest durable event when its code goes on."""
    cache = node_of(client).engine.cache
    flows.Watching.looks.append(
        lambda: max(entry.durable_event_id for entry in cache.of_kind(EntityKind.RUN))
    )


async def completed_event_id(handle: WorkflowHandle[Any, Any]) -> int:
    async for event in handle.fetch_history_events():
        if event.event_type == enums.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            return event.event_id
    raise AssertionError("no activity has completed")


async def test_what_an_activity_returned_is_written_before_workflow_code_sees_it():
    """If the code ends the process, the activity does not run again."""
    async with working() as client:
        watch_what_is_written(client)
        handle = await client.start_workflow(flows.Watching.run, id="it", task_queue=QUEUE)
        assert await handle.result() >= await completed_event_id(handle)


@pytest.mark.parametrize("by_id", [False, True])
async def test_what_an_activity_is_completed_with_from_elsewhere_is_written_first(*, by_id: bool):
    flows.Held.token = b""
    async with working() as client:
        watch_what_is_written(client)
        handle = await client.start_workflow(flows.WatchingHeld.run, id="it", task_queue=QUEUE)
        await until(lambda: bool(flows.Held.token))
        activity = (
            client.get_async_activity_handle(workflow_id="it", run_id=None, activity_id="held")
            if by_id
            else client.get_async_activity_handle(task_token=flows.Held.token)
        )
        await activity.complete(1)
        assert await handle.result() >= await completed_event_id(handle)


async def test_workflow_code_has_its_room_on_the_stack_whoever_starts_it():
    async with working() as client:
        committer = committer_of(client)

        async def start_from(depth: int) -> Any:
            if depth:
                return await start_from(depth - 1)
            before = committer.groups
            await client.execute_workflow(flows.Patched.run, 1, id="it", task_queue=QUEUE)
            return committer.groups - before

        assert await start_from(0) == 1
        assert await start_from(150) == 2, "the task comes through a poll"


async def test_activities_have_the_context_variables_of_their_worker():
    async with await Client.connect("memory:") as client:
        flows.tenant.set("at the worker")
        async with Worker(
            client, task_queue=QUEUE, workflows=[flows.AskTenant], activities=[flows.tenant_now]
        ):
            await polls_are_parked(client)
            flows.tenant.set("at the caller")
            found = await client.execute_workflow(flows.AskTenant.run, id="it", task_queue=QUEUE)
            assert found == ["at the worker"] * 3


async def test_an_interruption_in_a_step_leaves_nothing_that_is_not_written(
    monkeypatch: pytest.MonkeyPatch,
):
    """As when Ctrl-C arrives while a signal is applied and its workflow task started."""
    async with working() as client:
        handle = await client.start_workflow(flows.Waiting.run, 2, id="it", task_queue=QUEUE)
        assert await handle.query(flows.Waiting.seen) == []

        def interrupted(*_: object) -> bool:
            raise Interruption

        with monkeypatch.context() as patch, pytest.raises(Interruption):
            patch.setattr(Steps, "_start_inline", interrupted)
            await handle.signal(flows.Waiting.add, 1)
        await handle.signal(flows.Waiting.add, 2)
        await handle.signal(flows.Waiting.add, 3)
        assert await handle.result() == [2, 3]
        events = [event.event_id async for event in handle.fetch_history_events()]
        assert events == list(range(1, len(events) + 1))


class Interruption(BaseException):
    """Passes through the engine as KeyboardInterrupt does, and through asyncio as well."""


async def test_an_error_after_the_code_has_run_fails_the_task_and_frees_the_run(
    monkeypatch: pytest.MonkeyPatch,
):
    errors = [ValueError("no room in the log")]

    def check(*_: object) -> None:
        if errors:
            raise errors.pop()

    monkeypatch.setattr(WorkerRpc, "check_sizes", check)
    async with working() as client:
        assert await client.execute_workflow(flows.Patched.run, 1, id="it", task_queue=QUEUE) == 2
        names = [one["event_type"] for one in (await history_of(client, "it"))[0]]
    assert names.count("EVENT_TYPE_WORKFLOW_TASK_FAILED") == 1
