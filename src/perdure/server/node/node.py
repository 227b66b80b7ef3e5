"""Wires a node: one function builds its objects top to bottom (D-15). Server and embedded engine both use it.

Order of construction: store, then matching and queries (memory), then the engine, then the frontend. `close` goes
the other way round: no new calls, parked polls answered empty, commits flushed, shards released, store closed
(D-49). Not here: transports, options of the command line, signals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from perdure import __version__
from perdure.core.clock import steady
from perdure.core.limits import DEFAULT_LIMITS, Limits
from perdure.server.common.entity_types import BUILT_IN
from perdure.server.common.namespace_facts import NamespaceFact
from perdure.server.deliveries import Deliveries
from perdure.server.engine import Engine
from perdure.server.frontend.dispatch import Frontend
from perdure.server.frontend.inline_tasks import InlineTasks
from perdure.server.frontend.rpcs import RPCS, Rpc
from perdure.server.frontend.services import ServerInfo, Services
from perdure.server.matching.host import MatchingHost
from perdure.server.node.serving import serve_calls, serve_parts
from perdure.server.owners.owners import Owners
from perdure.server.pending.queries import Queries
from perdure.server.pending.updates import Updates
from perdure.server.runs import Runs
from perdure.server.tasks import Tasks
from perdure.wire.api import enums

if TYPE_CHECKING:
    from perdure.core.clock import Clock
    from perdure.entity.entity_type import Registry
    from perdure.server.frontend.interceptors import Interceptor
    from perdure.server.owners.owners import Peers
    from perdure.storage.port import Store

DEFAULT_NAMESPACE = "default"


class Node:
    """A running node. `frontend` is the way in."""

    def __init__(
        self,
        engine: Engine,
        matching: MatchingHost,
        frontend: Frontend,
        owners: Owners,
        inline_workers: InlineTasks,
    ) -> None:
        self.engine = engine
        self.matching = matching
        self.frontend = frontend
        self.owners = owners
        self.inline_workers = inline_workers

    async def stop_polls(self) -> None:
        """First step of a shutdown: stop matching and answer parked polls empty."""
        await self.matching.close()

    async def close(self) -> None:
        """Finish the work in progress durably and close the store."""
        self.frontend.drain()
        await self.matching.close()
        await self.engine.close()


async def open_node(
    store: Store,
    *,
    clock: Clock,
    new_id: Callable[[], str],
    limits: Limits = DEFAULT_LIMITS,
    store_name: str = "sqlite",
    namespaces: Iterable[str] = (DEFAULT_NAMESPACE,),
    search_attributes: Mapping[str, str] | None = None,
    retention_ns: int | None = None,
    workers_died: bool = False,
    matching_clock: Clock | None = None,
    rpcs: Mapping[str, Rpc] = RPCS,
    types: Registry = BUILT_IN,
    interceptors: Sequence[Interceptor] = (),
    peers: Peers | None = None,
) -> Node:
    """Build and start a node over an open store. The node closes the store when it is closed.

    Args:
        store: The database.
        clock: Source of the current time.
        new_id: Returns a new UUID as text.
        limits: Default limits of every namespace.
        store_name: Name of the store in GetClusterInfo.
        namespaces: Registered if they do not exist yet.
        search_attributes: Name to type (`Keyword`, `Int`, …), registered in those namespaces.
        retention_ns: For how long those namespaces keep closed runs from now on. Default: what they say themselves;
            new ones keep them for as long as `limits` say.
        workers_died: Whether the workers of an earlier process died with it (embedded engine, D-34).
        matching_clock: Measures how long pollers have been gone. Default: `clock`.
        rpcs: The table of RPCs to serve.
        types: The kinds of entities, with a registration for each.
        interceptors: Around each RPC, the first one outermost.
        peers: The other nodes of a cluster, and which shards are theirs. Default: this node is alone.

    Raises:
        StoreError: The shards cannot be acquired; the store is closed.
        RpcError: A namespace cannot be registered; the store is closed.
    """
    clock = steady(clock)
    owners = Owners(store.shard_count, peers)
    matching = MatchingHost(matching_clock or clock, new_id, owners)
    deliveries, updates = Deliveries(), Updates()
    engine = Engine(
        store,
        clock,
        new_id,
        matcher=matching,
        limits=limits,
        deliver=deliveries.deliver,
        types=types,
        memory=updates.note,
        owners=owners,
    )
    runs = Runs(engine)
    deliveries.open(engine, runs, owners)
    matching.open(Tasks(engine, owners))
    serve_parts(owners, engine, matching, deliveries)
    try:
        # Namespaces first: their retention decides what the engine deletes when it begins to work.
        await engine.open(is_at_work=False)
        await engine.namespaces.give_keys(engine.clock.now_ns())
        for name in namespaces:
            await _ensure_namespace(engine, name, search_attributes or {}, clock, new_id, limits)
            if retention_ns is not None:
                await engine.namespaces.keep_runs(name, retention_ns)
        await engine.begin_work(workers_died=workers_died)
    except BaseException:
        await matching.close()
        await engine.close()
        raise
    services = Services(
        engine=engine,
        runs=runs,
        matching=matching,
        queries=Queries(),
        updates=updates,
        owners=owners,
        clock=clock,
        new_id=new_id,
        limits=limits,
        info=ServerInfo(
            version=__version__,
            cluster_id=_cluster_id(engine),
            store=store_name,
            shard_count=store.shard_count,
        ),
    )
    frontend = Frontend(services, rpcs, interceptors)
    serve_calls(owners, services, frontend)
    inline_workers = InlineTasks(services)
    matching.inline = inline_workers.poller_for
    return Node(engine, matching, frontend, owners, inline_workers)


def _cluster_id(engine: Engine) -> str:
    """A cluster id that is as permanent as the database: the id of its oldest namespace."""
    facts = engine.namespaces.all()
    return min(facts, key=lambda fact: fact.created_ns).namespace_id if facts else ""


async def _ensure_namespace(
    engine: Engine,
    name: str,
    search_attributes: Mapping[str, str],
    clock: Clock,
    new_id: Callable[[], str],
    limits: Limits,
) -> None:
    found = engine.namespaces.find(name)
    wanted = {key: _attribute_type(kind) for key, kind in search_attributes.items()}
    if found is None:
        await engine.namespaces.put(
            NamespaceFact(
                namespace_id=new_id(),
                name=name,
                retention_ns=limits.retention_default_ns,
                created_ns=clock.now_ns(),
                search_attributes=wanted,
            )
        )
    elif wanted.items() - found.search_attributes.items():
        merged = found.search_attributes | wanted
        await engine.namespaces.put(msgspec.structs.replace(found, search_attributes=merged))


def _attribute_type(kind: str) -> int:
    snake = {"KeywordList": "KEYWORD_LIST"}.get(kind, kind.upper())
    return enums.IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{snake}")
