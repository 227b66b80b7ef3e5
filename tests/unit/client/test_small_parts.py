"""What is easily lost on the way: defaults, checks of one verb among many, texts of errors, eager first tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perdure.client import (
    Client,
    ClientConfig,
    Plugin,
    WorkflowContinuedAsNewError,
    WorkflowExecutionStatus,
    WorkflowQueryRejectedError,
    WorkflowUpdateStage,
)
from perdure.service import ConnectConfig, ServiceClient
from perdure.wire.api import workflowservice as pb
from tests.harness.connections import ScriptedConnection
from tests.unit.client.workflows import OrderWorkflow


class Seen(Plugin):
    """Keeps the options that a client connects with."""

    def __init__(self) -> None:
        self.configs: list[ConnectConfig] = []

    def configure_client(self, config: ClientConfig) -> ClientConfig:
        return config

    async def connect_service_client(
        self, config: ConnectConfig, next: Callable[[ConnectConfig], Awaitable[ServiceClient]]
    ) -> ServiceClient:
        self.configs.append(config)
        return ServiceClient(config, ScriptedConnection())


@pytest.mark.parametrize(("given", "expected"), [(None, {}), ({}, {}), ({"a": "1"}, {"a": "1"})])
async def test_headers_of_all_calls(given: dict[str, str] | None, expected: Any) -> None:
    seen = Seen()
    options: dict[str, Any] = {} if given is None else {"rpc_metadata": given}
    client = await Client.connect("nowhere:1", plugins=[seen], identity="me", **options)
    assert [config.rpc_metadata for config in seen.configs] == [expected]
    assert client.identity == "me"
    named = await Client.connect("nowhere:1", plugins=[seen])
    assert "@" in named.identity, "process and host, unless given"


@pytest.mark.parametrize("extra", ["workflow_id", "run_id", "activity_id"])
def test_a_token_and_any_id(client: Client, extra: str) -> None:
    get: Any = client.get_async_activity_handle
    with pytest.raises(ValueError, match="Task token cannot be present with other IDs"):
        get(task_token=b"t", **{extra: "x"})


@pytest.mark.parametrize("given", [{}, {"workflow_id": "w"}, {"workflow_id": "w", "run_id": "r"}])
def test_ids_without_the_activity(client: Client, given: dict[str, str]) -> None:
    get: Any = client.get_async_activity_handle
    with pytest.raises(ValueError, match="Task token or activity ID"):
        get(**given)


def test_what_errors_say() -> None:
    assert str(WorkflowContinuedAsNewError("run-2")) == "Workflow continued as new"
    rejected = WorkflowQueryRejectedError(WorkflowExecutionStatus.FAILED)
    assert str(rejected) == f"Query rejected, status: {WorkflowExecutionStatus.FAILED}"


@pytest.mark.parametrize(
    ("args", "message"),
    [([], "1 argument"), (["x"], "but int is expected"), ([1, 2], "2 were given")],
)
async def test_wrong_arguments_of_an_update_never_travel(
    client: Client, connection: ScriptedConnection, args: list[Any], message: str
) -> None:
    handle = client.get_workflow_handle("w")
    change: Any = OrderWorkflow.change
    with pytest.raises(TypeError, match=message):
        await handle.start_update(change, args=args, wait_for_stage=WorkflowUpdateStage.ACCEPTED)
    assert connection.calls == []


@pytest.mark.parametrize(
    ("of_fetch", "of_page", "expected"), [(None, None, 0), (7, None, 7), (None, 3, 3), (7, 3, 3)]
)
async def test_page_sizes_of_a_history(
    client: Client,
    connection: ScriptedConnection,
    of_fetch: int | None,
    of_page: int | None,
    expected: int,
) -> None:
    connection.on("GetWorkflowExecutionHistory", pb.GetWorkflowExecutionHistoryResponse())
    handle = client.get_workflow_handle("w")
    events = handle.fetch_history_events(page_size=of_fetch)
    assert (events.current_page_index, events.current_page, events.next_page_token) == (
        0,
        None,
        None,
    )
    await events.fetch_next_page(page_size=of_page)
    (request,) = connection.requests("GetWorkflowExecutionHistory")
    assert request.maximum_page_size == expected


def accepted() -> pb.UpdateWorkflowExecutionResponse:
    answer = pb.UpdateWorkflowExecutionResponse(stage=2)  # pyright: ignore[reportArgumentType]
    answer.update_ref.workflow_execution.run_id = "answered"
    return answer


@pytest.mark.parametrize("stage", [WorkflowUpdateStage.ACCEPTED, WorkflowUpdateStage.COMPLETED])
async def test_only_a_completed_update_waits_for_its_outcome(
    client: Client, connection: ScriptedConnection, stage: WorkflowUpdateStage
) -> None:
    finished = pb.PollWorkflowExecutionUpdateResponse()
    finished.outcome.success.SetInParent()
    connection.on("UpdateWorkflowExecution", accepted())
    connection.on("PollWorkflowExecutionUpdate", finished)
    update = await client.get_workflow_handle("w").start_update("u", wait_for_stage=stage)
    waited = len(connection.requests("PollWorkflowExecutionUpdate"))
    assert waited == (1 if stage is WorkflowUpdateStage.COMPLETED else 0)
    await update.result()
    assert len(connection.requests("PollWorkflowExecutionUpdate")) == 1


class Slots:
    """A worker's reservation: counts what it was asked, keeps how it was settled."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.settled: list[Any] = []

    def reserve(self) -> Callable[[Any], None] | None:
        if not self.free:
            return None
        self.free -= 1
        return self.settled.append


