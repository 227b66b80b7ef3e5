"""A world without faults and workers of its own: a script calls the node, and says what goes wrong and when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from perdure.core.units import DAY_NS, SECOND_NS
from perdure.testing.simulation.network import NetworkFaults, SimConnection
from perdure.wire import errors
from perdure.wire.api import command, common, enums, taskqueue, workflowservice
from perdure.wire.seam import WORKFLOW_SERVICE
from tests.simulation import ending
from tests.simulation.settings import Settings
from tests.simulation.workloads import Greetings
from tests.simulation.workloads.base import TASK_QUEUE
from tests.simulation.world import World

SIGNALED = enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED


PLAIN = Settings(
    has_small_cache=False,
    has_row_sweep=True,
    has_codec=False,
    has_small_pages=False,
    has_slow_deliveries=False,
    retention_ns=DAY_NS,
)


class Stage(World):
    """See the module."""

    def __init__(
        self,
        seed: int,
        script: Callable[[Stage], Awaitable[None]],
        settings: Settings = PLAIN,
    ) -> None:
        super().__init__(seed, [Greetings], settings)
        self._script = script

    async def _main(self) -> None:
        await self.start_node()
        await self._script(self)
        self.check_node()
        ending.check_database(self.database)
        await ending.check_reload(self)

    async def call(self, name: str, timeout_s: float = 30.0, **fields: Any) -> Any:
        """One call, never repeated."""
        connection = SimConnection(self.endpoint, NetworkFaults.none(), self.random, "user")
        method = WORKFLOW_SERVICE[name]
        request = method.request_type(namespace="default", **fields)
        return await connection.call(method, request, timeout_ns=int(timeout_s * SECOND_NS))

    async def start(self, workflow_id: str) -> Any:
        return await self.call(
            "StartWorkflowExecution",
            workflow_id=workflow_id,
            workflow_type=common.WorkflowType(name="T"),
            task_queue=taskqueue.TaskQueue(name=TASK_QUEUE),
            request_id=f"start {workflow_id}",
        )

    async def signal(self, workflow_id: str, name: str) -> None:
        await self.call(
            "SignalWorkflowExecution",
            workflow_execution=common.WorkflowExecution(workflow_id=workflow_id),
            signal_name=name,
            request_id=f"{name} of {workflow_id}",
        )

    async def poll(self) -> workflowservice.PollWorkflowTaskQueueResponse:
        return await self.call(
            "PollWorkflowTaskQueue",
            task_queue=taskqueue.TaskQueue(name=TASK_QUEUE),
            identity="worker",
        )

    async def answer(self, token: bytes, *, is_last: bool = False) -> None:
        commands = [
            command.Command(
                command_type=enums.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
                complete_workflow_execution_command_attributes=(
                    command.CompleteWorkflowExecutionCommandAttributes()
                ),
            )
        ]
        await self.call(
            "RespondWorkflowTaskCompleted",
            task_token=token,
            identity="worker",
            commands=commands if is_last else [],
        )

    async def signals(self, workflow_id: str) -> list[str]:
        """Names of the signals in the run's history."""
        reply = await self.call(
            "GetWorkflowExecutionHistory",
            execution=common.WorkflowExecution(workflow_id=workflow_id),
        )
        return signals_in(reply.history.events)

    async def until_durable(self, table: str, count: int) -> None:
        """Wait until the database has that many rows; with a slow disk, nobody has been told yet."""
        while True:
            if self.rows(table) >= count:
                return
            await asyncio.sleep(0.001)

    def rows(self, table: str) -> int:
        (found,) = self.database.execute(f"SELECT count(*) FROM {table}").fetchone()
        return found


def signals_in(events: Any) -> list[str]:
    return [
        event.workflow_execution_signaled_event_attributes.signal_name
        for event in events
        if event.event_type == SIGNALED
    ]


async def insist(call: Callable[[], Awaitable[Any]]) -> Any:
    """Repeat a call, with the same request id, while its outcome is unknown."""
    while True:
        try:
            return await call()
        except (errors.Unavailable, errors.ResourceExhausted):
            await asyncio.sleep(0.5)
