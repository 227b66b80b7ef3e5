"""A time-skipping node on virtual time: how long real time took is exact, and the same on every machine.

`staged` makes a test of ``async def test(stage)``. In it `asyncio.sleep`, time-outs of calls and the clock beneath the
skipped one are those of a `SimLoop`: nothing else ready means that the next timer is reached at once.

Not here: what a worker does (raw calls, from `tests.unit.server.world`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from random import Random
from typing import Any, cast

from google.protobuf.empty_pb2 import Empty

from perdure.core.ids import EntityKey, run_key, seeded_ids
from perdure.core.units import SECOND_NS
from perdure.entity.workers import Work
from perdure.history.entity_types import RUNS
from perdure.server.time_skipping.node import TimeSkippingNode, open_time_skipping_node
from perdure.storage.port import Store
from perdure.storage.sqlite import open_memory
from perdure.testing.simulation.loop import SimClock, SimLoop
from perdure.wire.api import command, common, taskqueue, testservice, workflowservice
from perdure.wire.api import history as history_pb
from perdure.wire.seam import TEST_SERVICE
from perdure.wire.times import duration, timestamp, timestamp_ns
from tests.harness.builders import start_timer
from tests.stores.faults import FaultyStore
from tests.unit.server.world import World


class WakeStore(FaultyStore):
    """A `FaultyStore` whose table of wake-ups can be slow or unreadable as well."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.wakes_error: Exception | None = None
        """Raised by every look at the whole table."""
        self.wakes_gate = asyncio.Event()
        self.wakes_gate.set()
        self.looks = 0
        """How often somebody asked for the next wake-up of all."""
        self.looking = 0
        """How many of these still wait for the answer."""

    async def wakes(self, shards: Any, until_ns: int, limit: int) -> Any:
        found = await self.inner.wakes(shards, until_ns, limit)
        if limit != 1:
            return found
        self.looks += 1
        self.looking += 1
        try:
            await self.wakes_gate.wait()
        finally:
            self.looking -= 1
        if self.wakes_error is not None:
            raise self.wakes_error
        return found


class Stage(World):
    """See the module. Time is unlocked with `time.unlock`, or as a client does it, with `unlock`."""

    def __init__(self, opened: TimeSkippingNode, store: WakeStore, real: SimClock) -> None:
        super().__init__(opened.node, store)
        self.store = store
        self.opened = opened
        self.time = opened.time
        self.real = real
        self._real_began_ns = real.monotonic_ns()
        self._began_ns = opened.time.clock.now_ns()

    @property
    def real_s(self) -> float:
        """Real seconds since the beginning."""
        return (self.real.monotonic_ns() - self._real_began_ns) / SECOND_NS

    @property
    def now_s(self) -> float:
        """Seconds of test time since the beginning."""
        return (self.time.clock.now_ns() - self._began_ns) / SECOND_NS

    def at_ns(self, seconds: float) -> int:
        """The moment of test time that is `seconds` after the beginning."""
        return self._began_ns + int(seconds * SECOND_NS)

    async def test_call(self, name: str, request: Any = None) -> Any:
        method = TEST_SERVICE[name]
        given = method.request_type() if request is None else request
        return await self.node.frontend.dispatch(method, given)

    async def lock(self) -> None:
        await self.test_call("LockTimeSkipping")

    async def unlock(self) -> None:
        await self.test_call("UnlockTimeSkipping")

    async def sleep(self, seconds: float, *, unlock: bool = False) -> None:
        name = "UnlockTimeSkippingWithSleep" if unlock else "Sleep"
        request = testservice.SleepRequest(duration=duration(int(seconds * SECOND_NS)))
        await self.test_call(name, request)

    async def sleep_until(self, seconds: float) -> None:
        at = testservice.SleepUntilRequest(timestamp=timestamp(self.at_ns(seconds)))
        await self.test_call("SleepUntil", at)

    async def asked_s(self) -> float:
        """What GetCurrentTime says, in seconds since the beginning."""
        reply = await self.test_call("GetCurrentTime", Empty())
        return (timestamp_ns(reply.time) - self._began_ns) / SECOND_NS

    async def work(self, key: EntityKey) -> Work:
        """What the run is doing, read from its state."""
        return await self.engine.read(key, RUNS.work)

    async def key(self, workflow_id: str) -> EntityKey:
        """Of the id's current run."""
        request = workflowservice.DescribeWorkflowExecutionRequest(namespace="default")
        request.execution.workflow_id = workflow_id
        reply = await self.call("DescribeWorkflowExecution", request)
        run_id = reply.workflow_execution_info.execution.run_id
        return run_key(self.namespace_id, workflow_id, run_id)

    async def check_work(self, keys: Iterable[EntityKey]) -> None:
        """What time knows of these runs, which are all, is what their states say."""
        await self.engine.committer.flush()
        true = {key: work for key in keys if (work := await self.work(key))}
        time = self.time
        assert time.work == true
        assert time._activities == sum(len(work.attempts) for work in true.values())
        assert time._in_workflow_tasks == sum(work.is_in_workflow_task for work in true.values())
        assert time._since_ns.keys() == {key for key, work in true.items() if work.queues}
        assert not time._unsettled

    async def history(self, key: EntityKey) -> Sequence[history_pb.HistoryEvent]:
        request = workflowservice.GetWorkflowExecutionHistoryRequest(
            namespace="default",
            execution=common.WorkflowExecution(workflow_id=key.name, run_id=key.run_id),
        )
        reply = await self.call("GetWorkflowExecutionHistory", request)
        return reply.history.events

    async def fail_activity(self, token: bytes) -> None:
        request = workflowservice.RespondActivityTaskFailedRequest(
            namespace="default", task_token=token, identity="me"
        )
        request.failure.message = "not yet"
        request.failure.application_failure_info.type = "Again"
        await self.call("RespondActivityTaskFailed", request)

    async def started_run(self, workflow_id: str, *commands: command.Command) -> EntityKey:
        """A run whose first workflow task has been completed with these commands."""
        key = await self.start(workflow_id)
        await self.complete_next(*commands)
        return key

    async def complete_next(self, *commands: command.Command) -> None:
        """Fetch a workflow task and complete it."""
        task = await self.poll()
        assert task.task_token, "there is a workflow task"
        await self.complete(task.task_token, *commands)

    async def poll_queue(
        self, queue: str, timeout_s: float
    ) -> workflowservice.PollActivityTaskQueueResponse:
        """Poll for activity tasks of another queue."""
        request = workflowservice.PollActivityTaskQueueRequest(
            namespace="default", task_queue=taskqueue.TaskQueue(name=queue), identity="me"
        )
        return await self.call("PollActivityTaskQueue", request, timeout_s)


def timer(seconds: float, timer_id: str = "t") -> command.Command:
    return start_timer(timer_id, int(seconds * SECOND_NS))


def staged(test: Callable[[Stage], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test function that plays `test` on a fresh stage."""

    async def play(loop: SimLoop) -> None:
        store = WakeStore(open_memory(shard_count=1))
        real = SimClock(loop)
        opened = await open_time_skipping_node(real=real, store=cast("Store", store))
        try:
            await test(Stage(opened, store, real))
        finally:
            for gate in (store.gate, store.load_gate, store.wakes_gate):
                gate.set()
            store.wakes_error = None
            await opened.close()

    def run() -> None:
        loop = SimLoop()
        with seeded_ids(Random(0)):
            loop.run(play(loop))

    run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
    return run
