"""Each option of a worker has its effect: on what it asks the server for, on what runs at once, on how it ends."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable
from concurrent.futures import BrokenExecutor
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.client import Client, Interceptor, WorkflowFailureError
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError
from perdure.service import ConnectConfig, ServiceClient
from perdure.service.client import connect
from perdure.wire.api import enums
from perdure.wire.seam import WORKFLOW_SERVICE
from perdure.worker import ActivityInboundInterceptor, Worker
from perdure.worker import Interceptor as WorkerInterceptor
from perdure.worker.worker import default_build_id
from tests.unit.worker.sealing import Recording

SHORT = timedelta(seconds=20)
ONCE = RetryPolicy(maximum_attempts=1)


class Outside:
    """What activities share with their test."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.began = asyncio.Event()
        self.heard = asyncio.Event()
        self.gate = asyncio.Event()
        self.told: list[str] = []


outside: Outside


@pytest.fixture(autouse=True)
async def new_outside() -> None:
    global outside  # noqa: PLW0603 - activities are plain functions
    outside = Outside()


@activity.defn
async def count() -> None:
    outside.running += 1
    outside.most = max(outside.most, outside.running)
    # Whatever else may start does so while this one waits its turn.
    for _ in range(50):
        await asyncio.sleep(0)
    outside.running -= 1


@activity.defn
async def hold() -> str:
    outside.began.set()
    try:
        await activity.wait_for_worker_shutdown()
        outside.told.append("shutdown")
        outside.heard.set()
        await outside.gate.wait()
    except asyncio.CancelledError:
        outside.told.append("cancelled")
        outside.heard.set()
        raise
    return "finished"


@activity.defn
async def break_down() -> None:
    raise BrokenExecutor("a process died")


@activity.defn
async def beat_twice() -> None:
    activity.heartbeat(1)
    await asyncio.sleep(0)
    activity.heartbeat(2)
    await outside.gate.wait()


@workflow.defn
class Calls:
    @workflow.run
    async def run(self, name: str, number: int, local: bool) -> None:
        start = workflow.start_local_activity if local else workflow.start_activity
        started = [
            start(name, start_to_close_timeout=SHORT, retry_policy=ONCE) for _ in range(number)
        ]
        await asyncio.gather(*started)


@workflow.defn
class Raises:
    @workflow.run
    async def run(self) -> None:
        raise ValueError("a bug, or not")


