"""What goes wrong in a world, and when. Each world draws its own set of faults, so that some worlds are nearly calm.

Invariant: every fault that keeps the node from working is logged in `World.outages`, with the longest time until
the node tries again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from perdure.core.units import SECOND_NS

if TYPE_CHECKING:
    from tests.simulation.world import World

FAULTY_S = 25.0
"""How long faults happen, in virtual seconds."""
CALM_SHARE = 0.4
"""The share of worlds that draw only a few kinds of faults."""

# The longest time until the node works again after a fault (see `committer`, `wakes`, `node_shards`).
FULL_TAIL_S = 20.0
UNKNOWN_TAIL_S = 12.0
TAKEOVER_TAIL_S = 75.0
"""Longer: the zombie may take a shard back before it is killed, and the other node notices only when it next commits or
scans."""
READS_TAIL_S = 10.0
START_TAIL_S = 2.0
LOOK_S = 10.0


class Faults:
    """The faults of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = world.random
        every: list[Callable[[], Awaitable[None]]] = [
            self.node_crash,
            self.zombie,
            self.worker_crash,
            self.partition,
            self.clock_jump,
            self.disk_full,
            self.unknown_outcome,
            self.unwritable,
            self.unreadable,
        ]
        if world.settings.is_embedded:
            # No second engine can open the file, and workers live in the process of their engine.
            every = [
                self.node_crash,
                self.clock_jump,
                self.disk_full,
                self.unknown_outcome,
                self.unwritable,
            ]
        elif self._random.random() < CALM_SHARE:
            every = self._random.sample(every, 3)
        self._kinds = every

    async def run(self) -> None:
        """Cause a random fault every few seconds, then end all faults."""
        while self._world.loop.time() < FAULTY_S:
            await asyncio.sleep(self._random.expovariate(0.6))
            await self._random.choice(self._kinds)()
        await self._world.heal()

    async def node_crash(self) -> None:
        world = self._world
        world.kill_node()
        if world.settings.is_embedded:
            for number in sorted(world.workers):
                world.kill_worker(number)
        await asyncio.sleep(self._random.random() * 2)
        await world.start_node()
        if world.settings.is_embedded:
            for number in sorted(world.workers):
                world.start_worker(number)

    async def zombie(self) -> None:
        """A second node takes over while the first is still running and does not know."""
        world = self._world
        old, old_executor = world.node_process, world.executor
        if old is None or old_executor is None:
            return
        world.note("takeover")
        with world.outages.during("takeover", TAKEOVER_TAIL_S):
            await world.start_node()
            await asyncio.sleep(self._random.random())
            old.kill()
            old_executor.crash()
        world.note("zombie ended")

    async def worker_crash(self) -> None:
        number = self._random.choice(sorted(self._world.workers))
        self._world.kill_worker(number)
        await asyncio.sleep(self._random.random() * 4)
        self._world.start_worker(number)

    async def partition(self) -> None:
        """Cut the node off from all workers and clients. This delays no deadline."""
        self._world.note("partition")
        self._world.network.partitioned = True
        await asyncio.sleep(self._random.random() * 3)
        self._world.network.partitioned = False

    async def clock_jump(self) -> None:
        by_ns = self._random.randint(-2, 2) * SECOND_NS
        self._world.outages.jump(by_ns, LOOK_S)
        self._world.note(f"clock skew {self._world.clock.skew_ns}")

    async def disk_full(self) -> None:
        if (store := self._world.store) is not None:
            self._world.note("disk full")
            with self._world.outages.during("disk full", FULL_TAIL_S):
                store.is_full = True
                await asyncio.sleep(self._random.random() * 2)
                store.is_full = False

    async def unwritable(self) -> None:
        """Writes fail for a while: the fate of one batch stays unknown, and new changes are refused."""
        if (store := self._world.store) is not None:
            self._world.note("disk unwritable")
            with self._world.outages.during("disk unwritable", FULL_TAIL_S):
                store.unknown = self._random.choice(["landed", ""])
                store.is_unwritable = True
                await asyncio.sleep(self._random.random() * 4)
                store.is_unwritable = False
                store.unknown = ""

    async def unreadable(self) -> None:
        if (store := self._world.store) is not None:
            self._world.note("disk unreadable")
            with self._world.outages.during("disk unreadable", READS_TAIL_S):
                store.is_unreadable = True
                await asyncio.sleep(self._random.random() * 2)
                store.is_unreadable = False

    async def unknown_outcome(self) -> None:
        """The database does not say whether a few commits were written; some were."""
        for _ in range(4):
            if (store := self._world.store) is not None:
                with self._world.outages.during("unknown outcome", UNKNOWN_TAIL_S):
                    store.unknown = self._random.choice(["landed", "lost"])
                    self._world.note(f"the next commit is {store.unknown}, and nobody is told")
                    await asyncio.sleep(self._random.random())
                    store.unknown = ""
