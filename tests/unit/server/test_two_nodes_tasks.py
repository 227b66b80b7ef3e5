"""Task queues and workers across two nodes: tasks, sticky queues, and queries on their way to a worker."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.core.ids import QueueKind
from perdure.core.units import SECOND_NS
from perdure.wire.api import command, enums
from perdure.wire.errors import NotFound
from tests.harness.builders import complete_workflow, schedule_activity
from tests.unit.frontend.conftest import Caller, settle
from tests.unit.server.cluster import two_nodes
from tests.unit.server.sides import Side, both_ways, run_of, value
from tests.unit.server.virtual import on_virtual_time


def activity(queue: str, activity_id: str = "x") -> command.Command:
    return schedule_activity(activity_id, queue, timeout_s=60, retry_policy={"maximum_attempts": 1})


@pytest.mark.parametrize("is_parked", [True, False])
@both_ways
@on_virtual_time
async def test_activities_of_runs_whose_queue_is_on_the_other_node(here: str, is_parked: bool):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        await side.start(side.own)
        queue = cluster.named(side.there, "activities")

        def poll() -> asyncio.Task[Any]:
            return side.later(
                "PollActivityTaskQueue", task_queue={"name": queue}, identity="worker"
            )

        polls = [poll() for _ in range(3)] if is_parked else []
        await settle()
        await side.step(side.own, *(activity(queue, each) for each in ("x", "y", "z")))
        tasks = [await each for each in polls or [poll() for _ in range(3)]]
        assert {task.activity_id for task in tasks} == {"x", "y", "z"}
        x, y, z = (task.task_token for task in sorted(tasks, key=lambda task: task.activity_id))
        assert cluster.messages("StartTask") >= 3
        await side.caller.call("RecordActivityTaskHeartbeat", task_token=x)
        await side.caller.call("RespondActivityTaskCompleted", task_token=x, identity="worker")
        await side.caller.call("RespondActivityTaskFailed", task_token=y, failure={"message": "no"})
        by_id: dict[str, Any] = {"workflow_id": side.own, "activity_id": "z"}
        await side.caller.call("RecordActivityTaskHeartbeatById", **by_id)
        await side.caller.call("RespondActivityTaskCompletedById", **by_id)
        with pytest.raises(NotFound):
            await side.caller.call("RespondActivityTaskCanceled", task_token=z)
        assert sorted((await side.kinds(side.own))[4:]) == [
            "ACTIVITY_TASK_COMPLETED",
            "ACTIVITY_TASK_COMPLETED",
            "ACTIVITY_TASK_FAILED",
            "ACTIVITY_TASK_STARTED",
            "ACTIVITY_TASK_STARTED",
            "ACTIVITY_TASK_STARTED",
        ]


@both_ways
@on_virtual_time
async def test_pauses_and_resets_of_activities(here: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        await side.start(side.far)
        await side.step(side.far, activity(side.queue))
        for name in ("PauseActivity", "ResetActivity", "UnpauseActivity"):
            await side.caller.call(name, execution=run_of(side.far), id="x")
        task = await side.later(
            "PollActivityTaskQueue", task_queue={"name": side.queue}, identity="worker"
        )
        assert task.activity_id == "x"


def sticky(queue: str, name: str) -> dict[str, Any]:
    return {"name": name, "kind": enums.TASK_QUEUE_KIND_STICKY, "normal_name": queue}


@pytest.mark.parametrize("is_near", [True, False])
@both_ways
@on_virtual_time
async def test_sticky_queues_whose_workers_live_and_die(here: str, is_near: bool):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        name = cluster.named(here if is_near else side.there, "sticky")
        await side.start(side.own)
        attributes = {
            "worker_task_queue": sticky(side.queue, name),
            "schedule_to_start_timeout": {"seconds": 10},
        }
        worker = side.caller.parked(task_queue=sticky(side.queue, name))
        await settle()
        task = await side.caller.poll(side.queue)
        await side.caller.complete(task, sticky_attributes=attributes)
        await side.caller.signal(side.own)
        task = await worker
        first = task.history.events[0].event_id
        assert first > 1, "the worker knows the run"
        await side.caller.complete(task, sticky_attributes=attributes)
        # The worker ends: its next task is for everybody.
        poll = side.caller.parked(
            task_queue=sticky(side.queue, name), worker_instance_key="instance"
        )
        await settle()
        await asyncio.sleep(0.1)
        await side.caller.call(
            "ShutdownWorker", sticky_task_queue=name, worker_instance_key="instance"
        )
        assert not (await poll).task_token
        await side.caller.signal(side.own)
        task = await side.caller.poll(side.queue)
        assert task.history.events[0].event_id == 1, "a worker that does not know the run"
        await side.caller.call("ResetStickyTaskQueue", execution=run_of(side.own))
        await side.caller.complete(task, complete_workflow())


@both_ways
@on_virtual_time
async def test_what_waits_in_the_queue_of_a_worker_that_ends_moves_to_the_others(here: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        name = cluster.named(here, "sticky")
        await side.start(side.own)
        attributes = {
            "worker_task_queue": sticky(side.queue, name),
            "schedule_to_start_timeout": {"seconds": 1000},
        }
        first = side.caller.parked(task_queue=sticky(side.queue, name))
        await settle()
        await asyncio.sleep(0.1)
        first.cancel()
        task = await side.caller.poll(side.queue)
        await side.caller.complete(task, sticky_attributes=attributes)
        await side.caller.signal(side.own)
        await asyncio.sleep(0.1)
        await side.caller.call("ShutdownWorker", sticky_task_queue=name)
        task = await side.caller.poll(side.queue)
        assert task.workflow_execution.workflow_id == side.own


async def idle_in_cache(side: Side, name: str) -> None:
    """A run of this node that waits in the cache of a worker, which polls the sticky queue of this name."""
    await side.start(side.own)
    attributes = {
        "worker_task_queue": sticky(side.queue, name),
        "schedule_to_start_timeout": {"seconds": 10},
    }
    task = await side.caller.poll(side.queue)
    await side.caller.complete(task, sticky_attributes=attributes)


@pytest.mark.parametrize("is_near", [True, False])
@both_ways
@on_virtual_time
async def test_queries_go_to_the_worker_that_knows_the_run_or_to_another(here: str, is_near: bool):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        name = cluster.named(here if is_near else side.there, "sticky")
        await idle_in_cache(side, name)
        poll = side.caller.parked(task_queue=sticky(side.queue, name))
        await asyncio.sleep(0.1)

        def ask() -> asyncio.Task[Any]:
            return side.later(
                "QueryWorkflow", execution=run_of(side.own), query={"query_type": "stage"}
            )

        async def answered(task: Any, asking: asyncio.Task[Any]) -> None:
            await side.caller.call(
                "RespondQueryTaskCompleted",
                task_token=task.task_token,
                completed_type=enums.QUERY_RESULT_TYPE_ANSWERED,
                query_result=value("x"),
            )
            assert (await asking).query_result == value("x")

        asking = ask()
        task = await poll
        assert not task.history.events, "the worker has the run"
        await answered(task, asking)
        asking = ask()
        await asyncio.sleep(0.5)
        began_s = asyncio.get_running_loop().time()
        await side.caller.call("ShutdownWorker", sticky_task_queue=name)
        task = await side.caller.poll(side.queue)
        assert task.history.events
        assert asyncio.get_running_loop().time() - began_s < 1, "it was moved at once"
        await answered(task, asking)
        assert await cluster.nodes[here].matching.serves(cluster.queue(name)) is False


@pytest.mark.parametrize("is_near", [True, False])
@both_ways
@on_virtual_time
async def test_a_task_for_a_worker_that_is_forgotten_is_moved_by_its_run(here: str, is_near: bool):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        await idle_in_cache(side, cluster.named(here if is_near else side.there, "sticky"))
        poll = side.caller.parked(side.queue)
        await asyncio.sleep(0.1)
        began_s = asyncio.get_running_loop().time()
        await side.caller.signal(side.own)
        task = await poll
        assert task.history.events[0].event_id == 1
        assert asyncio.get_running_loop().time() - began_s < 1
        await side.caller.complete(task, complete_workflow())
        await asyncio.sleep(200)
        shard_ids = cluster.nodes[here].engine.owned_shards()
        rows = await cluster.nodes[here].engine._store.doubtful_tasks(shard_ids, 2**62, None, 10)
        assert rows.tasks == []


@both_ways
@on_virtual_time
async def test_a_query_whose_caller_goes_is_withdrawn(here: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        await idle_in_cache(side, cluster.named(side.there, "sticky"))
        asking = side.later(
            "QueryWorkflow",
            execution=run_of(side.own),
            query={"query_type": "stage"},
            timeout_ns=20 * SECOND_NS,
        )

        def waiting() -> int:
            matching = cluster.nodes[side.there].matching
            return matching.backlog_hint(cluster.namespace_id, side.queue, QueueKind.WORKFLOW)

        await asyncio.sleep(15)
        assert waiting() == 1
        asking.cancel()
        await asyncio.sleep(1)
        assert waiting() == 0


@both_ways
@on_virtual_time
async def test_a_task_that_was_moved_to_a_queue_without_pollers_waits_there(here: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        name = cluster.named(here, "sticky")
        poll = side.caller.parked(task_queue=sticky(side.queue, name))
        await asyncio.sleep(0.1)
        await idle_in_cache(side, name)
        poll.cancel()
        await asyncio.sleep(20)  # the worker is gone, and nobody polls the normal queue
        await side.caller.signal(side.own)
        await asyncio.sleep(1)
        assert cluster.messages("LeaveStickyQueue") == 0
        task = await side.caller.poll(side.queue, timeout_ns=30 * SECOND_NS)
        assert task.workflow_execution.workflow_id == side.own


@both_ways
@on_virtual_time
async def test_a_task_queue_tells_who_polls_it_and_what_waits(here: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        poll = side.caller.parked(side.queue)
        await settle()
        await asyncio.sleep(0.1)
        (poller,) = (
            await side.caller.call("DescribeTaskQueue", task_queue={"name": side.queue})
        ).pollers
        assert poller.identity == "worker"
        await side.start(side.own)
        assert (await poll).workflow_execution.workflow_id == side.own


@both_ways
@on_virtual_time
async def test_a_task_whose_poller_goes_is_given_to_another(here: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        await side.start(side.own)
        poll, taken = side.caller.parked(side.queue), cluster.wire.next("StartTask")
        await taken.wait()
        poll.cancel()
        task = await side.caller.poll(side.queue)
        assert task.workflow_execution.workflow_id == side.own
        await side.caller.complete(task, complete_workflow())


@pytest.mark.parametrize(
    ("away_s", "is_retaken", "at_most_s"), [(1, False, 2), (30, True, 2), (30, False, 61)]
)
@both_ways
@on_virtual_time
async def test_offers_that_were_lost_are_found_again(
    here: str, away_s: float, is_retaken: bool, at_most_s: float
):
    """They are repeated for some seconds, and found in the rows later: once a minute, and when an owner begins anew."""
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        far: Caller = getattr(cluster, side.there)

        async def work() -> Any:
            while not (task := await far.poll(side.queue, timeout_ns=20 * SECOND_NS)).task_token:
                pass
            return task

        working = asyncio.get_running_loop().create_task(work())
        await asyncio.sleep(1)
        cluster.wire.is_cut = True
        await side.start(side.own)
        await asyncio.sleep(away_s)
        assert not working.done()
        cluster.wire.is_cut = False
        began_s = asyncio.get_running_loop().time()
        if is_retaken:
            shards = side.caller.node.engine.shards
            shards.drop(shards.of(cluster.run(side.own, "")), take_again=True)
        assert (await working).workflow_execution.workflow_id == side.own
        assert asyncio.get_running_loop().time() - began_s < at_most_s
