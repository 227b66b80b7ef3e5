"""How SQLite finds rows: nothing that the engine asks for walks through a table that grows with the number of runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from perdure.core.ids import EntityKind, QueueKey, QueueKind, run_key
from perdure.storage import sqlite_commit, sqlite_read
from perdure.storage.port import Span, VisibilityQuery
from perdure.storage.sqlite_open import connect_memory

KEY = run_key("n", "w", "r")
QUEUE = QueueKey("n", "q", QueueKind.WORKFLOW)
SHARDS = (0, 1)
GROWING = ["entities", "events", "facts", "tasks", "wakes", "retention", "outbox", "visibility"]

READS: dict[str, Callable[[sqlite3.Connection], object]] = {
    "load": lambda c: sqlite_read.load(c, KEY),
    "events": lambda c: sqlite_read.events(c, 1, 0, 1, 9),
    "tasks": lambda c: sqlite_read.tasks(c, QUEUE, 0, 0, 9),
    "doubtful tasks": lambda c: sqlite_read.doubtful_tasks(c, SHARDS, 5, None, 9),
    "wakes": lambda c: sqlite_read.wakes(c, SHARDS, 5, 9),
    "expired": lambda c: sqlite_read.expired(c, SHARDS, 5, 9),
    "outbox": lambda c: sqlite_read.outbox(c, SHARDS),
    "held": lambda c: sqlite_read.with_tasks_in_flight(c, SHARDS),
    "namespaces": lambda c: sqlite_read.entities(c, EntityKind.NAMESPACE, 10),
    "a list": lambda c: sqlite_read.visibility(c, VisibilityQuery(namespace_id="n")),
    "a list of a workflow id": lambda c: sqlite_read.visibility(
        c, VisibilityQuery(namespace_id="n", workflow_id="w")
    ),
    "a list of a time": lambda c: sqlite_read.visibility(
        c, VisibilityQuery(namespace_id="n", started=Span(1, 2), closed=Span(3, 4))
    ),
    "a count of a workflow id": lambda c: sqlite_read.visibility_count(
        c, VisibilityQuery(namespace_id="n", workflow_id="w")
    ),
    "a count of open runs": lambda c: sqlite_read.visibility_count(
        c, VisibilityQuery(namespace_id="n", statuses=(1,))
    ),
    "a list of open runs": lambda c: sqlite_read.visibility(
        c, VisibilityQuery(namespace_id="n", statuses=(1,), workflow_type="T")
    ),
    "a count of a close time": lambda c: sqlite_read.visibility_count(
        c, VisibilityQuery(namespace_id="n", closed=Span(3, 4))
    ),
    "open runs of a workflow id": lambda c: sqlite_read.visibility_count(
        c, VisibilityQuery(namespace_id="n", workflow_id="w", statuses=(1,), closed=Span(3, 4))
    ),
    "counts": lambda c: sqlite_read.visibility_counts(c, VisibilityQuery(namespace_id="n")),
    "a count": lambda c: sqlite_read.visibility_count(c, VisibilityQuery(namespace_id="n")),
}
INDEXES = {
    "load": "entities_key",
    "events": "events_place",
    "wakes": "wakes_due",
    "expired": "retention_due",
    "a list": "visibility_order",
    "a list of open runs": "visibility_order (namespace_id=? AND ended_ns=?",
    "a count of open runs": "visibility_order (namespace_id=? AND ended_ns=?",
    "a count of a close time": "COVERING INDEX visibility_order (namespace_id=? AND ended_ns>? AND ended_ns<?",
    "a list of a time": "visibility_order (namespace_id=? AND ended_ns>? AND ended_ns<?",
    "a count of a workflow id": "visibility_workflow",
    "open runs of a workflow id": "visibility_workflow (namespace_id=? AND workflow_id=?",
}


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(connect_memory(2)) as connection:
        connection.execute("INSERT INTO entities VALUES (1, 1, 'n', 'w', 'r')")
        yield connection


def plan_of(
    connection: sqlite3.Connection, read: Callable[[sqlite3.Connection], object]
) -> list[str]:
    """The steps of all statements that a read consists of."""
    said: list[str] = []
    connection.set_trace_callback(said.append)
    read(connection)
    connection.set_trace_callback(None)
    selects = [each for each in said if each.lstrip().startswith(("SELECT", "WITH"))]
    assert selects
    return [
        step
        for each in dict.fromkeys(selects)
        for _, _, _, step in connection.execute(f"EXPLAIN QUERY PLAN {each}")
    ]


@pytest.mark.parametrize("name", READS)
def test_no_read_walks_through_a_table(connection: sqlite3.Connection, name: str):
    steps = plan_of(connection, READS[name])
    assert any(step.startswith("SEARCH") for step in steps), steps
    scanned = [step.split()[1] for step in steps if step.startswith("SCAN")]
    assert not set(scanned) & {*GROWING, "e", "f", "o", "r", "v", "w"}, steps


@pytest.mark.parametrize(("name", "index"), INDEXES.items())
def test_each_index_has_a_reader(connection: sqlite3.Connection, name: str, index: str):
    assert any(index in step for step in plan_of(connection, READS[name]))


@pytest.mark.parametrize("name", ["a list", "a list of open runs", "wakes", "expired"])
def test_a_page_is_read_in_its_order(connection: sqlite3.Connection, name: str):
    assert not [step for step in plan_of(connection, READS[name]) if "ORDER BY" in step]


@pytest.mark.parametrize("statement", sqlite_commit._DELETIONS)
def test_a_deletion_finds_its_rows(connection: sqlite3.Connection, statement: str):
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", (1,))]
    assert all(step.startswith("SEARCH") for step in steps), steps


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO entities VALUES (2, 1, 'n', 'w', 'r')",
        "INSERT INTO events VALUES (1, 0, 3, 1, x'')",
        "INSERT INTO facts VALUES (1, 2, 'k', x'')",
        "INSERT INTO wakes VALUES (1, 0, 1)",
        "INSERT INTO held VALUES (1, 0)",
        "INSERT INTO retention VALUES (1, 0, 1)",
    ],
)
def test_what_is_there_once_is_not_written_twice(connection: sqlite3.Connection, statement: str):
    if "entities" not in statement:
        connection.execute(statement)
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)
