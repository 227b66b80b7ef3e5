"""What a clock that skips time must wait for: a call that may commit is under way from its arrival."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from perdure.core.ids import EntityKey, QueueKey, QueueKind, TaskRowId
from perdure.entity.transition import Task
from perdure.entity.workers import PollInfo
from tests.unit.server.virtual import on_virtual_time, virtual_world
from tests.unit.server.world import World, settle

Work = Callable[[World, EntityKey], Coroutine[Any, Any, Any]]
INFO = PollInfo(identity="i", request_id="r")


async def quiet(world: World) -> None:
    """Wait for what a commit sets off: tasks are offered, and those of dead queues looked at."""
    await world.engine.committer.flush()
    await settle()
    await world.engine.committer.flush()


async def first_row(world: World) -> tuple[Task, TaskRowId]:
    queue = QueueKey(world.namespace_id, "q", QueueKind.WORKFLOW)
    for shard_id in world.engine.owned_shards():
        for row in await world.engine.task_rows(queue, shard_id, 0, 9):
            return row.task, TaskRowId(queue, shard_id, row.sequence)
    raise AssertionError("there is no row")


async def start_task(world: World, _: EntityKey) -> None:
    await world.engine.start_task(*await first_row(world), INFO)


async def leave_sticky_queue(world: World, _: EntityKey) -> None:
    await world.engine.leave_sticky_queue(*await first_row(world))


async def wake(world: World, key: EntityKey) -> None:
    await world.engine.clock_control.fire(key)


WORK: dict[str, Work] = {
    "a signal": lambda world, _: world.signal(),
    "a start": lambda world, _: world.start("another"),
    "the start of a task": start_task,
    "a task that leaves a sticky queue": leave_sticky_queue,
    "a wake-up": wake,
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
@on_virtual_time
async def test_a_call_is_under_way_while_its_run_is_loaded(work: Work):
    async with virtual_world() as world:
        key = await world.start()
        await quiet(world)
        assert not world.engine.clock_control.is_busy
        world.forget(key)
        world.faults.load_gate.clear()
        under_way = asyncio.ensure_future(work(world, key))
        await settle()
        assert not under_way.done()
        assert world.engine.clock_control.is_busy
        world.faults.load_gate.set()
        await under_way
        await quiet(world)
        assert not world.engine.clock_control.is_busy


@on_virtual_time
async def test_a_look_is_not_waited_for():
    async with virtual_world() as world:
        key = await world.start()
        await quiet(world)
        world.forget(key)
        world.faults.load_gate.clear()
        looking = asyncio.ensure_future(world.engine.read(key, lambda state: state.key))
        await settle()
        assert not looking.done()
        assert not world.engine.clock_control.is_busy
        world.faults.load_gate.set()
        assert await looking == key
