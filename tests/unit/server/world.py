"""A real node over a store that can be told to fail, and the calls that tests make on it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from itertools import count
from typing import Any, cast

from perdure.core.clock import SystemClock
from perdure.core.ids import EntityKey, run_key
from perdure.core.units import MS_NS, SECOND_NS
from perdure.history.activity.orphans import has_task_in_flight
from perdure.history.entity_types import RUNS
from perdure.history.loader import load_run
from perdure.history.run.wake import next_deadline_ns
from perdure.server.common.codec import decode_fact
from perdure.server.engine import CACHE_BYTES_MAX
from perdure.server.node.node import Node, open_node
from perdure.storage.port import Store
from perdure.wire.api import command, common, enums, taskqueue, workflowservice
from perdure.wire.seam import OPERATOR_SERVICE, WORKFLOW_SERVICE
from tests.harness import builders
from tests.stores.faults import FaultyStore

Commands = list[command.Command]
METHODS = {**OPERATOR_SERVICE, **WORKFLOW_SERVICE}


class World:
    """See the module."""

    def __init__(self, node: Node, faults: FaultyStore) -> None:
        self.node = node
        self.engine = node.engine
        self.faults = faults
        self.namespace_id = node.engine.namespaces.all()[0].namespace_id

    async def call(self, name: str, request: Any, timeout_s: float = 10) -> Any:
        method = METHODS[name]
        before = request.SerializeToString(deterministic=True)
        try:
            return await self.node.frontend.dispatch(
                method, request, None, int(timeout_s * SECOND_NS)
            )
        finally:
            assert request.SerializeToString(deterministic=True) == before, "dispatch changed it"

    async def start(self, workflow_id: str = "w", **changes: Any) -> EntityKey:
        fields: dict[str, Any] = {
            "request_id": f"start-{workflow_id}",
            "task_queue": taskqueue.TaskQueue(name="q"),
        }
        request = workflowservice.StartWorkflowExecutionRequest(
            namespace="default",
            workflow_id=workflow_id,
            workflow_type=common.WorkflowType(name="T"),
            **(fields | changes),
        )
        reply = await self.call("StartWorkflowExecution", request)
        return run_key(self.namespace_id, workflow_id, reply.run_id)

    async def signal(self, workflow_id: str = "w", request_id: str = "", run_id: str = "") -> None:
        request = workflowservice.SignalWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=common.WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
            signal_name="s",
            request_id=request_id,
        )
        await self.call("SignalWorkflowExecution", request)

    async def terminate(self, workflow_id: str = "w") -> None:
        request = workflowservice.TerminateWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=common.WorkflowExecution(workflow_id=workflow_id),
        )
        await self.call("TerminateWorkflowExecution", request)

    async def poll(self, timeout_s: float = 5) -> workflowservice.PollWorkflowTaskQueueResponse:
        request = workflowservice.PollWorkflowTaskQueueRequest(
            namespace="default", task_queue=taskqueue.TaskQueue(name="q"), identity="me"
        )
        return await self.call("PollWorkflowTaskQueue", request, timeout_s)

    async def poll_activity(
        self, timeout_s: float = 5
    ) -> workflowservice.PollActivityTaskQueueResponse:
        request = workflowservice.PollActivityTaskQueueRequest(
            namespace="default", task_queue=taskqueue.TaskQueue(name="q"), identity="me"
        )
        return await self.call("PollActivityTaskQueue", request, timeout_s)

    async def complete(self, token: bytes, *commands: command.Command) -> Any:
        request = workflowservice.RespondWorkflowTaskCompletedRequest(
            namespace="default", task_token=token, identity="me", commands=commands
        )
        return await self.call("RespondWorkflowTaskCompleted", request)

    async def complete_activity(self, token: bytes) -> Any:
        request = workflowservice.RespondActivityTaskCompletedRequest(
            namespace="default", task_token=token, identity="me"
        )
        return await self.call("RespondActivityTaskCompleted", request)

    async def event_types(self, key: EntityKey) -> list[str]:
        """Of the run's durable history, without prefix."""
        request = workflowservice.GetWorkflowExecutionHistoryRequest(
            namespace="default",
            execution=common.WorkflowExecution(workflow_id=key.name, run_id=key.run_id),
        )
        reply = await self.call("GetWorkflowExecutionHistory", request)
        return [
            enums.EventType.Name(e.event_type).removeprefix("EVENT_TYPE_")
            for e in reply.history.events
        ]

    async def check_memory(self, key: EntityKey) -> None:
        """What is in memory is what a restart would load."""
        await self.engine.committer.flush()
        entry = self.engine.cache.get(key)
        stored = await self.faults.load(key)
        assert stored is not None
        folded = load_run(
            key,
            [row.data for row in stored.events],
            [decode_fact(RUNS, row) for row in stored.facts],
        )
        due_ns = next_deadline_ns(folded)
        assert bool(stored.wake_at_ns) >= bool(due_ns), "a run with a deadline has a wake-up"
        assert not due_ns or stored.wake_at_ns <= due_ns, "no wake-up is later than what is due"
        if entry is not None:
            assert entry.pending is None
            assert entry.state.snapshot() == folded.snapshot()
            assert entry.wake_at_ns == stored.wake_at_ns
            assert (
                entry.has_task_in_flight == stored.has_task_in_flight == has_task_in_flight(folded)
            )
            assert entry.number == stored.number

    def forget(self, key: EntityKey) -> None:
        """Evict a run, as a full cache would."""
        entry = self.engine.cache.get(key)
        assert entry is not None
        assert entry.pending is None
        self.engine.cache.drop(entry)

    async def holding(self, *calls: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
        """Begin calls with the disk stopped: they run until a commit waits and nothing else moves."""
        self.faults.gate.clear()
        self.faults.waiting.clear()
        tasks = [asyncio.ensure_future(one) for one in calls]
        await asyncio.wait_for(self.faults.waiting.wait(), 10)
        await settle()
        return tasks

    def go_on(self) -> None:
        self.faults.gate.set()


async def settle() -> None:
    """Let everything that can run, run."""
    for _ in range(30):
        await asyncio.sleep(0)


async def open_world(
    store: Store, *, cache_bytes_max: int = CACHE_BYTES_MAX, workers_died: bool = False
) -> World:
    faults = FaultyStore(store)
    ids = count(1)
    node = await open_node(
        cast("Store", faults),
        clock=SystemClock(),
        new_id=lambda: f"00000000-0000-4000-8000-{next(ids):012}",
        workers_died=workers_died,
    )
    node.engine.cache.bytes_max = cache_bytes_max
    return World(node, faults)


def start_timer(timer_id: str, milliseconds: int) -> command.Command:
    return builders.start_timer(timer_id, milliseconds * MS_NS)
