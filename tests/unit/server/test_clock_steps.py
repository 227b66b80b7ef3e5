"""The wall clock is set back or forward: timers, retries and time-outs take their time, also after a restart."""

from __future__ import annotations

import asyncio

import pytest

from perdure.core.ids import EntityKey
from perdure.core.limits import Limits
from perdure.core.units import HOUR_NS, SECOND_NS
from perdure.server.timers import retention
from perdure.storage.sqlite import open_memory
from perdure.storage.sqlite_open import connect_memory
from perdure.testing.simulation.loop import SimClock
from perdure.wire.api import command, enums
from tests.harness.builders import schedule_activity
from tests.unit.server.virtual import on_virtual_time, virtual_clock, virtual_world
from tests.unit.server.world import World, start_timer

JUMPS_NS = pytest.mark.parametrize(
    "jump_ns",
    [-HOUR_NS, -5 * SECOND_NS, 0, HOUR_NS],
    ids=["hour back", "5 s back", "none", "hour on"],
)


async def fired(world: World, key: EntityKey) -> bool:
    return "TIMER_FIRED" in await world.event_types(key)


async def new_timer(world: World, name: str, seconds: float) -> EntityKey:
    key = await world.start(name)
    while (task := await world.poll()).workflow_execution.workflow_id != name:
        pass
    await world.complete(task.task_token, start_timer("t", int(seconds * 1_000)))
    return key


async def fires_after(world: World, key: EntityKey, seconds: float) -> None:
    await asyncio.sleep(seconds - 0.1)
    assert not await fired(world, key), "too early"
    await asyncio.sleep(0.2)
    assert await fired(world, key), "too late"


@JUMPS_NS
def test_a_timer_that_begins_after_a_step_takes_its_time(jump_ns: int):
    @on_virtual_time
    async def play() -> None:
        clock = virtual_clock()
        async with virtual_world(clock=clock) as world:
            await world.start("before")
            await asyncio.sleep(3)
            clock.skew_ns = jump_ns
            task = await world.poll()
            assert task.workflow_execution.workflow_id == "before"
            await world.complete(task.task_token, start_timer("t", 30_000))
            new = await new_timer(world, "new", 30)
            await fires_after(world, new, 30)
            assert await fired(
                world,
                EntityKey(new.kind, new.namespace_id, "before", task.workflow_execution.run_id),
            )

    play()


@on_virtual_time
async def test_a_timer_that_runs_while_the_clock_is_set_back_is_not_delayed():
    clock = virtual_clock()
    async with virtual_world(clock=clock) as world:
        key = await new_timer(world, "w", 60)
        for seconds in (10, 20, 10):
            await asyncio.sleep(seconds)
            clock.skew_ns -= 2 * HOUR_NS
        await fires_after(world, key, 20)


@on_virtual_time
async def test_what_a_leap_makes_due_is_done_with_the_next_call_at_the_latest():
    clock = virtual_clock()
    async with virtual_world(clock=clock) as world:
        near, far = await new_timer(world, "near", 30), await new_timer(world, "far", 3_000)
        clock.skew_ns = HOUR_NS
        await world.start("another")
        await asyncio.sleep(0.01)
        assert await fired(world, near)
        assert await fired(world, far)
        clock.skew_ns = 0
        await fires_after(world, await new_timer(world, "new", 5), 5)


@on_virtual_time
async def test_an_idle_node_notices_a_leap_within_ten_seconds():
    clock = virtual_clock()
    async with virtual_world(clock=clock) as world:
        key = await new_timer(world, "w", 1_000)
        clock.skew_ns = HOUR_NS
        await asyncio.sleep(10.1)
        assert await fired(world, key)


def activity(**seconds: int) -> command.Command:
    wanted = schedule_activity()
    attributes = wanted.schedule_activity_task_command_attributes
    for name, value in seconds.items():
        getattr(attributes, name).seconds = value
    return wanted


