"""Tests on virtual time: time-outs and pauses of any length cost nothing and come at exact moments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from itertools import count
from typing import Any, ParamSpec, cast

from perdure.core.limits import DEFAULT_LIMITS, Limits
from perdure.server.node.node import open_node
from perdure.storage.port import Store
from perdure.storage.sqlite import open_memory
from perdure.testing.simulation.loop import SimClock, SimLoop
from tests.stores.faults import FaultyStore
from tests.unit.server.world import World

P = ParamSpec("P")


def on_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run the test in a loop whose time jumps to the next timer when nothing is ready."""

    @wraps(test)
    def run(*arguments: P.args, **options: P.kwargs) -> None:
        SimLoop().run(test(*arguments, **options))

    return run


def virtual_clock() -> SimClock:
    """The clock of the running loop."""
    return SimClock(cast("SimLoop", asyncio.get_running_loop()))


@asynccontextmanager
async def virtual_world(
    store: Store | None = None, *, limits: Limits = DEFAULT_LIMITS, clock: SimClock | None = None
) -> AsyncGenerator[World]:
    """A node whose clock is that of the virtual loop; closed at the end."""
    faults = FaultyStore(store or open_memory())
    ids = count(1)
    node = await open_node(
        cast("Store", faults),
        clock=clock or virtual_clock(),
        new_id=lambda: f"00000000-0000-4000-8000-{next(ids):012}",
        limits=limits,
    )
    world = World(node, faults)
    try:
        yield world
    finally:
        faults.gate.set()
        faults.load_gate.set()
        faults.is_full = False
        await node.close()
