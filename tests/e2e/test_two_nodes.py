"""A cluster of two nodes as users see it: workers at one node, clients at the other, and runs on both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import pytest

from perdure import activity, workflow
from perdure.client import Client, WorkflowFailureError, WorkflowUpdateStage
from perdure.core.clock import SystemClock
from perdure.embedded import EmbeddedConnection
from perdure.exceptions import ApplicationError, CancelledError, ChildWorkflowError
from perdure.server.node.node import Node
from perdure.service import ConnectConfig, ServiceClient
from perdure.worker import Worker
from tests.unit.server.cluster import NAMES, Cluster, two_nodes

TIMEOUT = timedelta(seconds=30)


@activity.defn
async def double(number: int) -> int:
    return 2 * number


@workflow.defn
class Till:
    """Counts what it is given, by signals and updates, until it is closed; its history is renewed halfway."""

    @workflow.init
    def __init__(self, total: int = 0) -> None:
        self.total = total
        self.is_closed = False
        self.is_renewed = False

    @workflow.run
    async def run(self, total: int = 0) -> int:
        await workflow.wait_condition(lambda: self.is_closed or self.is_renewed)
        if self.is_renewed:
            workflow.continue_as_new(self.total)
        return self.total

    @workflow.signal
    def pay(self, amount: int) -> None:
        self.total += amount

    @workflow.signal
    def renew(self) -> None:
        self.is_renewed = True

    @workflow.signal
    def close(self) -> None:
        self.is_closed = True

    @workflow.update
    async def add(self, amount: int) -> int:
        if amount < 0:
            raise ValueError("nothing is taken out")
        self.total += await workflow.execute_activity(
            double, amount, start_to_close_timeout=TIMEOUT
        )
        return self.total

    @workflow.query
    def total_now(self) -> int:
        return self.total


@workflow.defn
class Sleeper:
    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(3600)


@workflow.defn
class Manager:
    """Runs a till and a sleeper as children, pays into another till, and ends a sleeper that is not its own."""

    @workflow.run
    async def run(self, till: str, child: str, sleeper: str, other_sleeper: str) -> int:
        own = await workflow.start_child_workflow(Till.run, 5, id=child)
        asleep = await workflow.start_child_workflow(Sleeper.run, id=sleeper)
        await workflow.get_external_workflow_handle_for(Till.run, till).signal(Till.pay, 7)
        await workflow.get_external_workflow_handle(other_sleeper).cancel()
        await own.signal(Till.pay, 1)
        await own.signal(Till.close)
        asleep.cancel()
        (end,) = await asyncio.gather(asleep, return_exceptions=True)
        if not isinstance(end, ChildWorkflowError) or not isinstance(end.cause, CancelledError):
            raise ApplicationError(f"the sleeper ended with {end!r}")
        return await own


class _Stays:
    async def leave(self) -> None:
        """The cluster ends its nodes."""


def _client(node: Node) -> Client:
    connection = EmbeddedConnection(node, _Stays())
    return Client(ServiceClient(ConnectConfig("cluster"), connection))


@asynccontextmanager
async def _at_work(cluster: Cluster, worker_at: str) -> AsyncGenerator[tuple[Client, str]]:
    """A client at the other node, and a queue there that a worker polls at this one."""
    client_at = NAMES[1 - NAMES.index(worker_at)]
    queue = cluster.named(client_at, "queue")
    async with AsyncExitStack() as stack:
        worker_client = await stack.enter_async_context(_client(cluster.nodes[worker_at]))
        client = await stack.enter_async_context(_client(cluster.nodes[client_at]))
        worker = Worker(
            worker_client,
            task_queue=queue,
            workflows=[Till, Sleeper, Manager],
            activities=[double],
        )
        await stack.enter_async_context(worker)
        yield client, queue


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with asyncio.timeout(60), two_nodes(clock=SystemClock()) as cluster:
        yield cluster


@pytest.mark.parametrize("worker_at", NAMES)
async def test_runs_of_two_nodes_work_together(cluster: Cluster, worker_at: str):
    client_at = NAMES[1 - NAMES.index(worker_at)]
    till, child = cluster.named(worker_at, "till"), cluster.named(worker_at, "child")
    sleeper, other = cluster.named(worker_at, "sleeper"), cluster.named(worker_at, "other")
    manager = cluster.named(client_at, "manager")
    async with _at_work(cluster, worker_at) as (client, queue):
        handle = await client.start_workflow(Till.run, id=till, task_queue=queue)
        asleep = await client.start_workflow(Sleeper.run, id=other, task_queue=queue)
        result = await client.execute_workflow(
            Manager.run, args=[till, child, sleeper, other], id=manager, task_queue=queue
        )
        assert result == 6
        with pytest.raises(WorkflowFailureError) as ended:
            await asleep.result()
        assert isinstance(ended.value.cause, CancelledError)
        assert await handle.query(Till.total_now) == 7
        await handle.signal(Till.close)
        assert await handle.result() == 7
    assert cluster.messages("DeliverMessage") > 8


@pytest.mark.parametrize("worker_at", NAMES)
@pytest.mark.parametrize("run_at", NAMES)
async def test_updates_queries_and_chains_through_the_other_node(
    cluster: Cluster, worker_at: str, run_at: str
):
    till = cluster.named(run_at, "till")
    async with _at_work(cluster, worker_at) as (client, queue):
        first = await client.start_workflow(Till.run, id=till, task_queue=queue)
        assert await first.execute_update(Till.add, 1) == 2
        handle = client.get_workflow_handle_for(Till.run, till)
        assert await handle.execute_update(Till.add, 2) == 6
        update = await handle.start_update(Till.add, 3, wait_for_stage=WorkflowUpdateStage.ACCEPTED)
        assert await update.result() == 12
        await handle.signal(Till.renew)
        await handle.signal(Till.pay, 8)
        assert await handle.query(Till.total_now) in (12, 20)
        signalled = await client.start_workflow(
            Till.run,
            id=cluster.named(run_at, "signalled"),
            task_queue=queue,
            start_signal="pay",
            start_signal_args=[4],
        )
        assert await signalled.query(Till.total_now) == 4
        await signalled.terminate()
        await handle.signal(Till.close)
        assert await first.result() == await handle.result()
        description = await handle.describe()
        assert description.status is not None
        assert description.status.name == "COMPLETED"
