"""A node in memory whose time can be skipped, alone or behind gRPC.

Role: the wiring of the test server and of the in-process test environment. Runs are never deleted: a skip of years must
not delete what a test wants to see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perdure.core.clock import SystemClock, steady
from perdure.core.ids import new_id
from perdure.core.limits import DEFAULT_LIMITS, RETENTION_FOREVER_NS, Limits
from perdure.core.units import SECOND_NS
from perdure.server.common.entity_types import BUILT_IN
from perdure.server.node.node import DEFAULT_NAMESPACE, Node, open_node
from perdure.server.time_skipping.rpcs import table
from perdure.server.time_skipping.skipping import SkippingClock, TimeSkipping
from perdure.storage.sqlite import open_memory

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Mapping

    from perdure.core.clock import Clock
    from perdure.entity.entity_type import Registry
    from perdure.storage.port import Store

STOP_GRACE_NS = 2 * SECOND_NS


class TimeSkippingNode:
    """A running node and its time; made by `open_time_skipping_node`."""

    def __init__(self, node: Node, time: TimeSkipping) -> None:
        self.node = node
        self.time = time

    async def stop_polls(self) -> None:
        """First step of a shutdown: stop skipping time and answer polls empty."""
        await self.time.close()
        await self.node.stop_polls()

    async def close(self) -> None:
        """End the node."""
        await self.time.close()
        await self.node.close()


async def open_time_skipping_node(
    *,
    namespaces: Iterable[str] = (DEFAULT_NAMESPACE,),
    search_attributes: Mapping[str, str] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    real: Clock = SystemClock(),  # noqa: B008 - it has no state
    store: Store | None = None,
    types: Registry = BUILT_IN,
) -> TimeSkippingNode:
    """Open a node in memory whose time is locked at first.

    Args:
        namespaces: Registered at start-up.
        search_attributes: Name to type (`Keyword`, `Int`, …), registered in them.
        limits: Default limits of every namespace; their retention is overridden.
        real: The clock to follow while no time is skipped. Default: the machine's clock.
        store: The database. Default: in memory. The node closes it when it is closed.
        types: The kinds of entities, with a registration for each.
    """
    real = steady(real)
    clock = SkippingClock(real)
    time = TimeSkipping(clock)
    node = await open_node(
        store or open_memory(),
        clock=clock,
        new_id=new_id,
        limits=msgspec.structs.replace(limits, retention_default_ns=RETENTION_FOREVER_NS),
        store_name="memory",
        namespaces=namespaces,
        search_attributes=search_attributes,
        matching_clock=real,
        rpcs=table(time),
        types=types,
    )
    time.open(node.engine, node.matching)
    return TimeSkippingNode(node, time)


async def run_test_server(
    ip: str, port: int, *, stop: asyncio.Event, on_ready: Callable[[int], None]
) -> None:
    """Serve a time-skipping node until `stop` is set.

    Args:
        ip: Address to listen on.
        port: 0 takes a free one.
        stop: Set by the caller to stop the server.
        on_ready: Called once with the port, when RPCs are answered.

    Raises:
        ServerStartError: The server cannot listen on this address.
    """
    from perdure.server.transport.grpc import GrpcServer  # in-process tests need no gRPC

    node = await open_time_skipping_node()
    try:
        server = GrpcServer(node.node.frontend, ip, port)
        await server.start()
        try:
            on_ready(server.port)
            await stop.wait()
        finally:
            await node.stop_polls()
            await server.stop(STOP_GRACE_NS)
    finally:
        await node.close()