class World:
    """A client of an engine in this process, and what workers ask it for."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.client = Client(ServiceClient(ConnectConfig("memory:", identity="me"), recording))

    def requests(self, name: str) -> list[Any]:
        kind: Any = WORKFLOW_SERVICE[name].request_type
        return [kind.FromString(data) for called, data in self.recording.requests if called == name]

    def worker(self, **options: Any) -> Worker:
        given: dict[str, Any] = {
            "task_queue": "q",
            "workflows": [Calls, Raises],
            "activities": [count, hold, break_down, beat_twice],
        }
        return Worker(self.client, **{**given, **options})

    async def run(self, name: str = "count", number: int = 1, *, local: bool = False) -> None:
        async with asyncio.timeout(60):
            await self.client.execute_workflow(
                Calls.run, args=[name, number, local], id="w", task_queue="q"
            )


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(Recording(await connect("memory:")))
    async with made.client:
        yield made


def _named(request: Any) -> tuple[str, str, str]:
    stamp = request.deployment_options
    return (request.namespace, request.identity, stamp.build_id)


@workflow.defn
class AsksForItsBuild:
    def __init__(self) -> None:
        self.is_released = False

    @workflow.run
    async def run(self) -> list[str]:
        builds = [workflow.info().get_current_build_id()]
        await workflow.wait_condition(lambda: self.is_released)
        return [*builds, workflow.info().get_current_build_id()]

    @workflow.signal
    def release(self) -> None:
        self.is_released = True

    @workflow.query
    def build(self) -> str:
        return workflow.info().get_current_build_id()


async def test_workflow_code_learns_the_build_of_each_task_and_replay_repeats_it(
    world: World,
) -> None:
    def worker(build_id: str) -> Worker:
        return Worker(world.client, task_queue="q", workflows=[AsksForItsBuild], build_id=build_id)

    async with worker("build-1"):
        handle = await world.client.start_workflow(AsksForItsBuild.run, id="w", task_queue="q")
        assert await handle.query(AsksForItsBuild.build) == "build-1"
    async with worker("build-2"):
        # Nothing has been done by this worker yet: it only repeats what the other one did.
        assert await handle.query(AsksForItsBuild.build) == "build-1"
        await handle.signal(AsksForItsBuild.release)
        assert await handle.result() == ["build-1", "build-2"]


async def test_polls_and_answers_say_who_the_worker_is(world: World) -> None:
    async with world.worker(
        identity="worker-1",
        build_id="build-1",
        max_task_queue_activities_per_second=7.5,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=3, microseconds=5),
    ):
        await world.run()
    workflows, activities = (
        world.requests(f"Poll{kind}TaskQueue") for kind in ("Workflow", "Activity")
    )
    (completed, _) = world.requests("RespondWorkflowTaskCompleted")
    for request in (*workflows, *activities, completed):
        assert _named(request) == ("default", "worker-1", "build-1")
    assert completed.worker_version_stamp.build_id == "build-1"
    keys = {request.worker_instance_key for request in (*workflows, *activities, completed)}
    assert len(keys) == 1
    assert keys != {""}
    rates = {request.task_queue_metadata.max_tasks_per_second.value for request in activities}
    assert rates == {7.5}
    normal = {r.task_queue.name for r in workflows if r.task_queue.kind == 1}
    sticky = {
        (r.task_queue.name, r.task_queue.normal_name) for r in workflows if r.task_queue.kind == 2
    }
    ((sticky_name, normal_name),) = sticky
    assert (normal, normal_name) == ({"q"}, "q")
    assert sticky_name.startswith("worker-1-")
    attributes = completed.sticky_attributes
    assert attributes.worker_task_queue.name == sticky_name
    assert attributes.worker_task_queue.normal_name == "q"
    assert attributes.worker_task_queue.kind == enums.TASK_QUEUE_KIND_STICKY
    assert attributes.schedule_to_start_timeout.ToTimedelta() == timedelta(
        seconds=3, microseconds=5
    )
    assert completed.return_new_workflow_task
    (ended,) = world.requests("ShutdownWorker")
    assert (ended.identity, ended.sticky_task_queue, ended.task_queue) == (
        "worker-1",
        sticky_name,
        "q",
    )
    assert {ended.worker_instance_key} == keys


@pytest.mark.parametrize(
    "options", [{"max_cached_workflows": 0}, {"max_concurrent_workflow_tasks": 1}]
)
async def test_without_a_sticky_queue(world: World, options: dict[str, Any]) -> None:
    async with world.worker(**options):
        await world.run()
    assert {r.task_queue.kind for r in world.requests("PollWorkflowTaskQueue")} == {1}
    for completed in world.requests("RespondWorkflowTaskCompleted"):
        assert not completed.HasField("sticky_attributes")
        assert not completed.return_new_workflow_task


@pytest.mark.parametrize("local", [False, True])
async def test_so_many_activities_run_at_once(world: World, local: bool) -> None:
    name = "max_concurrent_local_activities" if local else "max_concurrent_activities"
    async with world.worker(**{name: 2}):
        await world.run("count", 6, local=local)
    assert outside.most == 2


def eager(world: World) -> list[bool]:
    return [
        command.schedule_activity_task_command_attributes.request_eager_execution
        for request in world.requests("RespondWorkflowTaskCompleted")
        for command in request.commands
        if command.command_type == enums.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK
    ]


@pytest.mark.parametrize("disabled", [False, True])
async def test_eager_activities_can_be_switched_off(world: World, disabled: bool) -> None:
    async with world.worker(disable_eager_activity_execution=disabled):
        await world.run()
    assert eager(world) == [not disabled]


async def test_a_worker_may_leave_activities_to_others(world: World) -> None:
    other = World(world.recording)
    async with (
        world.worker(no_remote_activities=True),
        other.worker(workflows=[], identity="for activities"),
    ):
        await world.run()
    assert {r.identity for r in world.requests("PollActivityTaskQueue")} == {"for activities"}
    assert {r.identity for r in world.requests("PollWorkflowTaskQueue")} == {"me"}
    assert eager(world) == [False]


async def test_errors_that_fail_workflows(world: World) -> None:
    async with world.worker(workflow_failure_exception_types=[ValueError]):
        with pytest.raises(WorkflowFailureError) as caught:
            await world.client.execute_workflow(Raises.run, id="r", task_queue="q")
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == "ValueError"
    assert world.requests("RespondWorkflowTaskFailed") == []


@pytest.mark.parametrize(("interval", "sent"), [(timedelta(), 2), (timedelta(hours=1), 1)])
@pytest.mark.parametrize(
    "option", ["default_heartbeat_throttle_interval", "max_heartbeat_throttle_interval"]
)
async def test_heartbeats_are_throttled(
    world: World, option: str, interval: timedelta, sent: int
) -> None:
    other = {"default_heartbeat_throttle_interval": timedelta(hours=1)}
    if option.startswith("default"):
        other = {"max_heartbeat_throttle_interval": timedelta(hours=1)}
    async with world.worker(**{option: interval, **other}):
        running = asyncio.ensure_future(world.run("beat_twice"))
        await world.recording.until("RecordActivityTaskHeartbeat", sent)
        for _ in range(50):
            await asyncio.sleep(0)
        outside.gate.set()
        await running
    assert len(world.requests("RecordActivityTaskHeartbeat")) == sent


async def _hold(world: World, grace: timedelta, *, open_gate: bool) -> Awaitable[Any]:
    worker = world.worker(graceful_shutdown_timeout=grace)
    async with worker:
        handle = await world.client.start_workflow(
            Calls.run, args=["hold", 1, False], id="w", task_queue="q"
        )
        await outside.began.wait()
        assert (worker.is_running, worker.is_shutdown) == (True, False)
        ending = asyncio.ensure_future(worker.shutdown())
        await outside.heard.wait()
        if open_gate:
            outside.gate.set()
        await ending
        assert (worker.is_running, worker.is_shutdown) == (False, True)
    return handle.result()


async def test_activities_may_finish_within_the_graceful_time(world: World) -> None:
    result = await _hold(world, timedelta(hours=1), open_gate=True)
    assert outside.told == ["shutdown"]
    async with world.worker(activities=[count]):
        await result


async def test_activities_are_cancelled_after_it(world: World) -> None:
    result = await _hold(world, timedelta(), open_gate=False)
    assert outside.told[-1] == "cancelled"
    async with world.worker():
        with pytest.raises(WorkflowFailureError) as caught:
            await result
    assert isinstance(caught.value.cause, ActivityError)
    assert isinstance(caught.value.cause.cause, ApplicationError)
    assert caught.value.cause.cause.type == "WorkerShutdown"


async def test_a_broken_executor_ends_the_worker_and_its_block(world: World) -> None:
    told: list[BaseException] = []

    async def tell(error: BaseException) -> None:
        told.append(error)

    with pytest.raises(BrokenExecutor, match="a process died"):
        async with world.worker(on_fatal_error=tell):
            await world.client.start_workflow(
                Calls.run, args=["break_down", 1, False], id="w", task_queue="q"
            )
            await asyncio.Event().wait()
    assert [str(each) for each in told] == ["a process died"]


async def test_a_namespace_that_does_not_exist(world: World) -> None:
    client = Client(world.client.service_client, namespace="nowhere")
    worker = Worker(client, task_queue="q", workflows=[Calls])
    with pytest.raises(RuntimeError, match=r"Worker validation failed: .*nowhere"):
        await worker.run()
    assert worker.is_shutdown
    with pytest.raises(RuntimeError, match="Already started"):
        await worker.run()
    with pytest.raises(RuntimeError, match="Already started"):
        await worker.__aenter__()


async def test_a_worker_that_never_ran(world: World) -> None:
    worker = world.worker()
    assert (worker.is_running, worker.is_shutdown) == (False, False)
    assert (worker.task_queue, worker.client) == ("q", world.client)
    await worker.shutdown()
    await worker.run()
    assert worker.is_shutdown
    forgotten = Client.connect("memory:")
    with pytest.raises(TypeError, match="was not awaited"):
        Worker(forgotten, task_queue="q", workflows=[Calls])  # pyright: ignore[reportArgumentType]
    forgotten.close()


class Both(Interceptor, WorkerInterceptor):
    """Given to the client, it is also the worker's."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        self.log.append(self.name)
        return next


async def test_interceptors_of_the_client_come_before_those_of_the_worker(world: World) -> None:
    log: list[str] = []
    client = Client(
        world.client.service_client, interceptors=[Interceptor(), Both("client's", log)]
    )
    async with Worker(
        client,
        task_queue="q",
        workflows=[Calls],
        activities=[count],
        interceptors=[Both("worker's", log)],
    ):
        await world.run()
    # Wrapped from the innermost one outwards.
    assert log == ["worker's", "client's"]


def test_the_build_id_is_that_of_the_main_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert default_build_id() == "interactive"
    main.__file__ = str(tmp_path / "missing.py")
    assert default_build_id() == "unknown"
    ids: set[str] = set()
    for text in ("one", "two"):
        (tmp_path / "main.py").write_text(text)
        main.__file__ = str(tmp_path / "main.py")
        ids.add(default_build_id())
    assert len(ids) == 2
    assert {len(each) for each in ids} == {16}
