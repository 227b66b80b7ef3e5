"""The call that a worker makes before it polls: whatever the answer is, its user sees a typed error or retries."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from perdure import activity
from perdure.client import Client, RPCError
from perdure.service import ConnectConfig, ServiceClient
from perdure.wire import errors
from perdure.wire.api import workflowservice
from perdure.worker import Worker
from perdure.worker.polling import pollers
from tests.unit.worker.scripted import ScriptedConnection

if TYPE_CHECKING:
    from tests.harness.connections import Answer

UNREADABLE = errors.UndecodableAnswer("DescribeNamespace", b"\x12\xff")
REFUSALS = [
    UNREADABLE,
    errors.NotFound("no"),
    errors.InvalidArgument("no"),
    errors.PermissionDenied("no"),
    errors.Unauthenticated("no"),
    errors.FailedPrecondition("no"),
    errors.ConnectionClosed("no"),
    errors.DataLoss("no"),
]


@activity.defn
async def nothing() -> None: ...


def worker_over(*described: Answer) -> tuple[Worker, ScriptedConnection]:
    connection = ScriptedConnection()
    connection.on("DescribeNamespace", *described)
    client = Client(ServiceClient(ConnectConfig("scripted", identity="me"), connection))
    return Worker(client, task_queue="q", activities=[nothing]), connection


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda each: type(each).__name__)
async def test_a_refusal_is_a_typed_error(refusal: errors.RpcError) -> None:
    worker, connection = worker_over(refusal)
    async with asyncio.timeout(60):
        with pytest.raises(RuntimeError, match=r"^Worker validation failed: ") as caught:
            await worker.run()
    cause = caught.value.__cause__
    assert isinstance(cause, RPCError)
    assert cause.status is refusal.status_code
    assert worker.is_shutdown
    assert [name for name, _ in connection.calls] == ["DescribeNamespace"], "and it has not polled"


async def test_the_user_of_a_block_gets_it_too() -> None:
    worker, _ = worker_over(UNREADABLE)
    with pytest.raises(RuntimeError, match=r"DescribeNamespace.* cannot be read"):
        async with asyncio.timeout(60), worker:
            await asyncio.Event().wait()


async def test_an_outage_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pollers, "RETRY_INITIAL_NS", 1)
    polled = asyncio.Event()

    async def poll(_: Any) -> Any:
        polled.set()
        await asyncio.Event().wait()

    away = [errors.Unavailable("away"), errors.Internal("odd"), errors.Unknown("odd")]
    worker, connection = worker_over(*away, workflowservice.DescribeNamespaceResponse())
    connection.on("PollActivityTaskQueue", poll)
    async with asyncio.timeout(60), worker:
        await polled.wait()
    assert len(connection.requests("DescribeNamespace")) == 4


async def test_a_server_without_the_call_is_polled() -> None:
    polled = asyncio.Event()

    async def poll(_: Any) -> Any:
        polled.set()
        await asyncio.Event().wait()

    worker, connection = worker_over(errors.Unimplemented("an older server"))
    connection.on("PollActivityTaskQueue", poll)
    async with asyncio.timeout(60), worker:
        await polled.wait()
    assert worker.is_shutdown


async def test_a_worker_that_is_ended_during_an_outage_ends_without_an_error() -> None:
    async def fail(_: Any) -> Any:
        asked.set()
        await go_on.wait()
        raise errors.Unavailable("away")

    asked, go_on = asyncio.Event(), asyncio.Event()
    worker, connection = worker_over(fail)
    async with asyncio.timeout(60):
        running = asyncio.create_task(worker.run())
        await asked.wait()
        ending = asyncio.create_task(worker.shutdown())
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(running, ending)
    assert [name for name, _ in connection.calls] == ["DescribeNamespace"]
