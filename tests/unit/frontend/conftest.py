"""A whole node over a store in memory, and the calls that a client or worker makes of it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from perdure.core.clock import SystemClock
from perdure.core.ids import new_id
from perdure.core.limits import DEFAULT_LIMITS, Limits
from perdure.core.units import SECOND_NS
from perdure.server.node.node import Node, open_node
from perdure.storage.executors import InlineExecutor
from perdure.storage.sqlite import open_memory
from perdure.wire.api import command, common, workflowservice
from perdure.wire.seam import OPERATOR_SERVICE, WORKFLOW_SERVICE
from tests.harness import builders
from tests.unit.server.virtual import virtual_clock

T = TypeVar("T")
QUEUE = "queue"


class GatedExecutor(InlineExecutor):
    """An executor whose work waits while the gate is closed: a slow disk."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, job: Callable[[], T]) -> T:
        await self.gate.wait()
        return await super().run(job)


class Caller:
    """Calls of one node by method name and fields."""

    def __init__(self, node: Node, disk: GatedExecutor) -> None:
        self.node = node
        self.disk = disk

    async def call(
        self,
        name: str,
        timeout_ns: int | None = 10 * SECOND_NS,
        metadata: dict[str, str | bytes] | None = None,
        **fields: Any,
    ) -> Any:
        method = WORKFLOW_SERVICE.get(name) or OPERATOR_SERVICE[name]
        if "namespace" in method.request_type.DESCRIPTOR.fields_by_name:
            fields.setdefault("namespace", "default")
        request = method.request_type(**fields)
        before = request.SerializeToString(deterministic=True)
        try:
            return await self.node.frontend.dispatch(method, request, metadata, timeout_ns)
        finally:
            assert request.SerializeToString(deterministic=True) == before, "dispatch changed it"

    async def start(self, workflow_id: str = "w", **fields: Any) -> str:
        response = await self.call(
            "StartWorkflowExecution",
            workflow_id=workflow_id,
            workflow_type={"name": "Greeting"},
            task_queue={"name": QUEUE},
            request_id=new_id(),
            **fields,
        )
        return response.run_id

    async def poll(
        self, queue: str = QUEUE, **fields: Any
    ) -> workflowservice.PollWorkflowTaskQueueResponse:
        fields.setdefault("task_queue", {"name": queue})
        return await self.call("PollWorkflowTaskQueue", identity="worker", **fields)

    def parked(self, queue: str = QUEUE, **fields: Any) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(self.poll(queue, **fields))

    async def complete(self, task: Any, *commands: command.Command, **fields: Any) -> Any:
        return await self.call(
            "RespondWorkflowTaskCompleted",
            task_token=task.task_token,
            commands=commands,
            identity="worker",
            **fields,
        )

    async def signal(self, workflow_id: str = "w", name: str = "go") -> None:
        await self.call(
            "SignalWorkflowExecution",
            workflow_execution={"workflow_id": workflow_id},
            signal_name=name,
        )

    async def history(self, workflow_id: str = "w", **fields: Any) -> Any:
        execution = common.WorkflowExecution(workflow_id=workflow_id)
        fields.setdefault("execution", execution)
        return await self.call("GetWorkflowExecutionHistory", **fields)


def schedule_activity(activity_id: str = "a") -> command.Command:
    return builders.schedule_activity(
        activity_id, QUEUE, timeout_s=60, activity_type={"name": "greet"}
    )


async def open_caller(connection: sqlite3.Connection | None = None) -> Caller:
    disk = GatedExecutor()
    store = open_memory(executor=disk, connection=connection)
    return Caller(await open_node(store, clock=SystemClock(), new_id=new_id), disk)


@asynccontextmanager
async def virtual_caller(limits: Limits = DEFAULT_LIMITS) -> AsyncGenerator[Caller]:
    """A node on the virtual time of the running loop: see `tests.unit.server.virtual.on_virtual_time`."""
    disk = GatedExecutor()
    node = await open_node(
        open_memory(executor=disk), clock=virtual_clock(), new_id=new_id, limits=limits
    )
    try:
        yield Caller(node, disk)
    finally:
        disk.gate.set()
        await node.close()


async def settle(rounds: int = 50) -> None:
    """Let everything that can run do so."""
    for _ in range(rounds):
        await asyncio.sleep(0)


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    caller = await open_caller()
    yield caller
    caller.disk.gate.set()
    await caller.node.close()
