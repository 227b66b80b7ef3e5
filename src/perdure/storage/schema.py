"""The SQLite schema, its version, and its migrations.

Invariants: `MIGRATIONS[n]` leads from version n to n + 1 and is never edited once released; a database of each released
version is kept as a test fixture. Measured choices (D-51): events are an append-only table with one row per
transition and a narrow index, facts one row each, wake-ups a table of their own.
"""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x50524455
"""Marks a file as ours in SQLite's header (`PRAGMA application_id`)."""

_VERSION_1 = (
    """CREATE TABLE shards (
        shard_id INTEGER PRIMARY KEY,
        range_id INTEGER NOT NULL,
        commit_sequence INTEGER NOT NULL,
        clock_ns INTEGER NOT NULL,
        last_entity INTEGER NOT NULL
    )""",
    """CREATE TABLE entities (
        number INTEGER PRIMARY KEY,
        kind INTEGER NOT NULL,
        namespace_id TEXT NOT NULL,
        name TEXT NOT NULL,
        run_id TEXT NOT NULL
    )""",
    "CREATE UNIQUE INDEX entities_key ON entities (kind, namespace_id, name, run_id)",
    """CREATE TABLE events (
        entity INTEGER NOT NULL,
        branch INTEGER NOT NULL,
        first_event_id INTEGER NOT NULL,
        count INTEGER NOT NULL,
        data BLOB NOT NULL
    )""",
    "CREATE UNIQUE INDEX events_place ON events (entity, branch, first_event_id)",
    """CREATE TABLE facts (
        entity INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        key TEXT NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (entity, kind, key)
    ) WITHOUT ROWID""",
    """CREATE TABLE tasks (
        namespace_id TEXT NOT NULL,
        queue TEXT NOT NULL,
        kind INTEGER NOT NULL,
        shard_id INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        entity_kind INTEGER NOT NULL,
        entity_name TEXT NOT NULL,
        run_id TEXT NOT NULL,
        scheduled_event_id INTEGER NOT NULL,
        stamp INTEGER NOT NULL,
        created_ns INTEGER NOT NULL,
        priority INTEGER NOT NULL,
        fairness_key TEXT NOT NULL DEFAULT '',
        fairness_weight REAL NOT NULL DEFAULT 1.0,
        PRIMARY KEY (namespace_id, queue, kind, shard_id, sequence)
    ) WITHOUT ROWID""",
    """CREATE TABLE wakes (
        entity INTEGER PRIMARY KEY,
        shard_id INTEGER NOT NULL,
        at_ns INTEGER NOT NULL
    )""",
    "CREATE INDEX wakes_due ON wakes (shard_id, at_ns)",
    """CREATE TABLE retention (
        entity INTEGER PRIMARY KEY,
        shard_id INTEGER NOT NULL,
        at_ns INTEGER NOT NULL
    )""",
    "CREATE INDEX retention_due ON retention (shard_id, at_ns)",
    """CREATE TABLE outbox (
        shard_id INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        entity INTEGER NOT NULL,
        to_kind INTEGER NOT NULL,
        to_namespace_id TEXT NOT NULL,
        to_name TEXT NOT NULL,
        to_run_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        request_id TEXT NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (shard_id, sequence)
    ) WITHOUT ROWID""",
    """CREATE TABLE visibility (
        entity INTEGER PRIMARY KEY,
        namespace_id TEXT NOT NULL,
        workflow_id TEXT NOT NULL,
        run_id TEXT NOT NULL,
        workflow_type TEXT NOT NULL,
        task_queue TEXT NOT NULL,
        status INTEGER NOT NULL,
        start_ns INTEGER NOT NULL,
        execution_ns INTEGER NOT NULL,
        close_ns INTEGER NOT NULL,
        history_length INTEGER NOT NULL,
        history_size_bytes INTEGER NOT NULL,
        memo BLOB NOT NULL,
        search_attributes BLOB NOT NULL,
        parent_workflow_id TEXT NOT NULL,
        parent_run_id TEXT NOT NULL,
        root_workflow_id TEXT NOT NULL,
        root_run_id TEXT NOT NULL,
        ended_ns INTEGER NOT NULL
    )""",
    """CREATE INDEX visibility_order
        ON visibility (namespace_id, ended_ns DESC, start_ns DESC, run_id DESC)""",
    "CREATE INDEX visibility_workflow ON visibility (namespace_id, workflow_id)",
)

_VERSION_2 = (
    # Runs with a task in flight. Version 1 has only a hint: a started workflow task has a wake-up for its
    # time-out, at most two minutes ahead. Listing too many runs is harmless; the next change of a run corrects it.
    """CREATE TABLE held (
        entity INTEGER PRIMARY KEY,
        shard_id INTEGER NOT NULL
    )""",
    """INSERT INTO held SELECT entity, shard_id FROM wakes
        WHERE at_ns <= (SELECT max(clock_ns) + 120000000000 FROM shards)
            OR EXISTS (SELECT 1 FROM facts f WHERE f.entity = wakes.entity AND f.kind = 4)""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_VERSION_1, _VERSION_2)
SCHEMA_VERSION = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection, version: int, shard_count: int) -> None:
    """Bring a database of `version` (0: empty) to `SCHEMA_VERSION`, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        if version == 0:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.executemany(
                "INSERT INTO shards VALUES (?, 0, 0, 0, 0)", [(n,) for n in range(shard_count)]
            )
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
