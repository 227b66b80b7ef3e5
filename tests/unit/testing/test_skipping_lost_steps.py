"""Steps that a node took and lost when it was killed: the next node's time knows what its runs are really doing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import cast

import pytest

from perdure.core.ids import new_id, seeded_ids
from perdure.core.units import DAY_NS
from perdure.server.node.node import open_node
from perdure.server.time_skipping.rpcs import table
from perdure.server.time_skipping.skipping import SkippingClock, TimeSkipping
from perdure.storage.port import Store
from perdure.storage.sqlite import open_memory
from perdure.storage.sqlite_open import connect_memory
from perdure.testing.simulation.loop import Process, SimClock, SimLoop
from perdure.wire.errors import RpcError
from tests.harness.builders import complete_workflow, schedule_activity
from tests.stores.faults import FaultyStore
from tests.unit.server.world import World

Step = Callable[[World, bytes, bytes], Awaitable[object]]


async def complete(world: World, task: bytes, activity: bytes) -> None:
    await world.complete(task, complete_workflow())


async def answer(world: World, task: bytes, activity: bytes) -> None:
    await world.complete_activity(activity)


async def terminate(world: World, task: bytes, activity: bytes) -> None:
    await asyncio.gather(world.terminate("in task"), world.terminate("in activity"))


async def start(world: World, task: bytes, activity: bytes) -> None:
    await world.start("new")


class Nodes:
    """A database, the time over it, and one node after another."""

    def __init__(self) -> None:
        self.loop = SimLoop()
        self.real = SimClock(self.loop)
        self.time = TimeSkipping(SkippingClock(self.real))
        self.database = connect_memory(1)

    async def open(self) -> World:
        store = FaultyStore(open_memory(connection=self.database))
        node = await open_node(
            cast("Store", store),
            clock=self.time.clock,
            new_id=new_id,
            matching_clock=self.real,
            rpcs=table(self.time),
        )
        return World(node, store)

    async def lose(self, step: Step) -> tuple[World, asyncio.Future[object]]:
        """The life of a node up to a step that never becomes durable."""
        world = await self.open()
        self.time.open(world.engine, world.node.matching)
        await world.start("in activity")
        task = await world.poll()
        await world.complete(task.task_token, schedule_activity())
        activity = await world.poll_activity()
        await world.start("in task")
        task = await world.poll()
        await world.engine.committer.flush()
        world.faults.gate.clear()
        calling = asyncio.ensure_future(step(world, task.task_token, activity.task_token))
        await world.faults.waiting.wait()
        await asyncio.sleep(0.01)  # all steps have been taken
        assert not calling.done()
        return world, calling


@pytest.mark.parametrize("step", [complete, answer, terminate, start])
def test_a_step_that_was_lost_is_not_believed(step: Step) -> None:
    nodes = Nodes()
    time = nodes.time

    async def main() -> None:
        first = Process("first")
        await first.spawn(nodes.lose(step), "live")
        first.kill()
        world = await nodes.open()
        await time.take_over(world.engine)
        time.open(world.engine, world.node.matching)
        assert {key.name for key in time.work} == {"in task", "in activity"}
        assert (time._activities, time._in_workflow_tasks, time._unsettled) == (1, 1, {})
        time.unlock()
        sleeping = asyncio.ensure_future(time.sleep_until(time.clock.now_ns() + DAY_NS))
        await asyncio.sleep(5)
        assert not sleeping.done(), "what runs holds time up"
        await world.terminate("in task")
        await world.terminate("in activity")
        await sleeping
        await time.close()
        await world.node.close()
        first.bury()

    with seeded_ids(Random(0)):
        nodes.loop.run(main())
    nodes.database.close()


def test_a_node_that_was_taken_over_from_may_settle_its_steps_late(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nodes = Nodes()
    time = nodes.time

    async def main() -> None:
        old, calling = await nodes.lose(terminate)
        assert len(time._unsettled) == 2
        await time.close()
        world = await nodes.open()
        await time.take_over(world.engine)
        time.open(world.engine, world.node.matching)
        old.faults.is_full = True
        old.faults.gate.set()
        with pytest.raises(RpcError, match="no space left"):
            await calling
        assert (time._activities, time._in_workflow_tasks, time._unsettled) == (1, 1, {})
        await time.close()
        await world.node.close()
        await old.node.close()

    with seeded_ids(Random(0)):
        nodes.loop.run(main())
    nodes.database.close()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
