"""Calls through one node of a cluster about runs and task queues of the other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.core.units import SECOND_NS
from perdure.wire.api import command, common, enums
from tests.unit.frontend.conftest import Caller
from tests.unit.server.cluster import NAMES, Cluster

both_ways = pytest.mark.parametrize("here", NAMES)


def other(name: str) -> str:
    return NAMES[1 - NAMES.index(name)]


class Side:
    """Calls through one node. Workers poll a queue of the other one."""

    def __init__(self, cluster: Cluster, here: str) -> None:
        self.cluster = cluster
        self.here, self.there = here, other(here)
        self.caller: Caller = getattr(cluster, here)
        self.queue = cluster.named(self.there, "queue")
        self.own = cluster.named(here, "own")
        """A workflow id of this node."""
        self.far = cluster.named(self.there, "far")
        """A workflow id of the other node."""

    async def start(self, workflow_id: str, **fields: Any) -> str:
        fields.setdefault("task_queue", {"name": self.queue})
        reply = await self.caller.call(
            "StartWorkflowExecution",
            workflow_id=workflow_id,
            workflow_type={"name": "T"},
            request_id=f"start {workflow_id}",
            **fields,
        )
        return reply.run_id

    async def step(self, workflow_id: str, *commands: command.Command, **fields: Any) -> Any:
        """Complete the next workflow task, which is of this workflow."""
        task = await self.caller.poll(self.queue)
        assert task.workflow_execution.workflow_id == workflow_id
        await self.caller.complete(task, *commands, **fields)
        return task

    async def steps(self, number: int) -> None:
        """Complete the next workflow tasks, whose they may be, with nothing."""
        for _ in range(number):
            task = await self.caller.poll(self.queue)
            assert task.task_token
            await self.caller.complete(task)

    async def kinds(self, workflow_id: str, run_id: str = "") -> list[str]:
        """The types of the events beyond those of workflow tasks."""
        await asyncio.sleep(2)
        execution = common.WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
        events = (await self.caller.history(execution=execution)).history.events
        names = [enums.EventType.Name(event.event_type)[len("EVENT_TYPE_") :] for event in events]
        return [name for name in names if not name.startswith("WORKFLOW_TASK")]

    async def attributes(self, workflow_id: str, kind: str) -> Any:
        """Those of the only event of this kind."""
        await asyncio.sleep(2)
        events = (
            await self.caller.history(execution=common.WorkflowExecution(workflow_id=workflow_id))
        ).history.events
        number = enums.EventType.Value(f"EVENT_TYPE_{kind}")
        (found,) = [event for event in events if event.event_type == number]
        return getattr(found, found.WhichOneof("attributes") or "")

    def later(self, name: str, **fields: Any) -> asyncio.Task[Any]:
        fields.setdefault("timeout_ns", 30 * SECOND_NS)
        return asyncio.get_running_loop().create_task(self.caller.call(name, **fields))


def run_of(workflow_id: str, run_id: str = "") -> dict[str, str]:
    return {"workflow_id": workflow_id, "run_id": run_id}


def value(text: str) -> common.Payloads:
    return common.Payloads(payloads=[common.Payload(data=text.encode())])
