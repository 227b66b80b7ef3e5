"""What holds test time up in a simulation: work that runs, and what is on its way to or from a living worker.

The node and its `SimTime` are real. The worker is raw calls; whether it is alive, and whether something runs that only
the simulation sees, is said by the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, cast

import pytest

from perdure.core.ids import new_id, seeded_ids
from perdure.core.units import SECOND_NS
from perdure.server.node.node import open_node
from perdure.server.shards.group import Group
from perdure.server.time_skipping.rpcs import table
from perdure.storage.port import Store
from perdure.storage.sqlite import open_memory
from perdure.storage.sqlite_open import connect_memory
from perdure.testing.simulation.loop import Process, SimClock, SimLoop
from perdure.testing.simulation.time import TRANSIT_NS, SimTime
from perdure.wire.api import taskqueue
from tests.harness.builders import complete_workflow, schedule_activity
from tests.stores.faults import FaultyStore
from tests.unit.server.world import World
from tests.unit.testing.stage import timer

TRANSIT_S = TRANSIT_NS / SECOND_NS
SOON_S = 0.25
DAY_S = 86_400.0


class Place:
    """Where nodes come and go over one database, with one `SimTime`."""

    def __init__(self, loop: SimLoop) -> None:
        self.alive = {"me"}
        self.is_busy = False
        self.steps: list[list[str]] = []
        """The names of the entities that each step changed."""
        self.clock = SimClock(loop)
        self.time = SimTime(
            self.clock,
            is_busy=lambda: self.is_busy,
            is_alive=lambda name: name in self.alive,
            stepped=self._stepped,
        )
        self.database = connect_memory(1)
        self.began_ns = self.time.clock.now_ns()

    def _stepped(self, group: Group) -> None:
        self.steps.append([entry.key.name for entry in group.entries])

    @property
    def real_s(self) -> float:
        return self.clock.monotonic_ns() / SECOND_NS

    @property
    def now_s(self) -> float:
        return (self.time.clock.now_ns() - self.began_ns) / SECOND_NS

    async def node(self) -> World:
        """A node, over which time is opened."""
        faults = FaultyStore(open_memory(connection=self.database))
        node = await open_node(
            cast("Store", faults),
            clock=self.time.clock,
            new_id=new_id,
            matching_clock=self.clock,
            rpcs=table(self.time),
        )
        await self.time.reopen(node.engine, node.matching)
        return World(node, faults)

    async def skip_s(self) -> float:
        """How much of the loop's time it takes until the next skip."""
        began_s, before = self.real_s, self.time.skips
        while self.time.skips == before:
            assert self.real_s - began_s < 60, "no skip"
            await asyncio.sleep(0.001)
        return self.real_s - began_s

    async def no_skip(self, for_s: float) -> None:
        before = self.time.skips
        await asyncio.sleep(for_s)
        assert self.time.skips == before


async def begin_activity(world: World) -> bytes:
    """A run with a timer of a day and an activity that a worker has; the token of its task."""
    await world.start("w")
    task = await world.poll()
    long = schedule_activity(schedule_to_close_timeout=None)
    attributes = long.schedule_activity_task_command_attributes
    attributes.start_to_close_timeout.FromSeconds(3 * 86_400)
    await world.complete(task.task_token, long, timer(DAY_S))
    return (await world.poll_activity()).task_token


def placed(
    test: Callable[[Place, World], Coroutine[Any, Any, None]],
) -> Callable[[], None]:
    """A test at a fresh place with one node, on virtual time."""

    async def play(loop: SimLoop) -> None:
        place = Place(loop)
        world = await place.node()
        try:
            await test(place, world)
        finally:
            await place.time.close()
            place.database.close()

    def run() -> None:
        loop = SimLoop()
        with seeded_ids(Random(0)):
            loop.run(play(loop))

    run.__name__, run.__module__ = test.__name__, test.__module__
    return run


@placed
async def test_time_is_skipped_although_a_worker_has_an_attempt(place: Place, world: World) -> None:
    """For a while its answer may be on its way. After that only the simulation's own word holds time up."""
    await begin_activity(world)
    took_s = await place.skip_s()
    assert TRANSIT_S <= took_s < TRANSIT_S + SOON_S
    assert DAY_S <= place.now_s < DAY_S + 30


