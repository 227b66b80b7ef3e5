"""Removes closed runs from a database that no engine uses; `perdure db prune` is its command.

Role: `prunable` reads which runs a query means, also while an engine works on the file; `prune` deletes them.

Invariants: the engine deletes each run whole or not at all, by the rules of retention: never an open run, never one
whose effects are still to be delivered, and the pointer of a workflow id only with its latest run. Nothing else happens
meanwhile: no timer fires and nothing is delivered.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from perdure.core.clock import SystemClock
from perdure.core.ids import new_id, run_key
from perdure.entity.entity_type import DamagedEntityError, UnknownRowError
from perdure.server.common.codec import decode_fact
from perdure.server.common.namespace_facts import NAMESPACES, NamespaceFact
from perdure.server.engine import Engine
from perdure.server.frontend.list_filter import parse_filter
from perdure.storage.port import DamageError, Span
from perdure.storage.sqlite import open_sqlite
from perdure.storage.sqlite_audit import AuditReader
from perdure.wire.errors import RpcError, namespace_not_found

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from perdure.core.ids import EntityKey
    from perdure.entity.transition import VisibilityRow
    from perdure.storage.port import VisibilityQuery

CHUNK_RUNS = 50
"""Deleted at the same time, so that they share commits."""
PAGE_RUNS = 1_000


class Prunable(msgspec.Struct, frozen=True):
    """The runs that a query means.

    Attributes:
        runs: Those that can go, the latest first.
        waiting: How many more have effects that are still to be delivered.
    """

    runs: list[VisibilityRow]
    waiting: int


class Pruned(msgspec.Struct, frozen=True):
    """What was done.

    Attributes:
        deleted: How many runs are gone.
        left: How many were to go and had to stay.
        damaged: For each run that cannot be read, what is wrong.
    """

    deleted: int
    left: int
    damaged: list[str]


def prunable(database: Path, namespace: str, closed_before_ns: int, query: str) -> Prunable:
    """The closed runs that a query means. Nothing is written.

    Raises:
        OpenError: The file is not a database that this version can read.
        InvalidArgument: The query cannot be understood.
        NotFound: There is no such namespace.

    Example:
        found = prunable(Path("orders.db"), "default", now_ns - 30 * DAY_NS, "WorkflowType = 'Order'")
    """
    with AuditReader.open(database) as reader:
        wanted = _closed(parse_filter(query, _namespace_id(reader, namespace)), closed_before_ns)
        senders = reader.senders()
        runs = list(_pages(reader, wanted))
    free = [run for run in runs if _key(run) not in senders]
    return Prunable(free, len(runs) - len(free))


async def prune(database: Path, runs: list[VisibilityRow]) -> Pruned:
    """Delete these runs, unless they have to stay by the rules of retention.

    Raises:
        OpenError: The database is in use, or not one that this version can open.
        StoreError: It cannot be written.
    """
    store = await open_sqlite(database)
    engine = Engine(store, SystemClock(), new_id)
    try:
        await engine.open(is_at_work=False)
        senders = {effect.source for effect in await store.outbox(engine.owned_shards())}
        keys = [key for run in runs if (key := _key(run)) not in senders]
        deleted, damaged = 0, list[str]()
        for start in range(0, len(keys), CHUNK_RUNS):
            chunk = keys[start : start + CHUNK_RUNS]
            for key, outcome in zip(
                chunk,
                await asyncio.gather(*map(engine.delete, chunk), return_exceptions=True),
                strict=True,
            ):
                if isinstance(outcome, RpcError):
                    damaged.append(f"{key.name} ({key.run_id}): {outcome.message}")
                elif isinstance(outcome, BaseException):
                    raise outcome
                else:
                    deleted += outcome
    finally:
        await engine.close()
    return Pruned(deleted, len(runs) - deleted - len(damaged), damaged)


def _namespace_id(reader: AuditReader, name: str) -> str:
    for stored in reader.entities(NAMESPACES.number):
        for row in stored.facts:
            try:
                fact = decode_fact(NAMESPACES, row).value
            except (DamagedEntityError, UnknownRowError) as error:
                raise DamageError(f"the settings of a namespace cannot be read: {error}") from error
            if isinstance(fact, NamespaceFact) and fact.name == name:
                return stored.key.namespace_id
    raise namespace_not_found(name)


def _closed(query: VisibilityQuery, before_ns: int) -> VisibilityQuery:
    span = query.closed or Span()
    until_ns = min(span.until_ns or before_ns, before_ns)
    return msgspec.structs.replace(query, closed=span._replace(until_ns=until_ns), limit=PAGE_RUNS)


def _pages(reader: AuditReader, query: VisibilityQuery) -> Iterator[VisibilityRow]:
    while True:
        rows = reader.visibility(query)
        yield from rows
        if len(rows) < query.limit:
            return
        query = msgspec.structs.replace(query, after=rows[-1])


def _key(run: VisibilityRow) -> EntityKey:
    return run_key(run.namespace_id, run.workflow_id, run.run_id)
