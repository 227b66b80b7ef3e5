"""The client against a real server process and against an engine in this process: the same calls, the same answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perdure.client import (
    Client,
    RetryConfig,
    RPCError,
    RPCStatusCode,
    WorkflowExecutionStatus,
    WorkflowFailureError,
)
from perdure.exceptions import TerminatedError, WorkflowAlreadyStartedError
from tests.e2e.processes import Processes

# On a busy machine a server may take longer to start than an ordinary call is patient.
PATIENT = RetryConfig(max_interval_millis=500, max_elapsed_time_millis=None, max_retries=0)


@pytest.fixture(params=["server", "memory", "sqlite"])
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Client]:
    if request.param != "server":
        target = "memory:" if request.param == "memory" else f"sqlite:{tmp_path / 'orders.db'}"
        async with await Client.connect(target) as embedded:
            yield embedded
        return
    with Processes(tmp_path, "unused:unused") as processes:
        processes.start_server()
        await processes.wait_for_server()
        async with await Client.connect(processes.address) as connected:
            yield connected


async def test_a_workflow_without_a_worker(client: Client) -> None:
    handle = await client.start_workflow("Order", {"amount": 1}, id="o-1", task_queue="q")
    with pytest.raises(WorkflowAlreadyStartedError) as taken:
        await client.start_workflow("Order", id="o-1", task_queue="q")
    assert taken.value.run_id == handle.result_run_id
    await handle.signal("approve", "me")

    description = await handle.describe()
    assert description.status is WorkflowExecutionStatus.RUNNING
    assert description.workflow_type == "Order"
    history = await handle.fetch_history()
    assert [event.event_id for event in history.events] == [1, 2, 3]
    assert history.run_id == handle.result_run_id
    assert [execution.id async for execution in client.list_workflows()] == ["o-1"]

    result = asyncio.ensure_future(handle.result())
    await handle.terminate("detail", reason="enough")
    with pytest.raises(WorkflowFailureError) as closed:
        await result
    cause = closed.value.cause
    assert isinstance(cause, TerminatedError)
    assert (cause.message, list(cause.details)) == ("enough", ["detail"])


async def test_what_is_not_there(client: Client) -> None:
    for call in (
        client.get_workflow_handle("none").describe(),
        client.get_workflow_handle("none").signal("x"),
        client.get_workflow_handle("none").result(),
        client.get_async_activity_handle(task_token=b"nonsense").complete(),
    ):
        with pytest.raises(RPCError) as caught:
            await call
        assert caught.value.status in {RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT}
        assert caught.value.message


async def test_waiting_and_calling_outlive_a_killed_server(tmp_path: Path) -> None:
    with Processes(tmp_path, "unused:unused") as processes:
        processes.start_server()
        await processes.wait_for_server()
        async with await Client.connect(processes.address, retry_config=PATIENT) as client:
            handle = await client.start_workflow("Order", id="o-1", task_queue="q")
            result = asyncio.ensure_future(handle.result())
            await asyncio.sleep(0)
            await processes.kill("server")
            terminated = asyncio.ensure_future(handle.terminate(reason="after the restart"))
            processes.start_server()
            await terminated
            with pytest.raises(WorkflowFailureError) as closed:
                await result
            assert isinstance(closed.value.cause, TerminatedError)
            assert closed.value.cause.message == "after the restart"
