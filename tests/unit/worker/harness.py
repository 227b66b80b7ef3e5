"""`Activities` over a scripted connection, as the worker puts it together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, cast

from perdure.common.metrics import MetricMeter
from perdure.converter import DataConverter
from perdure.core.units import SECOND_NS
from perdure.wire.api import workflowservice
from perdure.worker.activity.activities import Activities
from perdure.worker.activity.registry import ActivityRegistry
from perdure.worker.polling.rpc import WorkerRpc
from tests.unit.worker.scripted import ScriptedConnection, activity_task

if TYPE_CHECKING:
    from perdure.client import Client

HeartbeatResponse = workflowservice.RecordActivityTaskHeartbeatResponse
CONVERTER = DataConverter.default


class Harness:
    """One `Activities` over a scripted connection."""

    def __init__(
        self,
        *functions: Callable[..., Any],
        executor: Executor | None = None,
        converter: DataConverter = CONVERTER,
        interceptors: Sequence[Any] = (),
        **answers: Callable[[Any], Any],
    ) -> None:
        self.fatal: list[BaseException] = []
        self.connection = ScriptedConnection(**answers)
        rpc = WorkerRpc(
            self.connection,
            namespace="default",
            identity="tester",
            instance_key="key",
            build_id="build",
            codec=None,
        )
        self.tasks: set[asyncio.Task[Any]] = set()
        self.activities = Activities(
            rpc,
            ActivityRegistry(functions, executor),
            task_queue="queue",
            executor=executor,
            data_converter=converter,
            interceptors=interceptors,
            client=cast("Client", None),
            metric_meter=MetricMeter.noop,
            heartbeat_default_ns=SECOND_NS,
            heartbeat_max_ns=SECOND_NS,
            spawn=self._spawn,
            on_fatal=self.fatal.append,
        )

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=name)
        self.tasks.add(task)
        return task

    async def run(self, name: str, *args: Any, **fields: Any) -> None:
        task = activity_task(name, **fields)
        if args:
            task.input.payloads.extend(await CONVERTER.encode(args))
        await self.activities.handle(task)

    def answers(self) -> Sequence[str]:
        return [name for name, _ in self.connection.calls if name.startswith("Respond")]

    async def result(self) -> Any:
        (request,) = self.connection.requests("RespondActivityTaskCompleted")
        (value,) = await CONVERTER.decode(request.result.payloads)
        return value

    def failure(self) -> Any:
        (request,) = self.connection.requests("RespondActivityTaskFailed")
        return request.failure
