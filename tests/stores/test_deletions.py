"""What a deletion removes: every row of one entity, and nothing of any other."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from perdure.core.ids import EntityKey, EntityKind, QueueKind, TaskRowId, run_key
from perdure.entity.transition import Effect, Task
from perdure.storage.port import EntityWrite, FactRow, OutboxRow, TaskRow
from perdure.storage.schema import MIGRATIONS
from perdure.storage.sqlite import SqliteStore, open_memory
from tests.stores.conftest import QUEUE, A, B, Writer, events, row

C = run_key("n", "c", "r3")
OWNED = ("events", "facts", "wakes", "held", "retention", "visibility")
"""Tables whose rows go with their entity. Tasks and effects are named one by one."""


@pytest.fixture
async def writer() -> Any:
    store = open_memory()
    yield await Writer(store).acquire()
    await store.close()


def connection_of(writer: Writer) -> sqlite3.Connection:
    assert isinstance(writer.store, SqliteStore)
    return writer.store.writing


def table_names(connection: sqlite3.Connection) -> list[str]:
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return [name for (name,) in found]


def dump(connection: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    return {
        name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall())
        for name in table_names(connection)
        if name != "shards"
    }


async def fill(writer: Writer, number: int, key: EntityKey) -> None:
    """An entity with two rows, where there may be two, in each table."""
    task = Task(QUEUE, key, 5, 1, 100)
    effect = Effect(B, "signal", f"id{number}", b"body")
    await writer.entity(
        number, key,
        events=(events(1, 2), events(3, 1), events(4, 1, branch=1)),
        facts=(FactRow(1, "", b"x"), FactRow(4, "5", b"y"), FactRow(4, "6", b"z")),
        tasks=(TaskRow(10 * number, task), TaskRow(10 * number + 1, task)),
        outbox=(OutboxRow(10 * number, effect), OutboxRow(10 * number + 1, effect)),
        wake_at_ns=50 + number, has_task_in_flight=True, delete_at_ns=70 + number, visibility=row(key.run_id or "p"),
    )  # fmt: skip


def test_every_table_is_looked_at():
    connection = open_memory().writing
    known = {"shards", "entities", "tasks", "outbox", *OWNED}
    assert set(table_names(connection)) == known
    assert len(MIGRATIONS) == 2, "a new table needs a row in `fill` and a deletion"


@pytest.mark.parametrize("kind", list(EntityKind))
async def test_a_deletion_removes_the_rows_of_one_entity(writer: Writer, kind: EntityKind):
    connection = connection_of(writer)
    victim = EntityKey(kind, "n", "c", "r3" if kind == EntityKind.RUN else "")
    await fill(writer, 1, A)
    await fill(writer, 3, B)
    neighbours = dump(connection)
    await fill(writer, 2, victim)
    for name in OWNED:
        counted = connection.execute(f"SELECT count(*) FROM {name} WHERE entity = 2").fetchone()[0]
        assert counted >= 1, name
    finished = tuple(TaskRowId(QUEUE, 0, sequence) for sequence in (20, 21))
    await writer.change(
        2, victim, is_deleted=True, finished_tasks=finished, finished_outbox=(20, 21)
    )
    assert dump(connection) == neighbours


async def test_a_deletion_leaves_tasks_and_effects_that_it_does_not_name(writer: Writer):
    await fill(writer, 1, A)
    before = dump(connection_of(writer))
    await writer.change(1, A, is_deleted=True, finished_tasks=(TaskRowId(QUEUE, 0, 10),))
    after = dump(connection_of(writer))
    assert after["tasks"] == before["tasks"][1:]
    assert after["outbox"] == before["outbox"]
    assert all(after[name] == [] for name in ("entities", *OWNED))


async def test_of_a_deletion_only_what_is_finished_counts_besides(writer: Writer):
    await fill(writer, 1, A)
    await writer.change(
        1, A, is_deleted=True, events=(events(5, 1),), facts=(FactRow(9, "", b"late"),), wake_at_ns=9,
        has_task_in_flight=True, delete_at_ns=9, visibility=row("r1"),
    )  # fmt: skip
    after = dump(connection_of(writer))
    assert all(after[name] == [] for name in ("entities", *OWNED))


async def test_a_finished_task_removes_one_row(writer: Writer):
    """Its neighbours differ in one part of the key each."""
    queues = [
        QUEUE, QUEUE._replace(namespace_id="m"), QUEUE._replace(name="p"), QUEUE._replace(kind=QueueKind.ACTIVITY),
    ]  # fmt: skip
    tasks = [TaskRow(10, Task(queue, A, 1, 1, 1)) for queue in queues]
    await writer.entity(1, A, tasks=[*tasks, TaskRow(11, Task(QUEUE, A, 1, 1, 1))])
    insert = "INSERT INTO tasks SELECT namespace_id, queue, kind, 1, sequence, entity_kind, entity_name, run_id, "
    insert += (
        "scheduled_event_id, stamp, created_ns, priority, fairness_key, fairness_weight FROM tasks "
    )
    connection = connection_of(writer)
    connection.execute(insert + "WHERE namespace_id = 'n' AND queue = 'q' AND kind = 1")
    before = dump(connection)["tasks"]
    assert len(before) == 7
    await writer.change(1, A, finished_tasks=(TaskRowId(QUEUE, 0, 10),))
    gone = set(before) - set(dump(connection)["tasks"])
    assert {one[:5] for one in gone} == {("n", "q", 1, 0, 10)}


async def test_a_finished_effect_removes_one_row(writer: Writer):
    effect = Effect(B, "signal", "id", b"body")
    await writer.entity(1, A, outbox=[OutboxRow(n, effect) for n in (5, 6, 7)])
    connection = connection_of(writer)
    connection.execute(
        "INSERT INTO outbox SELECT 1, sequence, entity, to_kind, to_namespace_id, to_name, to_run_id, kind, "
        "request_id, body FROM outbox"
    )
    await writer.change(1, A, finished_outbox=(6,))
    left = [one[:2] for one in dump(connection)["outbox"]]
    assert left == [(0, 5), (0, 7), (1, 5), (1, 6), (1, 7)]


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ({"facts": (FactRow(4, "5", None),)}, "facts"),
        ({"wake_at_ns": 0}, "wakes"),
        ({"has_task_in_flight": False}, "held"),
    ],
    ids=["fact", "wake", "held"],
)
async def test_taking_one_thing_away_leaves_the_neighbours(
    writer: Writer, change: dict[str, Any], table: str
):
    for number, key in ((1, A), (2, C), (3, B)):
        await fill(writer, number, key)
    before = dump(connection_of(writer))
    await writer.change(2, C, **change)
    after = dump(connection_of(writer))
    gone = set(before[table]) - set(after[table])
    assert len(gone) == 1
    assert next(iter(gone))[0] == 2
    assert {name: rows for name, rows in after.items() if name != table} == {
        name: rows for name, rows in before.items() if name != table
    }


@pytest.mark.parametrize(
    ("change", "table", "column", "value"),
    [
        ({"facts": (FactRow(4, "5", b"new"),)}, "facts", 3, b"new"),
        ({"wake_at_ns": 999}, "wakes", 2, 999),
        ({"delete_at_ns": 999}, "retention", 2, 999),
        ({"visibility": row("r3", 5, 70)}, "visibility", 9, 70),
    ],
    ids=["fact", "wake", "retention", "visibility"],
)
async def test_writing_a_row_again_replaces_it(
    writer: Writer, change: dict[str, Any], table: str, column: int, value: object
):
    for number, key in ((1, A), (2, C), (3, B)):
        await fill(writer, number, key)
    before = dump(connection_of(writer))[table]
    await writer.change(2, C, **change)
    after = dump(connection_of(writer))[table]
    assert len(after) == len(before)
    (changed,) = set(after) - set(before)
    assert (changed[0], changed[column]) == (2, value)


async def test_nothing_is_said_of_what_does_not_change(writer: Writer):
    await fill(writer, 1, A)
    before = dump(connection_of(writer))
    await writer.change(1, A)
    assert dump(connection_of(writer)) == before


async def test_a_new_entity_may_say_that_it_has_nothing(writer: Writer):
    await writer.entity(
        1, A, facts=(FactRow(4, "5", None),), wake_at_ns=0, has_task_in_flight=False
    )
    assert all(dump(connection_of(writer))[name] == [] for name in OWNED)


async def test_a_name_is_free_for_another_entity_in_the_same_batch(writer: Writer):
    await fill(writer, 1, A)
    again = EntityWrite(number=2, key=A, shard_id=0, is_new=True, facts=(FactRow(1, "", b"n"),))
    gone = EntityWrite(number=1, key=A, shard_id=0, is_deleted=True)
    await writer.write(again, gone)
    loaded = await writer.store.load(A)
    assert loaded is not None
    assert (loaded.number, loaded.facts, loaded.events) == (2, (FactRow(1, "", b"n"),), ())