@JUMPS_NS
def test_time_outs_and_retries_of_activities_take_their_time(jump_ns: int):
    @on_virtual_time
    async def play() -> None:
        clock = virtual_clock()
        async with virtual_world(clock=clock) as world:
            await world.start()
            task = await world.poll()
            await asyncio.sleep(2)
            clock.skew_ns = jump_ns
            wanted = activity(start_to_close_timeout=20, schedule_to_close_timeout=100)
            wanted.schedule_activity_task_command_attributes.retry_policy.initial_interval.seconds = 7
            await world.complete(task.task_token, wanted)
            assert (await world.poll_activity()).attempt == 1
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            assert (await world.poll_activity(60)).attempt == 2
            assert loop.time() - began_s == pytest.approx(27, abs=0.5)

    play()


@JUMPS_NS
def test_a_run_s_own_time_out_and_its_workflow_task_s(jump_ns: int):
    @on_virtual_time
    async def play() -> None:
        clock = virtual_clock()
        async with virtual_world(clock=clock) as world:
            await asyncio.sleep(1)
            clock.skew_ns = jump_ns
            key = await world.start(workflow_run_timeout={"seconds": 40})
            assert (await world.poll()).attempt == 1
            await asyncio.sleep(9.9)
            assert "WORKFLOW_TASK_TIMED_OUT" not in await world.event_types(key)
            await asyncio.sleep(0.2)
            assert "WORKFLOW_TASK_TIMED_OUT" in await world.event_types(key)
            await asyncio.sleep(29.8)
            assert "WORKFLOW_EXECUTION_TIMED_OUT" not in await world.event_types(key)
            await asyncio.sleep(0.2)
            assert "WORKFLOW_EXECUTION_TIMED_OUT" in await world.event_types(key)

    play()


@pytest.mark.parametrize("jump_ns", [-HOUR_NS, -3 * SECOND_NS])
def test_after_a_restart_time_goes_on_from_what_is_stored(jump_ns: int):
    @on_virtual_time
    async def play() -> None:
        clock, disk = virtual_clock(), connect_memory(4)
        async with virtual_world(open_memory(connection=disk), clock=clock) as world:
            old = await new_timer(world, "old", 30)
        later = SimClock(clock._loop)
        later.skew_ns = jump_ns
        async with virtual_world(open_memory(connection=disk), clock=later) as world:
            new = await new_timer(world, "new", 20)
            await fires_after(world, new, 20)
            await fires_after(world, old, 10)
            described = await world.engine.read(new, lambda state: state.info.start_ns)
            assert described >= clock.now_ns() - 40 * SECOND_NS, (
                "no event is older than the stored ones"
            )
        disk.close()

    play()


@on_virtual_time
async def test_retention_goes_by_the_same_time():
    clock = virtual_clock()
    async with virtual_world(clock=clock, limits=Limits(retention_default_ns=HOUR_NS)) as world:
        clock.skew_ns = 0
        key = await world.start()
        await world.terminate()
        clock.skew_ns = -24 * HOUR_NS
        await asyncio.sleep(HOUR_NS / SECOND_NS - 1)
        assert await world.faults.load(key) is not None
        await asyncio.sleep(1 + 2 * retention.PAUSE_NS / SECOND_NS)
        assert await world.faults.load(key) is None


@on_virtual_time
async def test_a_sticky_queue_is_left_in_time_after_a_step_back():
    clock = virtual_clock()
    async with virtual_world(clock=clock) as world:
        key = await world.start()
        task = await world.poll()
        clock.skew_ns = -HOUR_NS
        await world.complete(task.task_token, start_timer("t", 1_000))
        await asyncio.sleep(1.1)
        again = await world.poll(20)
        assert again.workflow_execution.run_id == key.run_id
        assert again.history.events[-1].event_type == enums.EVENT_TYPE_WORKFLOW_TASK_STARTED
