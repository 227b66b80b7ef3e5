"""Two engines in one process over one database: each owns half of the shards, and only bytes pass between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from perdure.core.clock import Clock
from perdure.core.ids import EntityKey, QueueKey, QueueKind, run_key, shard_of
from perdure.core.limits import DEFAULT_LIMITS, Limits
from perdure.server.frontend.interceptors import Interceptor
from perdure.server.node.node import Node, open_node
from perdure.server.owners.codec import decode_message
from perdure.server.owners.messages import ShardAcquired
from perdure.server.owners.owners import Owners
from perdure.storage.sqlite import open_memory
from perdure.storage.sqlite_open import connect_memory
from perdure.wire.errors import Unavailable
from tests.unit.frontend.conftest import Caller, GatedExecutor, settle
from tests.unit.server.virtual import virtual_clock

SHARDS = 4
NAMES = ("a", "b")


class Wire:
    """Carries messages between the nodes: bytes there, bytes back, a while under way."""

    def __init__(self) -> None:
        self.nodes: dict[str, Owners] = {}
        self.sent: list[tuple[str, str]] = []
        """(receiving node, type of message), in order."""
        self.is_cut = False
        self._expected: dict[str, asyncio.Event] = {}

    def next(self, kind: str) -> asyncio.Event:
        """Set when the next message of this type is under way."""
        return self._expected.setdefault(kind, asyncio.Event())

    async def carry(self, to: str, message: bytes) -> bytes:
        assert isinstance(message, bytes)
        kind = type(decode_message(message)).__name__
        self.sent.append((to, kind))
        if kind in self._expected:
            self._expected.pop(kind).set()
        await asyncio.sleep(0.001)
        if self.is_cut or to not in self.nodes:
            raise Unavailable(f"node {to} does not answer")
        answer = await self.nodes[to].receive(message)
        await asyncio.sleep(0.001)
        if self.is_cut:
            raise Unavailable(f"the answer of node {to} was lost")
        assert isinstance(answer, bytes)
        return answer


class Half:
    """The peers of one of the two nodes. Node a owns the even shards."""

    def __init__(self, name: str, wire: Wire) -> None:
        self._name = name
        self._wire = wire

    def owner_of(self, shard_id: int) -> str:
        owner = NAMES[shard_id % 2]
        return "" if owner == self._name else owner

    def others(self) -> Iterable[str]:
        return [name for name in NAMES if name != self._name]

    async def ask(self, node: str, message: bytes) -> bytes:
        return await self._wire.carry(node, message)


class Cluster:
    """Both nodes, and names that belong to one or the other."""

    def __init__(self, wire: Wire, nodes: dict[str, Node]) -> None:
        self.wire = wire
        self.nodes = nodes
        self.a, self.b = (Caller(nodes[name], GatedExecutor()) for name in NAMES)
        self.namespace_id = nodes["a"].engine.namespaces.all()[0].namespace_id

    def named(self, node: str, prefix: str) -> str:
        """The first `prefix-n` that belongs to a node: as a workflow id, and as a task queue."""
        return next(
            name for number in count() if self.owner_of(name := f"{prefix}-{number}") == node
        )

    def owner_of(self, name: str) -> str:
        key = EntityKey(0, self.namespace_id, name)
        return NAMES[shard_of(key, SHARDS) % 2]

    def run(self, workflow_id: str, run_id: str) -> EntityKey:
        return run_key(self.namespace_id, workflow_id, run_id)

    def queue(self, name: str, kind: QueueKind = QueueKind.WORKFLOW) -> QueueKey:
        return QueueKey(self.namespace_id, name, kind)

    def messages(self, kind: str) -> int:
        """How many messages of a type have been sent."""
        return sum(sent == kind for _, sent in self.wire.sent)

    def check_memory(self) -> None:
        """Neither node has anything in memory that belongs to the other."""
        for name, node in self.nodes.items():
            for key in node.engine.cache._entries:
                owner = NAMES[shard_of(key, SHARDS) % 2]
                assert owner == name, f"{key} is of {owner} and in the memory of {name}"
            for queue, _ in node.matching._queues.all():
                assert self.owner_of(queue.name) == name, f"{queue} is in the memory of {name}"
            services = node.frontend.services
            for pending in (services.updates._runs, services.queries._attached):
                assert all(NAMES[shard_of(key, SHARDS) % 2] == name for key in pending)


@asynccontextmanager
async def two_nodes(
    limits: Limits = DEFAULT_LIMITS,
    interceptors: Mapping[str, Interceptor] | None = None,
    clock: Clock | None = None,
) -> AsyncGenerator[Cluster]:
    """Two nodes, each with its interceptor; on the virtual time of the running loop, or with a clock of their own."""
    around = {name: (each,) for name, each in (interceptors or {}).items()}
    database = connect_memory(SHARDS)
    ids = count(1)

    def new_id() -> str:
        return f"00000000-0000-4000-8000-{next(ids):012}"

    async def node(**options: Any) -> Node:
        store = open_memory(connection=database)
        return await open_node(
            store, clock=clock or virtual_clock(), new_id=new_id, limits=limits, **options
        )

    await (await node()).close()  # the namespace is there before the cluster is
    wire = Wire()
    nodes = {
        name: await node(namespaces=(), peers=Half(name, wire), interceptors=around.get(name, ()))
        for name in NAMES
    }
    wire.nodes = {name: node.owners for name, node in nodes.items()}
    cluster = Cluster(wire, nodes)
    try:
        yield cluster
        cluster.check_memory()
    finally:
        wire.is_cut = True
        for each in nodes.values():
            each.owners.tell_others(ShardAcquired(0))
            await settle()
            await each.close()
        await settle()
        assert not any(each.owners._told for each in nodes.values()), "nothing is told any more"
        database.close()
