"""What must hold of a world that has calmed down: of its runs, its database, and the memory of its node."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from perdure.core.ids import EntityKind
from perdure.core.units import SECOND_NS
from perdure.history.facts import FactKind
from perdure.history.loader import load_run
from perdure.server.audit import audit_memory
from perdure.server.codec import decode_fact
from perdure.service import RPCError, RPCStatusCode
from perdure.storage import sqlite_read
from perdure.testing.simulation.network import NetworkFaults
from tests.simulation import checks, right_run
from tests.simulation.violations import Kind, Violation, require
from tests.simulation.workloads.base import TASK_QUEUE

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from perdure.server.node import Node
    from tests.simulation.workloads import Workload
    from tests.simulation.world import World

QUIET_S = 120
"""What is stale may be noticed late: sweeps come once a minute."""
SWEEP_S = 65


async def check(world: World, drivers: Sequence[Workload]) -> None:
    """Everything, in the order in which it can be seen.

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
    """The database is sound, at whatever moment its node died.

    Raises:
        Violation: It contradicts itself.
    """
    report = audit_memory(database)
    found = [f"{check}: {what}" for check, what in report.findings]
    require(not found, Kind.DATABASE, "; ".join(found[:3]))
    if is_quiet:
        require(not report.stale_tasks, Kind.LEFT_OVER, f"{report.stale_tasks} stale task rows")


def check_nothing_held(database: sqlite3.Connection) -> None:
    """No worker lives yet: whatever workers held has been voided.

    Raises:
        Violation: A run still waits for somebody who is dead.
    """
    for key in sqlite_read.entities(database, EntityKind.RUN, FactKind.CREATE):
        stored = sqlite_read.load(database, key)
        assert stored is not None, key
        facts = [decode_fact(row) for row in stored.facts]
        state = load_run(key, [row.data for row in stored.events], facts)
        # A task made since then may wait for the cache of a dead worker, for a few seconds.
        task = state.workflow_task
        is_started = task is not None and task.started_event_id
        require(
            not state.is_running or not (state.started_activities or is_started),
            Kind.LATE,
            f"{key.name} waits for workers that died with their engine",
        )


async def check_reads(world: World) -> None:
    """The histories that a client reads are those that are stored."""
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
        # Payloads have gone through the codec: compare what has none.
        shapes = [(each.event_id, each.event_type, each.event_time) for each in events]
        wanted = [
            (each.event_id, each.event_type, each.event_time) for each in stored.get(run_id, [])
        ]
        require(shapes == wanted, Kind.STALE_READ, f"{workflow_id}: read {len(shapes)} events")
        world.note(f"history {workflow_id} {len(events)}")


async def check_reload(world: World) -> None:
    """What is in memory is what a reload gives.

    Raises:
        Violation: It is not.
    """
    node = world.node
    assert node is not None
    engine = node.engine
    await engine.committer.flush()
    for entry in list(engine.cache.runs()):
        if entry.state is None or entry.pending is not None:
            continue
        stored = await engine._store.load(entry.key)
        require(stored is not None, Kind.MEMORY, f"{entry.key.name} is in memory only")
        assert stored is not None
        facts = [decode_fact(row) for row in stored.facts]
        again = load_run(entry.key, [row.data for row in stored.events], facts).snapshot()
        memory = entry.state.snapshot()
        if memory != again:
            differing = {n: (memory[n], again[n]) for n in memory if memory[n] != again[n]}
            raise Violation(Kind.MEMORY, f"{entry.key.name}: {differing}")


async def check_rows(world: World) -> None:
    """Every workflow has ended: nothing may be left to do."""
    if not world.settings.has_row_sweep and world.node is not None:
        _no_rows(world, f"tasks WHERE queue = '{TASK_QUEUE}'")
        sweep = world.node.engine._row_sweep
        await type(sweep).sweep(sweep)
    _no_rows(world, "tasks", "outbox", "wakes", "held")
    if world.settings.deletes_soon:
        _no_rows(world, f"entities WHERE kind != {EntityKind.NAMESPACE}", "retention", "visibility")


def _no_rows(world: World, *tables: str) -> None:
    for table in tables:
        (count,) = world.database.execute(f"SELECT count(*) FROM {table}").fetchone()
        require(not count, Kind.LEFT_OVER, f"{count} rows are left in {table}")


def check_memory(node: Node) -> None:
    """Nobody waits for anything, and nothing is left to do.

    Raises:
        Violation: Something was forgotten in one of the node's tables.
    """
    engine = node.engine
    check_callers(node)
    _all_empty(
        {
            "groups": engine.committer._waiting,
            "effects": engine._outbox._lanes or engine._outbox._known or +engine._outbox._sources,
            "wake-ups": engine._wakes._armed or engine._wakes._failures or engine._wakes._firing,
            "entities with a pending change": [e for e in engine.cache.runs() if e.pending],
        }
    )


def check_callers(node: Node) -> None:
    """No call is under way: the node's tables of those who wait are empty.

    Raises:
        Violation: A caller who left was forgotten in one of them.
    """
    engine, services = node.engine, node.frontend._services
    # What has a row may stay in the memory of a queue that nobody polls: it goes with the queue.
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
            "readers of histories": engine._release._waiters | engine._release._end_waiters,
            "loads": engine._entities._loader._loading,
            "pinned entities": +engine.cache._pins,
            "calls": engine.committer.under_way().count,
        }
    )


def _all_empty(tables: dict[str, object]) -> None:
    left = {name: str(table)[:200] for name, table in tables.items() if table}
    require(not left, Kind.LEFT_OVER, f"in memory: {left}")
