"""Task rows that nobody will ever poll go; all others stay."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.core.ids import QueueKey, QueueKind
from perdure.core.units import DAY_NS
from perdure.server.timers import row_sweep
from perdure.wire.api import enums, taskqueue, workflowservice
from tests.harness.builders import complete_workflow, schedule_activity
from tests.unit.server.world import World


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_sweep, "GRACE_NS", -1)


async def rows(world: World, queue: str = "q", kind: QueueKind = QueueKind.WORKFLOW) -> list[str]:
    """Names of the runs that have a task row in the queue."""
    key = QueueKey(world.namespace_id, queue, kind)
    found = [
        row.task.entity.name
        for shard_id in world.engine.owned_shards()
        for row in await world.faults.inner.tasks(key, shard_id, 0, 1_000)
    ]
    return sorted(found)


async def sweep(world: World) -> int:
    return await world.engine.row_sweep.sweep()


async def stick(world: World, token: bytes, timeout_ms: int, *commands: Any) -> None:
    """Complete a workflow task and ask for a sticky queue."""
    sticky = taskqueue.StickyExecutionAttributes(
        worker_task_queue=taskqueue.TaskQueue(
            name="sticky", kind=enums.TASK_QUEUE_KIND_STICKY, normal_name="q"
        )
    )
    sticky.schedule_to_start_timeout.FromMilliseconds(timeout_ms)
    await world.call(
        "RespondWorkflowTaskCompleted",
        workflowservice.RespondWorkflowTaskCompletedRequest(
            namespace="default", task_token=token, sticky_attributes=sticky, commands=commands
        ),
    )


async def poll_sticky(world: World) -> None:
    key = QueueKey(world.namespace_id, "sticky", QueueKind.WORKFLOW)
    assert await world.node.matching.poll(key, identity="w", wait_ns=1, normal_queue="q") is None


async def test_a_row_of_an_open_run_stays_and_one_of_a_closed_run_goes(world: World):
    for name in ("open", "closed"):
        await world.start(name)
    await world.terminate("closed")
    assert await rows(world) == ["closed", "open"]
    assert await sweep(world) == 1
    assert await rows(world) == ["open"]
    assert await sweep(world) == 0
    assert (await world.poll()).workflow_execution.workflow_id == "open"


async def test_rows_of_a_dead_workers_sticky_queue_go(world: World):
    run = await world.start()
    await stick(world, (await world.poll()).task_token, 20)
    await poll_sticky(world)  # its worker was here
    await world.signal()
    assert await rows(world, "sticky") == ["w"], "nobody polls the sticky queue"
    assert await sweep(world) == 0, "its time is not up: a worker might still come"
    await asyncio.sleep(0.03)
    await world.engine.clock_control.fire(run)
    assert (await rows(world, "sticky"), await rows(world)) == (["w"], ["w"])
    world.forget(run)
    assert await sweep(world) == 1, "the run's state is read again to decide"
    assert (await rows(world, "sticky"), await rows(world)) == ([], ["w"])
    await world.check_memory(run)


async def test_a_sticky_queue_that_nobody_polled_gives_its_task_to_everyone(world: World):
    run = await world.start()
    await stick(world, (await world.poll()).task_token, 100_000)
    await world.signal()
    task = await world.poll()
    assert task.workflow_execution.run_id == run.run_id
    assert task.history.events, "another worker needs the whole history"
    assert (await rows(world, "sticky"), await rows(world)) == ([], [])
    await world.check_memory(run)
    await world.complete(task.task_token, complete_workflow())


async def test_activity_rows_of_closed_and_of_deleted_runs_go(world: World):
    keys = {name: await world.start(name) for name in ("closed", "deleted", "open")}
    for _ in keys:
        await world.complete((await world.poll()).task_token, schedule_activity())
    for name in ("closed", "deleted"):
        await world.terminate(name)
    assert await world.engine.delete(keys["deleted"])
    assert await rows(world, kind=QueueKind.ACTIVITY) == ["closed", "deleted", "open"]
    assert await sweep(world) == 2
    assert await rows(world, kind=QueueKind.ACTIVITY) == ["open"]
    task = await world.poll_activity()
    assert task.workflow_execution.workflow_id == "open"


async def test_many_pages(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(row_sweep, "PAGE_ROWS", 3)
    names = [f"w{n}" for n in range(10)]
    for name in names:
        await world.start(name)
    for name in names[:6]:
        await world.terminate(name)
    assert await sweep(world) == 6
    assert await rows(world) == names[6:]


async def test_a_run_that_cannot_be_read_keeps_its_rows_and_hinders_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    from perdure.wire import errors

    for name in ("damaged", "closed"):
        await world.start(name)
        await world.terminate(name)
    ready = world.engine.entities.ready

    async def damaged(*keys: Any) -> Any:
        if keys[0].name == "damaged":
            raise errors.DataLoss("cannot be read back")
        return await ready(*keys)

    monkeypatch.setattr(world.engine.entities, "ready", damaged)
    assert await sweep(world) == 1
    assert await rows(world) == ["damaged"]


async def test_closed_runs_stay_for_as_long_as_their_namespace_says(world: World):
    await world.engine.namespaces.keep_runs("default", DAY_NS)
    await world.start("short")
    await world.terminate("short")
    await world.engine.namespaces.keep_runs("default", 30 * DAY_NS)
    await world.start("long")
    task = await world.poll()
    if task.workflow_execution.workflow_id == "short":
        task = await world.poll()
    await world.complete(task.task_token, complete_workflow())
    now_ns = world.engine._clock.now_ns()

    async def expired(days: int) -> list[str]:
        found = await world.faults.inner.expired(
            world.engine.owned_shards(), now_ns + days * DAY_NS, 10
        )
        return sorted(key.name for key in found)

    assert await expired(2) == ["short"]
    assert await expired(29) == ["short"]
    assert await expired(31) == ["long", "short"]
