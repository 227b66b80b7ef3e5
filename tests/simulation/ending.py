"""What must hold at the end of a world: of its runs, its database, and the memory of its node."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from perdure.core.ids import EntityKind
from perdure.core.units import SECOND_NS
from perdure.history.entity_types import RUNS
from perdure.history.loader import load_run
from perdure.history.state.facts import FactKind
from perdure.server.admin.audit import audit_memory
from perdure.server.common.codec import decode_fact
from perdure.service import RPCError, RPCStatusCode
from perdure.storage import sqlite_read
from perdure.testing.simulation.network import NetworkFaults
from tests.simulation import checks, right_run
from tests.simulation.violations import Kind, Violation, require
from tests.simulation.workloads.base import TASK_QUEUE

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from perdure.server.node.node import Node
    from tests.simulation.workloads import Workload
    from tests.simulation.world import World

QUIET_S = 120
"""Long enough for two sweeps, which come once a minute."""
SWEEP_S = 65


async def check(world: World, drivers: Sequence[Workload]) -> None:
    """Run all checks: first what clients see, then, after a quiet time, what is left in the database and in memory.

    Raises:
        Violation: A promise was not kept.
    """
    checks.check_outcomes(world.ledger)
    checks.check_attempts(world.ledger)
    check_database(world.database)
    await check_reads(world)
    await check_reload(world)
    await asyncio.sleep(
        QUIET_S + 2 * world.settings.retention_ns / SECOND_NS * world.settings.deletes_soon
    )
    histories = world.archive.histories()
    for key, events in histories.items():
        checks.check_history(key.name, events)
        world.lateness.check_history(key.name, events, is_embedded=world.settings.is_embedded)
    right_run.check(histories, world.ledger.meant)
    for driver in drivers:
        driver.check(histories)
    await check_rows(world)
    world.archive.check(world.settings.retention_ns, world.outages.jumps_ns)
    check_database(world.database, is_quiet=True)
    world.check_node()
    assert world.node is not None
    check_memory(world.node)


def check_database(database: sqlite3.Connection, *, is_quiet: bool = False) -> None:
    """The database is consistent, even right after its node was killed.

    Raises:
        Violation: It is not.
    """
    report = audit_memory(database)
    found = [f"{check}: {what}" for check, what in report.findings]
    require(not found, Kind.DATABASE, "; ".join(found[:3]))
    if is_quiet:
        require(not report.stale_tasks, Kind.LEFT_OVER, f"{report.stale_tasks} stale task rows")


def check_nothing_in_flight(database: sqlite3.Connection) -> None:
    """After the start of an embedded engine, which no worker survives, no worker holds a task.

    Raises:
        Violation: A run still waits for a dead worker.
    """
    for key in sqlite_read.entities(database, EntityKind.RUN, FactKind.CREATE):
        stored = sqlite_read.load(database, key)
        assert stored is not None, key
        facts = [decode_fact(RUNS, row) for row in stored.facts]
        state = load_run(key, [row.data for row in stored.events], facts)
        # A task that is only scheduled may be in the sticky queue of a dead worker for a few seconds.
        task = state.workflow_task
        is_started = task is not None and task.started_event_id
        require(
            not state.is_running or not (state.started_activities or is_started),
            Kind.LATE,
            f"{key.name} waits for workers that died with their engine",
        )


async def check_reads(world: World) -> None:
    """A client reads the histories that are stored."""
    client = world.client("checker", NetworkFaults.none())
    stored = {key.run_id: events for key, events in world.archive.histories().items()}
    for workflow_id, run_id in world.ledger.started.items():
        handle = client.get_workflow_handle(workflow_id, run_id=run_id)
        try:
            events = (await handle.fetch_history()).events
        except RPCError as error:
            is_gone = error.status is RPCStatusCode.NOT_FOUND and world.settings.deletes_soon
            require(is_gone, Kind.LOST, f"{workflow_id} {run_id}: {error}")
            continue
        # The client has decoded the payloads, so only fields without payloads are compared.
        shapes = [(each.event_id, each.event_type, each.event_time) for each in events]
        wanted = [
            (each.event_id, each.event_type, each.event_time) for each in stored.get(run_id, [])
        ]
        require(shapes == wanted, Kind.STALE_READ, f"{workflow_id}: read {len(shapes)} events")
        world.note(f"history {workflow_id} {len(events)}")


async def check_reload(world: World) -> None:
    """A reload gives the state that is in memory.

    Raises:
        Violation: It gives another state.
    """
    node = world.node
    assert node is not None
    engine = node.engine
    await engine.committer.flush()
    for entry in list(engine.cache.of_kind(EntityKind.RUN)):
        if entry.state is None or entry.pending is not None:
            continue
        stored = await engine._store.load(entry.key)
        require(stored is not None, Kind.MEMORY, f"{entry.key.name} is only in memory")
        assert stored is not None
        facts = [decode_fact(RUNS, row) for row in stored.facts]
        again = load_run(entry.key, [row.data for row in stored.events], facts).snapshot()
        memory = entry.state.snapshot()
        if memory != again:
            differing = {n: (memory[n], again[n]) for n in memory if memory[n] != again[n]}
            raise Violation(Kind.MEMORY, f"{entry.key.name}: {differing}")


async def check_rows(world: World) -> None:
    """All workflows have ended: no rows of tasks, effects or wake-ups are left."""
    if not world.settings.has_row_sweep and world.node is not None:
        _no_rows(world, f"tasks WHERE queue = '{TASK_QUEUE}'")
        sweep = world.node.engine.row_sweep
        await type(sweep).sweep(sweep)
    _no_rows(world, "tasks", "outbox", "wakes", "held")
    if world.settings.deletes_soon:
        _no_rows(world, f"entities WHERE kind != {EntityKind.NAMESPACE}", "retention", "visibility")


def _no_rows(world: World, *tables: str) -> None:
    for table in tables:
        (count,) = world.database.execute(f"SELECT count(*) FROM {table}").fetchone()
        require(not count, Kind.LEFT_OVER, f"{count} rows are left in {table}")


def check_memory(node: Node) -> None:
    """The node has no work left, and no call waits.

    Raises:
        Violation: One of the node's tables is not empty.
    """
    engine = node.engine
    check_callers(node)
    _all_empty(
        {
            "groups": engine.committer._waiting,
            "effects": engine.outbox._lanes or engine.outbox._known or +engine.outbox._sources,
            "wake-ups": engine.wakes._armed or engine.wakes._failures or engine.wakes._firing,
            "entities with a pending change": [
                e for e in engine.cache.of_kind(EntityKind.RUN) if e.pending
            ],
        }
    )


def check_callers(node: Node) -> None:
    """No call is under way: the node's tables of waiting callers are empty.

    Raises:
        Violation: One of them still has a caller.
    """
    engine, services = node.engine, node.frontend.services
    # A task with a row may stay in memory while nobody polls its queue: it is dropped with the queue.
    waiting_items = {
        key.name: [item.key for _, _, item in queue._heap if item.key in queue._keys]
        for key, queue in node.matching._queues.all()
        if any(item.key in queue._keys and not item.has_row for _, _, item in queue._heap)
    }
    _all_empty(
        {
            "tasks in queues": waiting_items,
            "direct queries": services.queries._direct,
            "attached queries": services.queries._attached,
            "updates": services.updates._runs,
            "readers of histories": engine.release._waiters | engine.release._end_waiters,
            "loads": engine.entities._loader._loading,
            "pinned entities": +engine.cache._pins,
            "calls": engine.committer.under_way().count,
        }
    )


def _all_empty(tables: dict[str, object]) -> None:
    left = {name: str(table)[:200] for name, table in tables.items() if table}
    require(not left, Kind.LEFT_OVER, f"in memory: {left}")