async def start(client: Client, *, eager: bool) -> None:
    await client.start_workflow("W", id="w", task_queue="q", request_eager_start=eager)


@pytest.mark.parametrize("brings_task", [True, False])
async def test_an_eager_start_hands_the_first_task_to_its_worker(
    client: Client, connection: ScriptedConnection, brings_task: bool
) -> None:
    answer = pb.StartWorkflowExecutionResponse(run_id="r")
    if brings_task:
        answer.eager_workflow_task.task_token = b"token"
    connection.on("StartWorkflowExecution", answer)
    slots = Slots(1)
    client.service_client.eager_starts.register(client.namespace, "q", slots.reserve)
    await start(client, eager=True)
    await start(client, eager=True)
    await start(client, eager=False)
    asked = [r.request_eager_execution for r in connection.requests("StartWorkflowExecution")]
    assert asked == [True, False, False], "one slot, so one start may ask; another did not want to"
    (given,) = slots.settled
    assert (given.task_token if given else None) == (b"token" if brings_task else None)


async def test_a_start_that_fails_gives_its_slot_back(
    client: Client, connection: ScriptedConnection
) -> None:
    connection.on("StartWorkflowExecution", ZeroDivisionError())
    slots = Slots(1)
    client.service_client.eager_starts.register(client.namespace, "q", slots.reserve)
    with pytest.raises(ZeroDivisionError):
        await start(client, eager=True)
    assert slots.settled == [None]


async def test_a_start_that_is_not_eager_keeps_slots_free(
    client: Client, connection: ScriptedConnection
) -> None:
    connection.on("StartWorkflowExecution", pb.StartWorkflowExecutionResponse(run_id="r"))
    slots = Slots(1)
    client.service_client.eager_starts.register(client.namespace, "q", slots.reserve)
    await start(client, eager=False)
    assert (slots.free, slots.settled) == (1, [])
    assert len(connection.calls) == 1


class Wrapping(Plugin):
    """Notes when it is asked to connect, and when that is done."""

    def __init__(self, name: str, log: list[str]) -> None:
        self._name, self._log = name, log

    def configure_client(self, config: ClientConfig) -> ClientConfig:
        self._log.append(f"{self._name} configures")
        return config

    async def connect_service_client(
        self, config: ConnectConfig, next: Callable[[ConnectConfig], Awaitable[ServiceClient]]
    ) -> ServiceClient:
        self._log.append(f"{self._name} connects")
        made = await next(config)
        self._log.append(f"{self._name} has connected")
        return made


async def test_earlier_plugins_wrap_later_ones() -> None:
    log: list[str] = []
    await Client.connect(
        "nowhere:1", plugins=[Wrapping("outer", log), Wrapping("inner", log), Seen()]
    )
    assert log == [
        "outer connects",
        "inner connects",
        "inner has connected",
        "outer has connected",
        "outer configures",
        "inner configures",
    ]
