"""Pruning deletes the closed runs that were asked for, by the rules of retention, and nothing else happens."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from perdure.core.clock import SystemClock
from perdure.core.ids import EntityKey
from perdure.core.units import HOUR_NS
from perdure.entity.transition import Effect
from perdure.server.admin.audit import audit
from perdure.server.node import prune as module
from perdure.server.node.prune import prunable, prune
from perdure.storage.port import InUse, OpenError
from perdure.storage.sqlite import open_sqlite
from perdure.wire.api import workflowservice
from perdure.wire.errors import InvalidArgument, NotFound
from tests.harness.builders import complete_workflow, signal_external
from tests.unit.server.test_audit import change, read
from tests.unit.server.world import open_world, start_timer

LATER_NS = 2**62


async def fill(path: Path) -> None:
    """Runs that are open, closed, closed and followed by a newer one, and closed with an undelivered signal."""
    world = await open_world(await open_sqlite(path))

    async def never(source: EntityKey, effect: Effect) -> None:
        await asyncio.Event().wait()

    world.engine.outbox.deliver = never
    await world.call(
        "RegisterNamespace", workflowservice.RegisterNamespaceRequest(namespace="other")
    )
    for name in ("again", "closed", "sender", "sleeps"):
        await world.start(name)
        commands = {
            "sender": [signal_external("closed"), complete_workflow()],
            "sleeps": [start_timer("t", 3_600_000)],
        }.get(name, [complete_workflow()])
        await world.complete((await world.poll()).task_token, *commands)
    await world.start("again", request_id="again")
    await world.node.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("prune") / "x.db"
    asyncio.run(fill(path))
    return path.read_bytes()


@pytest.fixture
def database(filled: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "x.db"
    path.write_bytes(filled)
    return path


def names(path: Path, query: str = "", before_ns: int = LATER_NS) -> list[str]:
    return [run.workflow_id for run in prunable(path, "default", before_ns, query).runs]


def rows(path: Path) -> list[tuple[str, int]]:
    """The runs and pointers of a database: (workflow id, kind)."""
    return read(path, "SELECT name, kind FROM entities WHERE kind < 3 ORDER BY name, kind")


async def test_what_is_closed_goes_and_all_else_stays(database: Path):
    untouched = [f"SELECT * FROM {table}" for table in ("wakes", "tasks", "outbox", "held")]
    untouched.append(
        "SELECT first_event_id FROM events WHERE entity IN (SELECT entity FROM wakes) ORDER BY 1"
    )
    change(database, "UPDATE wakes SET at_ns = 1")  # an engine at work would look at once
    before = [read(database, statement) for statement in untouched]
    found = prunable(database, "default", LATER_NS, "")
    assert [run.workflow_id for run in found.runs] == ["closed", "again"]
    assert found.waiting == 1
    done = await prune(database, found.runs)
    assert (done.deleted, done.left, done.damaged) == (2, 0, [])
    # The pointer of `again` stays: it is that of the newer run.
    kinds = [name for name, _ in rows(database)]
    assert kinds == ["again", "again", "sender", "sender", "sleeps", "sleeps"]
    report = audit(database)
    assert report.findings == []
    assert [read(database, statement) for statement in untouched] == before
    assert before[0]
    again = await prune(database, found.runs)
    assert (again.deleted, again.left) == (0, 2)


async def test_a_run_whose_effects_are_not_delivered_stays_even_when_it_is_named(database: Path):
    everything = prunable(database, "default", LATER_NS, "").runs
    change(database, "CREATE TABLE kept AS SELECT * FROM outbox", "DELETE FROM outbox")
    with_sender = prunable(database, "default", LATER_NS, "").runs
    assert len(with_sender) == len(everything) + 1
    change(database, "INSERT INTO outbox SELECT * FROM kept", "DROP TABLE kept")
    done = await prune(database, with_sender)
    assert (done.deleted, done.left) == (2, 1)
    assert ("sender", 1) in rows(database)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("WorkflowId = 'again'", ["again"]),
        ("ExecutionStatus = 'Running'", []),
        ("ExecutionStatus = 'Completed' AND WorkflowType = 'T'", ["closed", "again"]),
        ("WorkflowType = 'U'", []),
        ("CloseTime < '2001-01-01T00:00:00Z'", []),
        ("CloseTime > '2001-01-01T00:00:00Z'", ["closed", "again"]),
        ("CloseTime < '2200-01-01T00:00:00Z'", ["closed", "again"]),
    ],
)
def test_a_query_chooses_among_the_closed_runs(database: Path, query: str, expected: list[str]):
    assert names(database, query) == expected


def test_the_age_is_that_of_the_close_and_a_query_cannot_lower_it(database: Path):
    now_ns = SystemClock().now_ns()
    at_ns = now_ns - 9 * HOUR_NS
    change(
        database,
        f"UPDATE visibility SET close_ns = {at_ns}, ended_ns = {at_ns} WHERE workflow_id = 'closed'",
    )
    assert names(database, before_ns=now_ns - 8 * HOUR_NS) == ["closed"]
    assert names(database, "CloseTime < '2200-01-01T00:00:00Z'", now_ns - 8 * HOUR_NS) == ["closed"]
    assert names(database, before_ns=now_ns - 9 * HOUR_NS) == []
    assert names(database, before_ns=now_ns - 9 * HOUR_NS + 1) == ["closed"]


async def test_more_runs_than_fit_a_page_or_a_chunk(
    database: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("PAGE_RUNS", "CHUNK_RUNS"):
        monkeypatch.setattr(module, name, 1)
    runs = prunable(database, "default", LATER_NS, "").runs
    assert [run.workflow_id for run in runs] == ["closed", "again"]
    assert (await prune(database, runs)).deleted == 2


def test_runs_of_other_namespaces_are_left_alone(database: Path):
    assert prunable(database, "other", LATER_NS, "").runs == []
    with pytest.raises(NotFound, match="Namespace nowhere is not found"):
        prunable(database, "nowhere", LATER_NS, "")
    with pytest.raises(InvalidArgument, match="unknown field"):
        prunable(database, "default", LATER_NS, "Colour = 'red'")
    with pytest.raises(OpenError, match="there is no database"):
        prunable(Path(f"{database}x"), "default", LATER_NS, "")


async def test_a_database_in_use_can_be_looked_at_and_not_changed(database: Path):
    before = rows(database)
    world = await open_world(await open_sqlite(database))
    found = prunable(database, "default", LATER_NS, "WorkflowId = 'again'")
    with pytest.raises(InUse):
        await prune(database, found.runs)
    await world.node.close()
    assert set(rows(database)) == set(before)


@pytest.mark.parametrize(
    "damage",
    [
        "events SET data = x'00'",
        "events SET data = x'0a'",
        "events SET data = x'0a0208'",
        "events SET data = x'0a0108'",
        "events SET data = substr(data, 1, length(data) - 1)",
        "events SET data = x'0a0408011003'",
        "facts SET value = x'c1'",
    ],
)
async def test_a_run_that_cannot_be_read_is_named_and_the_others_go(
    damage: str, database: Path, caplog: pytest.LogCaptureFixture
):
    run = "(SELECT entity FROM visibility WHERE workflow_id = 'closed')"
    change(database, f"UPDATE {damage} WHERE entity = {run}")
    done = await prune(database, prunable(database, "default", LATER_NS, "").runs)
    assert (done.deleted, done.left, len(done.damaged)) == (1, 0, 1)
    assert done.damaged[0].startswith("closed (")
    assert "AssertionError" not in caplog.text
    assert await asyncio.to_thread(rows, database)
    store = await open_sqlite(database)  # it was let go of
    await store.close()
