"""The audit of a database: silent about a sound one, also after deletions, and each kind of damage is found."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perdure.entity.transition import FactChange
from perdure.history.state.facts import ActivityProgress, FactKind, Sticky, WorkflowTask
from perdure.server.admin.audit import CHECKS, AuditReport, audit
from perdure.server.common.codec import encode_fact
from perdure.storage.port import NewerSchema, OpenError
from perdure.storage.schema import APPLICATION_ID, SCHEMA_VERSION
from perdure.storage.sqlite import open_sqlite
from perdure.wire.api import common, taskqueue
from tests.harness.builders import complete_workflow, schedule_activity
from tests.unit.server.world import open_world, start_timer

COMMANDS = {
    "again": [complete_workflow()],
    "buffers": [],
    "busy": [schedule_activity("a"), schedule_activity("b")],
    "closed": [complete_workflow()],
    "sleeps": [start_timer("t", 3_600_000)],
}


async def fill(path: Path) -> None:
    """A run of each kind: untouched, waiting for a timer, with activities, with buffered events, closed, run twice."""
    world = await open_world(await open_sqlite(path))
    for name in COMMANDS:
        await world.start(name, memo=common.Memo(fields={"m": common.Payload(data=b"1")}))
    for _ in COMMANDS:
        task = await world.poll()
        name = task.workflow_execution.workflow_id
        if name == "buffers":
            await world.signal(name)
        else:
            await world.complete(task.task_token, *COMMANDS[name])
    await world.poll_activity()
    await world.start("again", request_id="again")
    await world.start("new", task_queue=taskqueue.TaskQueue(name="idle"))
    await world.engine.namespaces.keep_runs("default", 1)
    await world.node.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("audit") / "x.db"
    asyncio.run(fill(path))
    return path.read_bytes()


@pytest.fixture
def database(sound: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "x.db"
    path.write_bytes(sound)
    return path


def change(database: Path, *statements: str) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def read(database: Path, statement: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(database)
    rows = connection.execute(statement).fetchall()
    connection.close()
    return rows


def test_of_a_sound_database_everything_is_looked_at(database: Path):
    report = audit(database)
    assert report.findings == []
    assert report.is_sound
    counts = {
        name: read(database, f"SELECT count(*) FROM {table}")[0][0]
        for name, table in (
            ("shards", "shards"), ("wake-ups", "wakes"), ("in flight", "held"), ("retention", "retention"),
            ("tasks", "tasks"), ("lists", "visibility"), ("histories", "visibility"),
            ("facts", "facts"),
        )
    }  # fmt: skip
    assert counts["histories"] == 7
    # A task is a row until it starts: one activity, the first task of the second `again`, and that of `new`.
    assert counts["tasks"] == 3
    assert all(count > 0 for count in counts.values())
    wanted = counts | {"pages": 1, "commits": 1, "namespaces": 1, "pointers": 6}
    assert dict(report.looked_at) == wanted
    assert set(wanted) | {"outbox"} == set(CHECKS) - {"kinds"}
    assert report.stale_tasks == 0


RUN = "(SELECT number FROM entities WHERE kind = 1 AND name = '{}')"
CLOSED, BUSY, SLEEPS, BUFFERS, NEW = (
    RUN.format(name) for name in ("closed", "busy", "sleeps", "buffers", "new")
)
SHIFTED = "shard_id = (shard_id + 1) % 4"
COPY_OF_NAMESPACE = (
    "INSERT INTO entities SELECT number - 1, kind, 'other', name, run_id FROM entities WHERE kind = 3",
    "INSERT INTO facts SELECT entity - 1, kind, key, value FROM facts WHERE kind = 10",
)
SECOND_OPEN_RUN = tuple(
    statement.format(BUSY)
    for statement in (
        "INSERT INTO entities SELECT number + 500, kind, namespace_id, name, 'second' FROM entities WHERE number = {}",
        "INSERT INTO events SELECT entity + 500, branch, first_event_id, count, data FROM events WHERE entity = {}",
        "INSERT INTO facts SELECT entity + 500, kind, key, value FROM facts WHERE entity = {}",
    )
)
DAMAGE: list[tuple[str | tuple[str, ...], str, str]] = [
    ("DELETE FROM events WHERE first_event_id = 1", "histories", "event 1 is missing or there twice"),
    (f"DELETE FROM events WHERE entity = {CLOSED}", "histories", "it has no events"),
    (f"DELETE FROM events WHERE entity = {CLOSED} AND first_event_id = 3", "histories", "event 3 is missing"),
    (
        f"INSERT INTO events SELECT entity, branch, first_event_id + 1, 1, data FROM events WHERE entity = {NEW}",
        "histories",
        "event 3 is missing or there twice",
    ),
    (f"UPDATE events SET count = count + 1 WHERE entity = {NEW}", "histories", "has not the 3 events it claims"),
    (f"UPDATE events SET data = zeroblob(4) WHERE entity = {NEW}", "histories", "cannot be read"),
    (f"UPDATE facts SET value = x'c1' WHERE entity = {BUSY}", "histories", "cannot be read"),
    ("UPDATE entities SET namespace_id = namespace_id || 'x' WHERE kind = 1", "shards", "wrong shard"),
    ("UPDATE entities SET number = number + (1 << 42) WHERE kind = 1", "shards", "wrong shard"),
    ("UPDATE shards SET last_entity = last_entity - 1 WHERE last_entity > 0", "shards", "would be given again"),
    ("DELETE FROM facts WHERE kind = 10", "namespaces", "has not exactly the one fact"),
    ("UPDATE facts SET value = x'c1' WHERE kind = 10", "namespaces", "cannot be read"),
    (COPY_OF_NAMESPACE, "namespaces", "two namespaces are called 'default'"),
    ("DELETE FROM facts WHERE kind = 8", "pointers", "has not exactly the one fact"),
    ("INSERT INTO facts SELECT entity, 8, 'x', value FROM facts WHERE kind = 8", "pointers", "exactly the one"),
    ("UPDATE facts SET value = x'c1' WHERE kind = 8", "pointers", "cannot be read"),
    (SECOND_OPEN_RUN, "pointers", "a second open run of the same workflow id"),
    (SECOND_OPEN_RUN, "pointers", "its open run is not the one it points to"),
    (f"UPDATE entities SET run_id = 'x' WHERE number = {CLOSED}", "pointers", "a run that is not there"),
    (f"UPDATE entities SET run_id = 'x' WHERE number = {BUSY}", "pointers", "is not the one it points to"),
    (
        f"DELETE FROM events WHERE entity = {CLOSED} AND first_event_id > 2",
        "pointers",
        "says of its run what is not so",
    ),
    (f"INSERT INTO facts SELECT {CLOSED}, kind, key, value FROM facts WHERE kind = 5", "facts", "of BUFFERED"),
    (f"INSERT INTO facts SELECT {CLOSED}, kind, key, value FROM facts WHERE kind = 4", "facts", "facts of ACTIVITY"),
    ("UPDATE facts SET key = '99' WHERE kind = 4", "facts", "progress of activity 99, which is not pending"),
    (
        f"INSERT INTO facts SELECT {SLEEPS}, kind, key, value FROM facts WHERE kind = 5",
        "facts",
        "buffered without a started workflow task",
    ),
    ("DELETE FROM wakes", "wake-ups", "has a deadline (TIMER) and no wake-up"),
    ("UPDATE wakes SET at_ns = at_ns + 86400000000000000", "wake-ups", "woken after its deadline (TIMER)"),
    (f"UPDATE wakes SET {SHIFTED}", "wake-ups", "its wake-up lies in the wrong shard"),
    (f"INSERT INTO wakes SELECT {CLOSED}, 0, 1", "wake-ups", "is closed and has a wake-up"),
    ("DELETE FROM held", "in flight", "has a task in flight, and no row says so"),
    (f"INSERT INTO held SELECT {CLOSED}, 0", "in flight", "is closed, and a row says that it has a task in flight"),
    (f"UPDATE held SET {SHIFTED}", "in flight", "the row of its task in flight is in the wrong shard"),
    ("DELETE FROM visibility", "lists", "is in no list"),
    ("UPDATE visibility SET ended_ns = 7", "lists", "sort it in the wrong place"),
    ("UPDATE visibility SET ended_ns = start_ns WHERE close_ns = 0", "lists", "sort it in the wrong place"),
    (f"UPDATE visibility SET history_length = 1 WHERE entity = {CLOSED}", "lists", "another history_length"),
    (f"UPDATE visibility SET history_size_bytes = 1 WHERE entity = {CLOSED}", "lists", "another history_size_bytes"),
    ("UPDATE visibility SET status = 2", "lists", "another status"),
    ("UPDATE visibility SET memo = x''", "lists", "another memo"),
    ("UPDATE visibility SET start_ns = start_ns + 1", "lists", "another start_ns"),
    ("UPDATE visibility SET task_queue = 'x'", "lists", "another task_queue"),
    ("DELETE FROM retention", "retention", "is closed and would never be deleted"),
    (f"INSERT INTO retention SELECT {NEW}, 0, 1", "retention", "is open and would be deleted"),
    ("DELETE FROM tasks", "tasks", "the workflow task of event 2 is in no queue"),
    ("DELETE FROM tasks", "tasks", "the activity task of event 6 is in no queue"),
    (f"UPDATE tasks SET {SHIFTED}", "tasks", "a task lies in the wrong shard"),
    ("UPDATE tasks SET shard_id = 9", "tasks", "a task lies in the wrong shard"),
    ("UPDATE tasks SET sequence = sequence + (1 << 40)", "tasks", "a task's number would be given again"),
    ("UPDATE tasks SET stamp = stamp + 1", "tasks", "is in no queue"),
    (
        (
            "INSERT INTO tasks SELECT namespace_id, 'another', kind, shard_id, sequence, entity_kind, entity_name, "
            "run_id, scheduled_event_id, stamp, created_ns, priority, '', 1.0 FROM tasks"
        ),
        "tasks",
        "2 rows for one task",
    ),
    *(
        (f"INSERT INTO outbox VALUES ({shard}, {sequence}, {number}, 1, '', '', '', 'k', '', x'')", "outbox", words)
        for shard, sequence, number, words in (
            (0, 1, 2 << 40, "effect 1 lies in the wrong shard"),
            (9, 1, 9 << 40, "effect 1 lies in the wrong shard"),
            (0, 1 << 62, 1, f"the number of effect {1 << 62} would be given again"),
        )
    ),
    *(
        (statement, "histories", f"1 rows of table {table} belong to nothing")
        for table, statement in (
            ("events", "INSERT INTO events VALUES (77, 0, 1, 1, x'')"),
            ("facts", "INSERT INTO facts VALUES (77, 1, '', x'')"),
            ("wakes", "INSERT INTO wakes VALUES (77, 0, 1)"),
            ("held", "INSERT INTO held VALUES (77, 0)"),
            ("retention", "INSERT INTO retention VALUES (77, 0, 1)"),
            ("outbox", "INSERT INTO outbox VALUES (0, 1, 77, 1, '', '', '', 'k', '', x'')"),
            (
                "visibility",
                (
                    "INSERT INTO visibility SELECT 77, namespace_id, '', '', '', '', 1, 0, 0, 0, 0, 0, x'', x'', '', "
                    "'', '', '', 0 FROM visibility LIMIT 1"
                ),
            ),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "check", "words"), DAMAGE, ids=[f"{check}: {words}" for _, check, words in DAMAGE]
)
def test_damage_is_found(database: Path, damage: str | tuple[str, ...], check: str, words: str):
    change(database, *([damage] if isinstance(damage, str) else damage))
    report = audit(database)
    assert not report.is_sound
    found = [one.what for one in report.findings if one.check == check]
    assert any(words in what for what in found), report.findings


def test_one_thing_that_is_wrong_is_one_finding(database: Path):
    """And names the workflow, never what is in it."""
    for damage, check, name in (
        (f"UPDATE visibility SET memo = x'736563726574' WHERE entity = {BUSY}", "lists", "busy"),
        (f"DELETE FROM retention WHERE entity = {CLOSED}", "retention", "closed"),
        (f"DELETE FROM wakes WHERE entity = {SLEEPS}", "wake-ups", "sleeps"),
        ("DELETE FROM tasks WHERE kind = 2", "tasks", "busy"),
    ):
        before = database.read_bytes()
        change(database, damage)
        report = audit(database)
        (found,) = report.findings
        assert found.check == check
        assert f"workflow {name!r} (run " in found.what
        assert "secret" not in found.what
        database.write_bytes(before)


def test_effects_that_wait_are_looked_at(database: Path):
    change(
        database,
        f"INSERT INTO outbox SELECT 0, 1, {CLOSED}, 1, '', '', '', 'k', '', x''",
        f"UPDATE outbox SET shard_id = entity >> 40, sequence = 1 WHERE entity = {CLOSED}",
        "INSERT INTO outbox SELECT shard_id, 2, entity, 1, '', '', '', 'k', '', x'' FROM outbox",
    )
    report = audit(database)
    assert report.findings == []
    assert report.looked_at["outbox"] == 2


LEFT_OVER: dict[FactKind, msgspec.Struct] = {
    FactKind.WORKFLOW_TASK: WorkflowTask(
        scheduled_event_id=2, queue_name="q", scheduled_ns=0, start_to_close_ns=1
    ),
    FactKind.STICKY: Sticky("q", 1),
    FactKind.ACTIVITY: ActivityProgress(),
}


@pytest.mark.parametrize("kind", LEFT_OVER)
def test_each_fact_of_open_runs_is_one_too_many_of_a_closed_one(database: Path, kind: FactKind):
    row = encode_fact(FactChange(kind, "6", LEFT_OVER[kind]))
    assert row.value is not None
    ((number,),) = read(database, f"SELECT {CLOSED}")
    change(
        database,
        f"INSERT INTO facts VALUES ({number}, {row.kind}, '6', x'{row.value.hex()}')",
    )
    found = [one.what for one in audit(database).findings]
    assert any(f"still has facts of {kind.name}" in what for what in found), found


def test_facts_that_are_too_many_are_named_in_order(database: Path):
    ((number,),) = read(database, f"SELECT {CLOSED}")
    for kind, left in LEFT_OVER.items():
        row = encode_fact(FactChange(kind, "6", left))
        assert row.value is not None
        change(
            database,
            f"INSERT INTO facts VALUES ({number}, {row.kind}, '6', x'{row.value.hex()}')",
        )
    found = [one.what for one in audit(database).findings]
    assert any(what.endswith("of ACTIVITY, STICKY, WORKFLOW_TASK") for what in found), found


async def test_a_run_that_ended_with_tasks_under_way_wants_none(tmp_path: Path):
    world = await open_world(await open_sqlite(tmp_path / "x.db"))
    await world.start()
    task = await world.poll()
    await world.complete(task.task_token, schedule_activity("a"), schedule_activity("b"))
    await world.poll_activity()
    await world.signal()
    await world.terminate()
    await world.node.close()
    report = audit(tmp_path / "x.db")
    assert report.findings == []


def test_rows_that_mean_nothing_are_counted_and_do_no_harm(database: Path):
    change(
        database,
        "INSERT INTO tasks SELECT namespace_id, queue, kind, shard_id, sequence + 1000, entity_kind, entity_name, "
        "run_id, scheduled_event_id + 90, stamp, created_ns, priority, '', 1.0 FROM tasks",
    )
    report = audit(database)
    assert (report.findings, report.stale_tasks) == ([], 3)
    assert report.looked_at["tasks"] == 6


def test_counters_of_an_open_run_may_be_older(database: Path):
    change(
        database,
        f"UPDATE visibility SET history_length = 1, history_size_bytes = 1 WHERE entity = {BUSY}",
    )
    assert audit(database).findings == []


def test_an_early_wake_up_does_no_harm(database: Path):
    change(database, "UPDATE wakes SET at_ns = 1")
    assert audit(database).findings == []


def test_events_of_other_branches_begin_anywhere(database: Path):
    change(
        database,
        f"INSERT INTO events SELECT entity, 1, 3, count, data FROM events WHERE entity = {NEW}",
    )
    assert audit(database).findings == []
    change(
        database,
        f"INSERT INTO events SELECT entity, 1, 9, count, data FROM events WHERE entity = {NEW} AND branch = 0",
    )
    assert "event 5 is missing" in audit(database).findings[0].what


@pytest.mark.parametrize(
    ("statement", "kind", "message"),
    [
        ("PRAGMA application_id = 7", OpenError, "is no database of Perdure"),
        (f"PRAGMA user_version = {SCHEMA_VERSION + 1}", NewerSchema, "checks 2: upgrade Perdure"),
        (
            f"PRAGMA user_version = {SCHEMA_VERSION - 1}",
            OpenError,
            "open it .* once, which upgrades",
        ),
    ],
)
def test_what_this_version_does_not_know_is_refused(
    database: Path, statement: str, kind: type[OpenError], message: str
):
    change(database, statement)
    with pytest.raises(kind, match=message) as caught:
        audit(database)
    assert type(caught.value) is kind
    assert APPLICATION_ID != 7


@pytest.mark.parametrize("name", ["missing.db", "."])
def test_only_a_file_is_audited(tmp_path: Path, name: str):
    with pytest.raises(OpenError, match="there is no database"):
        audit(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_pages_that_are_damaged_end_the_audit(database: Path):
    data = bytearray(database.read_bytes())
    # The root page of an index: SQLite misses its rows.
    (page,) = read(database, "SELECT rootpage FROM sqlite_master WHERE name = 'entities_key'")[0]
    data[(page - 1) * 4_096 + 3 : (page - 1) * 4_096 + 5] = b"\x00\x00"
    database.write_bytes(data)
    report = audit(database)
    assert {one.check for one in report.findings} == {"pages"}
    assert dict(report.looked_at) == {"pages": 1}


def test_nothing_is_written(database: Path):
    before = database.read_bytes()
    audit(database)
    assert database.read_bytes() == before


# ── after deletions ──────────────────────────────────────────────────────────────────────────────────


async def deleted(path: Path) -> AuditReport:
    """Let an engine delete what is over its retention."""
    store = await open_sqlite(path)
    world = await open_world(store)
    while await store.expired(range(4), 2, 9):  # noqa: ASYNC110 -- the engine tells nobody
        await asyncio.sleep(0.01)
    await world.node.close()
    return audit(path)


async def test_a_database_is_sound_after_deletions(database: Path):
    expired = database
    change(expired, "UPDATE retention SET at_ns = 1")
    before = read(expired, "SELECT name, kind FROM entities WHERE kind < 3 ORDER BY name, kind")
    report = await deleted(expired)
    assert report.findings == []
    assert report.looked_at["histories"] == 5
    gone = set(before) - set(read(expired, "SELECT name, kind FROM entities"))
    # The first run of `again` is gone too, though the pointer of the workflow id stays: it is the second one's.
    assert gone == {("closed", 1), ("closed", 2)}
    assert read(expired, "SELECT count(*) FROM entities WHERE name = 'again'") == [(2,)]
    for table in ("events", "facts", "wakes", "held", "retention", "outbox", "visibility"):
        orphans = f"SELECT count(*) FROM {table} WHERE entity NOT IN (SELECT number FROM entities)"
        assert read(expired, orphans) == [(0,)], table
    assert read(expired, "SELECT count(*) FROM retention") == [(0,)]
