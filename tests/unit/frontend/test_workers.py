"""Workers as a whole: shutting down, polls of Nexus tasks, poller lists, and lists of what does not exist."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.core.units import SECOND_NS
from perdure.server.frontend.empty_lists import EMPTY_LISTS
from perdure.wire.api import enums
from perdure.wire.errors import FailedPrecondition, InvalidArgument, NotFound
from tests.harness.builders import continue_as_new
from tests.unit.frontend.conftest import (
    QUEUE,
    Caller,
    schedule_activity,
    settle,
    virtual_caller,
)
from tests.unit.server.virtual import on_virtual_time

STICKY = {"name": "sticky", "kind": enums.TASK_QUEUE_KIND_STICKY, "normal_name": QUEUE}
WORKFLOW, ACTIVITY, NEXUS = (
    enums.TASK_QUEUE_TYPE_WORKFLOW,
    enums.TASK_QUEUE_TYPE_ACTIVITY,
    enums.TASK_QUEUE_TYPE_NEXUS,
)
POLLS = {
    "workflow": ("PollWorkflowTaskQueue", {"name": QUEUE}, "mine"),
    "activity": ("PollActivityTaskQueue", {"name": QUEUE}, "mine"),
    "nexus": ("PollNexusTaskQueue", {"name": QUEUE}, "mine"),
    "sticky": ("PollWorkflowTaskQueue", STICKY, "mine"),
    "another queue": ("PollWorkflowTaskQueue", {"name": "another"}, "mine"),
    "another key": ("PollWorkflowTaskQueue", {"name": QUEUE}, "another"),
    "no key": ("PollWorkflowTaskQueue", {"name": QUEUE}, ""),
}
MINE: dict[str, Any] = {"worker_instance_key": "mine"}


def parked(caller: Caller, which: str, wait_s: int = 61, **fields: Any) -> asyncio.Task[Any]:
    name, queue, key = POLLS[which]
    fields = {"task_queue": queue, "worker_instance_key": key, "identity": which, **fields}
    work = caller.call(name, timeout_ns=wait_s * SECOND_NS, **fields)
    return asyncio.get_running_loop().create_task(work)


@pytest.mark.parametrize(
    ("fields", "ended"),
    [
        ({}, ""),
        (MINE, ""),
        (MINE | {"task_queue_types": [WORKFLOW]}, ""),
        ({"task_queue": QUEUE, "task_queue_types": [WORKFLOW]}, ""),
        (MINE | {"task_queue": QUEUE}, "workflow activity nexus"),
        (MINE | {"task_queue": QUEUE, "task_queue_types": [WORKFLOW]}, "workflow"),
        (MINE | {"task_queue": QUEUE, "task_queue_types": [ACTIVITY]}, "activity"),
        (MINE | {"task_queue": QUEUE, "task_queue_types": [NEXUS]}, "nexus"),
        (MINE | {"task_queue": QUEUE, "task_queue_types": [ACTIVITY, NEXUS]}, "activity nexus"),
        (MINE | {"task_queue": QUEUE, "task_queue_types": [0]}, ""),
        (MINE | {"task_queue": "unknown"}, ""),
        ({"sticky_task_queue": "sticky"}, "sticky"),
        (MINE | {"sticky_task_queue": "sticky"}, "sticky"),
        (
            MINE | {"task_queue": QUEUE, "task_queue_types": [WORKFLOW], "sticky_task_queue": "sticky"},
            "workflow sticky",
        ),
        (MINE | {"task_queue": QUEUE, "namespace": "second"}, ""),
    ],
)  # fmt: skip
@on_virtual_time
async def test_a_worker_that_shuts_down_ends_its_polls_of_what_it_names(
    fields: dict[str, Any], ended: str
):
    async with virtual_caller() as caller:
        await caller.call("RegisterNamespace", namespace="second")
        polls = {which: parked(caller, which) for which in POLLS}
        await settle()
        await caller.call("ShutdownWorker", **fields)
        await settle()
        assert [which for which, poll in polls.items() if poll.done()] == ended.split()
        assert not any(polls[which].result().task_token for which in ended.split())
        assert asyncio.get_running_loop().time() == 0
        # Only these are also answered early for a moment.
        late = {which: parked(caller, which) for which in POLLS}
        await asyncio.sleep(1.5)
        with_key = [] if "worker_instance_key" not in fields else ended.split()
        assert [which for which, poll in late.items() if poll.done()] == with_key
        for poll in (*polls.values(), *late.values()):
            poll.cancel()


@on_virtual_time
async def test_a_new_worker_of_the_same_process_and_queue_gets_tasks():
    async with virtual_caller() as caller:
        await caller.call("ShutdownWorker", **MINE, task_queue=QUEUE, sticky_task_queue="sticky")
        await caller.start()
        polls = 0
        while not (await parked(caller, "workflow")).task_token:
            polls += 1
        assert polls == 2
        assert asyncio.get_running_loop().time() == 2


@on_virtual_time
async def test_a_poll_of_nexus_tasks_waits_and_is_answered_empty():
    async with virtual_caller() as caller:
        poll = parked(caller, "nexus", 10)
        assert not (await poll).task_token
        assert asyncio.get_running_loop().time() == 9
        with pytest.raises(FailedPrecondition, match="long poll"):
            await parked(caller, "nexus", 1)
        for queue, reason in (({}, "TaskQueue is not set"), ({"name": "x" * 1_001}, "length")):
            with pytest.raises(InvalidArgument, match=reason):
                await parked(caller, "nexus", task_queue=queue)
        with pytest.raises(InvalidArgument, match="Identity"):
            await parked(caller, "nexus", identity="x" * 1_001)
        with pytest.raises(NotFound):
            await parked(caller, "nexus", namespace="nowhere")
        last = parked(caller, "nexus")
        await settle()
        await caller.node.stop_polls()
        assert not (await last).task_token, "a node that ends waits for nobody"


async def test_pollers_are_those_of_the_type_that_is_asked_for(caller: Caller):
    polls = [parked(caller, which) for which in ("workflow", "activity", "nexus")]
    await settle()
    types = {0: "workflow", WORKFLOW: "workflow", ACTIVITY: "activity", NEXUS: "nexus"}
    for asked, expected in types.items():
        answer = await caller.call(
            "DescribeTaskQueue", task_queue={"name": QUEUE}, task_queue_type=asked
        )
        assert [poller.identity for poller in answer.pollers] == [expected]
    for poll in polls:
        poll.cancel()


def request(name: str, value: int) -> dict[str, Any]:
    return {name: value}


@pytest.mark.parametrize("method", EMPTY_LISTS, ids=lambda method: method.name)
async def test_lists_of_what_does_not_exist_are_empty(caller: Caller, method: Any):
    fields = method.request_type.DESCRIPTOR.fields_by_name
    assert await caller.call(method.name) == method.response_type()
    if "namespace" in fields:
        with pytest.raises(NotFound, match="nowhere"):
            await caller.call(method.name, namespace="nowhere")
        with pytest.raises(InvalidArgument, match="Namespace is not set"):
            await caller.call(method.name, namespace="")
    for name in {"page_size", "maximum_page_size"}.intersection(fields):
        with pytest.raises(InvalidArgument, match="must not be negative"):
            await caller.call(method.name, **request(name, -1))
        assert await caller.call(method.name, **request(name, 5)) == method.response_type()
    if "next_page_token" in fields:
        with pytest.raises(InvalidArgument, match="Invalid NextPageToken"):
            await caller.call(method.name, next_page_token=b"x")


def test_the_lists_that_tools_ask_for_are_there():
    names = {method.name for method in EMPTY_LISTS}
    assert names >= {"ListBatchOperations", "ListNexusEndpoints", "ListSchedules", "ListWorkerDeployments"}  # fmt: skip


def version(build_id: str) -> dict[str, Any]:
    return {"worker_version_capabilities": {"build_id": build_id}}


async def test_histories_name_the_builds_of_workers(caller: Caller):
    await caller.start()
    task = await caller.poll(**version("one"))
    (*_, started) = task.history.events
    assert started.workflow_task_started_event_attributes.worker_version.build_id == "one"
    await caller.call("RespondWorkflowTaskFailed", task_token=task.task_token)
    task = await caller.poll(deployment_options={"build_id": "two"})  # an attempt without events
    (*_, started) = task.history.events
    assert started.workflow_task_started_event_attributes.worker_version.build_id == "two"
    inline = await caller.complete(
        task,
        schedule_activity(),
        worker_version_stamp={"build_id": "two"},
        force_create_new_workflow_task=True,
        return_new_workflow_task=True,
    )
    activity = await caller.call(
        "PollActivityTaskQueue", task_queue={"name": QUEUE}, identity="w", **version("three")
    )
    await caller.call("RespondActivityTaskCompleted", task_token=activity.task_token)
    await caller.complete(inline.workflow_task, worker_version_stamp={"build_id": "two"})
    await caller.complete(await caller.poll(binary_checksum="four"), binary_checksum="four")
    events = (await caller.history()).history.events
    tasks = [each.workflow_task_started_event_attributes.worker_version for each in events]
    activities = [each.activity_task_started_event_attributes.worker_version for each in events]
    assert [stamp.build_id for stamp in tasks if stamp.build_id] == ["one", "two", "two", "four"]
    assert [stamp.build_id for stamp in activities if stamp.build_id] == ["three"]


async def test_describe_tells_the_last_build_and_where_each_began(caller: Caller):
    run_id = await caller.start()
    described = await caller.call("DescribeWorkflowExecution", execution={"workflow_id": "w"})
    info = described.workflow_execution_info
    assert info.HasField("auto_reset_points")
    assert not info.auto_reset_points.points
    assert not info.HasField("most_recent_worker_version_stamp")
    completed: list[int] = []
    for build in ("one", "one", "two", "one"):
        await caller.signal()
        task = await caller.poll()
        await caller.complete(task, worker_version_stamp={"build_id": build})
        completed.append(task.started_event_id + 1)
    described = await caller.call("DescribeWorkflowExecution", execution={"workflow_id": "w"})
    info = described.workflow_execution_info
    assert info.most_recent_worker_version_stamp.build_id == "one"
    points = [
        (point.build_id, point.run_id, point.first_workflow_task_completed_id, point.resettable)
        for point in info.auto_reset_points.points
    ]
    expected = [("one", run_id, completed[0], True), ("two", run_id, completed[2], True)]
    assert points == expected
    await caller.signal()
    await caller.complete(await caller.poll(), continue_as_new(), binary_checksum="sum")
    described = await caller.call("DescribeWorkflowExecution", execution={"workflow_id": "w"})
    info = described.workflow_execution_info
    assert info.execution.run_id != run_id
    names = [(point.build_id, point.binary_checksum) for point in info.auto_reset_points.points]
    assert names == [("one", ""), ("two", ""), ("", "sum")]
    assert not info.HasField("most_recent_worker_version_stamp"), "of this run"


async def test_the_reset_points_of_many_builds_are_the_latest(caller: Caller):
    await caller.start()
    for number in range(22):
        await caller.signal()
        build = {"build_id": f"build {number}"}
        await caller.complete(await caller.poll(), worker_version_stamp=build)
    described = await caller.call("DescribeWorkflowExecution", execution={"workflow_id": "w"})
    points = described.workflow_execution_info.auto_reset_points.points
    assert [point.build_id for point in points] == [f"build {number}" for number in range(2, 22)]