@placed
async def test_an_attempt_of_a_dead_worker_is_not_waited_for(place: Place, world: World) -> None:
    place.alive.clear()
    await begin_activity(world)
    assert await place.skip_s() < SOON_S


@placed
async def test_a_worker_that_dies_is_not_waited_for_any_longer(place: Place, world: World) -> None:
    await begin_activity(world)
    await place.no_skip(1)
    place.alive.clear()
    assert await place.skip_s() < SOON_S


@placed
async def test_a_function_that_runs_holds_time_up_for_as_long_as_it_runs(
    place: Place, world: World
) -> None:
    place.is_busy = True
    await begin_activity(world)
    await place.no_skip(20)
    place.is_busy = False
    assert await place.skip_s() < SOON_S


@placed
async def test_what_moves_is_on_its_way_again(place: Place, world: World) -> None:
    place.is_busy = True
    await begin_activity(world)
    await place.no_skip(10)
    place.time.moved()
    place.is_busy = False
    assert TRANSIT_S <= await place.skip_s() < TRANSIT_S + SOON_S


@placed
async def test_a_step_that_changes_no_attempt_prolongs_no_transit(
    place: Place, world: World
) -> None:
    await world.start("other", task_queue=taskqueue.TaskQueue(name="nobody"))
    await begin_activity(world)
    for _ in range(4):
        await place.no_skip(0.7)
        await world.signal("other")
    assert await place.skip_s() < TRANSIT_S - 4 * 0.7 + SOON_S


@placed
async def test_each_change_of_attempts_begins_a_transit(place: Place, world: World) -> None:
    first = await begin_activity(world)
    await place.no_skip(2)
    await world.start("other")
    task = await world.poll()
    await world.complete(task.task_token, schedule_activity("b", schedule_to_close_timeout=None))
    await world.poll_activity()
    await place.no_skip(2)
    await world.complete_activity(first)
    task = await world.poll()
    await world.complete(task.task_token)
    assert TRANSIT_S <= await place.skip_s() < TRANSIT_S + SOON_S


@placed
async def test_time_is_never_locked(place: Place, world: World) -> None:
    await begin_activity(world)
    for _ in range(3):
        place.time.lock()
    assert place.time.is_open
    assert await place.skip_s() < TRANSIT_S + SOON_S


@placed
async def test_a_sleep_passes_exactly_its_length(place: Place, world: World) -> None:
    await asyncio.sleep(1)
    before_s, real_s = place.now_s, place.real_s
    await place.time.sleep_ns(3_600 * SECOND_NS)
    assert place.now_s - before_s == pytest.approx(3_600, abs=0.001)
    assert place.real_s - real_s < 1


@placed
async def test_every_step_is_told(place: Place, world: World) -> None:
    await world.start("w")
    assert any("w" in names for names in place.steps)
    place.steps.clear()
    await world.signal("w")
    assert any("w" in names for names in place.steps)


def test_a_commit_that_died_with_its_node_holds_nothing_up_on_the_next() -> None:
    """The run's task completion was never written: on the next node the run is where it was before."""
    loop = SimLoop()

    async def main() -> None:
        place = Place(loop)
        process = Process("first")
        opened: asyncio.Future[World] = loop.create_future()

        async def live() -> None:
            opened.set_result(await place.node())

        process.spawn(live(), "node")
        world = await opened
        await world.start("ends")
        task = await world.poll()
        world.faults.gate.clear()
        completing = process.spawn(
            world.complete(task.task_token, complete_workflow()), "completion"
        )
        await world.faults.waiting.wait()
        process.kill()
        assert not completing.done()
        assert not place.time.work, "the completion was noted, although it is not durable"

        world = await place.node()
        await world.terminate("ends")
        began_s = place.real_s
        async with asyncio.timeout(60):
            await place.time.sleep_ns(3_600 * SECOND_NS)
        assert place.real_s - began_s < SOON_S
        await place.time.close()
        process.bury()
        place.database.close()

    with seeded_ids(Random(0)):
        loop.run(main())
