"""Workflow tasks that go wrong, and histories of several pages: what the server is told, and what is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from perdure import workflow
from perdure.client import Client, WorkflowHistory, WorkflowQueryFailedError
from perdure.service import ConnectConfig, Connection, ServiceClient
from perdure.service.client import connect
from perdure.wire import errors
from perdure.wire.api import enums
from perdure.wire.seam import WORKFLOW_SERVICE
from perdure.worker import Replayer, Worker
from perdure.workflow import NondeterminismError
from tests.unit.worker.sealing import Recording, Wire

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from perdure.wire.seam import Method

SIGNALS = 300
"""More events than a page of history has."""


@workflow.defn(name="Changing")
class Before:
    def __init__(self) -> None:
        self.heard = 0

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.heard > 0)
        await workflow.sleep(0.001)
        await workflow.wait_condition(lambda: self.heard > 1)
        return self.heard

    @workflow.signal
    def hear(self) -> None:
        self.heard += 1

    @workflow.query
    def count(self) -> int:
        return self.heard


@workflow.defn(name="Changing")
class After:
    def __init__(self) -> None:
        self.heard = 0

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.heard > 1)
        return self.heard

    @workflow.signal
    def hear(self) -> None:
        self.heard += 1

    @workflow.query
    def count(self) -> int:
        return self.heard


@workflow.defn
class Large:
    @workflow.run
    async def run(self) -> str:
        return "x" * 5000


@workflow.defn
class Chatty:
    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def all(self) -> str:
        return "x" * 5000


class Meddling(Recording):
    """Refuses some completions: with an error instead of the call, or after it."""

    def __init__(self, inner: Connection) -> None:
        super().__init__(inner)
        self.largest_bytes: int | None = None
        self.lose_after: list[errors.RpcError] = []

    async def call(
        self,
        method: Method,
        request: Message,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout_ns: int | None = None,
    ) -> Message:
        largest = self.largest_bytes
        if largest is not None and request.ByteSize() > largest:
            raise errors.ResourceExhausted("grpc: received message larger than max (2 vs. 1)")
        answer = await super().call(method, request, metadata=metadata, timeout_ns=timeout_ns)
        if method.name == "RespondWorkflowTaskCompleted" and self.lose_after:
            raise self.lose_after.pop()
        return answer


class World:
    def __init__(self, connection: Meddling) -> None:
        self.connection = connection
        self.client = Client(ServiceClient(ConnectConfig("memory:", identity="me"), connection))

    def requests(self, name: str) -> list[Any]:
        kind: Any = WORKFLOW_SERVICE[name].request_type
        found = self.connection.requests
        return [kind.FromString(data) for called, data in found if called == name]

    async def failed(self) -> Any:
        """The first report of a failed workflow task."""
        async with asyncio.timeout(60):
            await self.connection.until("RespondWorkflowTaskFailed", 1)
        return self.requests("RespondWorkflowTaskFailed")[0]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(Meddling(await connect("memory:")))
    async with made.client:
        yield made


async def changed(world: World) -> Any:
    """A workflow whose history the new class does not agree with."""
    handle = await world.client.start_workflow(Before.run, id="w", task_queue="q")
    async with Worker(world.client, task_queue="q", workflows=[Before]):
        await handle.signal(Before.hear)
        while True:
            events = (await handle.fetch_history()).events
            if events[-1].HasField("workflow_task_completed_event_attributes") and any(
                event.HasField("timer_fired_event_attributes") for event in events
            ):
                return handle
            await asyncio.sleep(0)


async def test_code_that_disagrees_with_history_is_reported(world: World) -> None:
    handle = await changed(world)
    async with Worker(world.client, task_queue="q", workflows=[After]):
        with pytest.raises(WorkflowQueryFailedError, match="TMPRL1100"):
            await handle.query(Before.count)
        await handle.signal(Before.hear)
        failed = await world.failed()
    assert failed.cause == enums.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR
    assert failed.failure.application_failure_info.type == "NondeterminismError"
    assert "TMPRL1100" in failed.failure.message
    async with Worker(world.client, task_queue="q", workflows=[Before]):
        assert await handle.result() == 2


async def test_a_class_that_is_not_registered_fails_the_task(world: World) -> None:
    await world.client.start_workflow("Unknown", id="w", task_queue="q")
    async with Worker(world.client, task_queue="q", workflows=[Before]):
        failed = await world.failed()
    assert failed.cause == enums.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE
    assert "Unknown" in failed.failure.message


async def test_commands_that_are_no_message_fail_the_task(world: World) -> None:
    world.connection.largest_bytes = 4000
    await world.client.start_workflow(Large.run, id="w", task_queue="q")
    async with Worker(world.client, task_queue="q", workflows=[Large]):
        failed = await world.failed()
    assert failed.cause == enums.WORKFLOW_TASK_FAILED_CAUSE_GRPC_MESSAGE_TOO_LARGE
    assert failed.failure.application_failure_info.type == "GrpcMessageTooLarge"
    assert failed.failure.application_failure_info.non_retryable
    assert "keep large values elsewhere" in failed.failure.message


async def test_an_answer_to_a_query_that_is_no_message_is_told_so(world: World) -> None:
    handle = await world.client.start_workflow(Chatty.run, id="w", task_queue="q")
    async with Worker(world.client, task_queue="q", workflows=[Chatty]):
        await world.connection.until("RespondWorkflowTaskCompleted", 1)
        world.connection.largest_bytes = 4000
        with pytest.raises(WorkflowQueryFailedError, match="more than the server takes"):
            await handle.query(Chatty.all)


@pytest.mark.parametrize("error", [errors.InvalidArgument("refused"), errors.not_found("gone")])
async def test_a_run_whose_completion_was_refused_is_replayed(
    world: World, error: errors.RpcError
) -> None:
    world.connection.lose_after = [error]
    handle = await world.client.start_workflow(Before.run, id="w", task_queue="q")
    async with Worker(world.client, task_queue="q", workflows=[Before]):
        await world.connection.until("RespondWorkflowTaskCompleted", 1)
        for _ in range(2):
            await handle.signal(Before.hear)
        async with asyncio.timeout(60):
            assert await handle.result() == 2
    assert world.requests("GetWorkflowExecutionHistory")


async def test_long_histories_are_read_page_by_page_and_decoded() -> None:
    wire = await Wire.open()
    async with wire.client as client:
        handle = await client.start_workflow("Many", args=["a text"], id="w", task_queue="q")
        for number in range(SIGNALS):
            await handle.signal("hear", f"text {number}")
        async with Worker(client, task_queue="q", workflows=[Many], max_cached_workflows=0):
            expected = ["a text", *(f"text {number}" for number in range(SIGNALS))]
            assert await handle.query("all") == expected
            await handle.signal("hear", "end")
            assert await handle.result() == [*expected, "end"]
        history = await handle.fetch_history()
        await Replayer(workflows=[Many], data_converter=client.data_converter).replay_workflow(
            history
        )
    assert wire.count("GetWorkflowExecutionHistory") > 2


@workflow.defn
class Many:
    def __init__(self) -> None:
        self.texts: list[str] = []

    @workflow.run
    async def run(self, text: str) -> list[str]:
        self.texts.insert(0, text)
        await workflow.wait_condition(lambda: "end" in self.texts)
        return self.texts

    @workflow.signal
    def hear(self, text: str) -> None:
        self.texts.append(text)

    @workflow.query
    def all(self) -> list[str]:
        return self.texts


async def test_a_cache_of_two_replays_what_it_had_to_forget(world: World) -> None:
    async with Worker(world.client, task_queue="q", workflows=[Many], max_cached_workflows=2):
        handles = [
            await world.client.start_workflow("Many", args=["a"], id=f"w{n}", task_queue="q")
            for n in range(3)
        ]
        for handle in handles:
            assert await handle.query("all") == ["a"]
        before = len(world.requests("GetWorkflowExecutionHistory"))
        assert await handles[2].query("all") == ["a"]
        assert len(world.requests("GetWorkflowExecutionHistory")) == before
        for handle in handles:
            await handle.signal("hear", "end")
            assert await handle.result() == ["a", "end"]


async def _each(*histories: WorkflowHistory) -> AsyncIterator[WorkflowHistory]:
    for history in histories:
        yield history


async def test_replays_of_several_histories(world: World) -> None:
    handle = await changed(world)
    bad = await handle.fetch_history()
    async with Worker(world.client, task_queue="q", workflows=[Large]):
        large = await world.client.start_workflow(Large.run, id="large", task_queue="q")
        await large.result()
    good = await large.fetch_history()
    replayer = Replayer(workflows=[After, Large])
    results = await replayer.replay_workflows(_each(good, bad), raise_on_replay_failure=False)
    assert set(results.replay_failures) == {bad.run_id}
    assert isinstance(results.replay_failures[bad.run_id], NondeterminismError)
    with pytest.raises(NondeterminismError):
        await replayer.replay_workflows(_each(good, bad, good))
    async with replayer.workflow_replay_iterator(_each(good, bad)) as each:
        found = [(result.history.run_id, result.replay_failure is None) async for result in each]
    assert found == [(good.run_id, True), (bad.run_id, False)]
    one = await replayer.replay_workflow(bad, raise_on_replay_failure=False)
    assert isinstance(one.replay_failure, NondeterminismError)
    unknown = Replayer(workflows=[After])
    with pytest.raises(RuntimeError, match=r"The workflow task fails on replay: .*Large"):
        await unknown.replay_workflow(good)
    with pytest.raises(ValueError, match="does not begin with the start"):
        await replayer.replay_workflow(WorkflowHistory("w", good.events[1:]))
    with pytest.raises(ValueError, match="does not begin with the start"):
        await replayer.replay_workflow(WorkflowHistory("w", []))
    with pytest.raises(ValueError, match="At least one workflow"):
        Replayer(workflows=[])
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        Replayer(workflows=[After], colour="red")
    Replayer(workflows=[After], identity="ignored")
