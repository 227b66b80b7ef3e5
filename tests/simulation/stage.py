"""A world without random faults and without workers: a script makes the calls and causes the faults."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from google.protobuf.duration_pb2 import Duration

from perdure.core.units import DAY_NS, SECOND_NS
from perdure.testing.simulation.network import Endpoint, NetworkFaults, SimConnection
from perdure.wire import errors
from perdure.wire.api import command, common, enums, history, taskqueue, workflowservice
from perdure.wire.seam import WORKFLOW_SERVICE
from tests.harness.builders import complete_workflow
from tests.simulation import ending
from tests.simulation.settings import Settings
from tests.simulation.violations import Kind, Violation
from tests.simulation.workloads import Greetings
from tests.simulation.workloads.base import TASK_QUEUE
from tests.simulation.world import World

SIGNALED = enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED


if TYPE_CHECKING:
    from perdure.server.node.node import Node
    from perdure.testing.simulation.disk import SimExecutor
    from perdure.testing.simulation.loop import Process

CALLS_END_S = 65.0
"""Longer than any poll of a script."""
PLAIN = Settings(
    has_small_cache=False,
    has_row_sweep=True,
    has_codec=False,
    has_small_pages=False,
    has_slow_deliveries=False,
    retention_ns=DAY_NS,
    is_embedded=False,
)


class Stage(World):
    """A world that is driven by a script."""

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
        script = asyncio.ensure_future(self._script(self))
        watch = asyncio.create_task(self.watch(), name="watch")
        await asyncio.wait((script, watch), return_when=asyncio.FIRST_COMPLETED)
        if watch.done():
            script.cancel()
            watch.result()
        try:
            await script
        except errors.RpcError as error:
            # A script catches the errors that its own faults cause.
            raise Violation(Kind.REFUSED, f"{type(error).__name__}: {error.message}") from error
        watch.cancel()
        self.check_node()
        if self.node is not None:
            await asyncio.sleep(CALLS_END_S)
            ending.check_callers(self.node)
        ending.check_database(self.database)
        self.archive.check(self.settings.retention_ns)
        await ending.check_reload(self)

    @property
    def owner(self) -> tuple[Node | None, Process | None, SimExecutor | None]:
        """The node that checks look at and `kill_node` kills. Scripts reset it when a rival node is gone."""
        return self.node, self.node_process, self.executor

    @owner.setter
    def owner(self, owner: tuple[Node | None, Process | None, SimExecutor | None]) -> None:
        self.node, self.node_process, self.executor = owner

    async def call(
        self, name: str, timeout_s: float = 30.0, *, at: Endpoint | None = None, **fields: Any
    ) -> Any:
        """Make one call, without retries; `at` names a node that another one may have replaced."""
        endpoint = self.endpoint if at is None else at
        connection = SimConnection(endpoint, NetworkFaults.none(), self.random, "user")
        method = WORKFLOW_SERVICE[name]
        request = method.request_type(namespace="default", **fields)
        return await connection.call(method, request, timeout_ns=int(timeout_s * SECOND_NS))

    async def start(
        self, workflow_id: str, *, at: Endpoint | None = None, request_id: str = ""
    ) -> Any:
        return await self.call(
            "StartWorkflowExecution",
            at=at,
            workflow_id=workflow_id,
            workflow_type=common.WorkflowType(name="T"),
            task_queue=taskqueue.TaskQueue(name=TASK_QUEUE),
            request_id=request_id or f"start {workflow_id}",
        )

    async def start_later(self, workflow_id: str, delay_s: int) -> None:
        """Start a run with a start delay."""
        await self.call(
            "StartWorkflowExecution",
            workflow_id=workflow_id,
            workflow_type=common.WorkflowType(name="T"),
            task_queue=taskqueue.TaskQueue(name=TASK_QUEUE),
            request_id=workflow_id,
            workflow_start_delay=Duration(seconds=delay_s),
        )

    async def signal(self, workflow_id: str, name: str, *, at: Endpoint | None = None) -> None:
        await self.call(
            "SignalWorkflowExecution",
            at=at,
            workflow_execution=common.WorkflowExecution(workflow_id=workflow_id),
            signal_name=name,
            request_id=f"{name} of {workflow_id}",
        )

    async def poll(
        self,
        *,
        at: Endpoint | None = None,
        queue: taskqueue.TaskQueue | None = None,
        timeout_s: float = 30.0,
    ) -> workflowservice.PollWorkflowTaskQueueResponse:
        return await self.call(
            "PollWorkflowTaskQueue",
            timeout_s,
            at=at,
            task_queue=queue or taskqueue.TaskQueue(name=TASK_QUEUE),
            identity="worker",
        )

    async def poll_activity(self) -> workflowservice.PollActivityTaskQueueResponse:
        return await self.call(
            "PollActivityTaskQueue",
            task_queue=taskqueue.TaskQueue(name=TASK_QUEUE),
            identity="worker",
        )

    async def answer(
        self,
        token: bytes,
        commands: Sequence[command.Command] = (),
        *,
        is_last: bool = False,
        **fields: Any,
    ) -> None:
        closing = complete_workflow()
        await self.call(
            "RespondWorkflowTaskCompleted",
            task_token=token,
            identity="worker",
            commands=[*commands, closing] if is_last else commands,
            **fields,
        )

    async def events(
        self, workflow_id: str, run_id: str = "", *, at: Endpoint | None = None
    ) -> Sequence[history.HistoryEvent]:
        reply = await self.call(
            "GetWorkflowExecutionHistory",
            at=at,
            execution=common.WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
        )
        return reply.history.events

    async def signals(
        self, workflow_id: str, run_id: str = "", *, at: Endpoint | None = None
    ) -> list[str]:
        """The names of the signals in the history of a run."""
        return signals_in(await self.events(workflow_id, run_id, at=at))

    async def until_durable(self, table: str, count: int) -> None:
        """Wait until the database has that many rows. With a slow disk, no caller has an answer yet."""
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
