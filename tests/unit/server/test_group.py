"""Writes of one batch become one per entity."""

from __future__ import annotations

from typing import Any

from perdure.core.ids import QueueKey, QueueKind, TaskRowId, run_key, workflow_id_key
from perdure.history.transition import Effect, EventRow, Task
from perdure.server.group import merge
from perdure.storage.port import EntityWrite, FactRow, OutboxRow, TaskRow

A = run_key("n", "a", "r")
QUEUE = QueueKey("n", "q", QueueKind.WORKFLOW)


def write(number: int = 1, **changes: Any) -> EntityWrite:
    return EntityWrite(number=number, key=changes.pop("key", A), shard_id=0, **changes)


def test_one_write_is_passed_on():
    one = write()
    assert merge([one]) == (one,)


def test_neighbouring_events_become_one_row():
    rows = [EventRow(0, 1, 2, b"ab"), EventRow(0, 3, 1, b"c"), EventRow(1, 4, 1, b"d")]
    (merged,) = merge([write(is_new=True, events=rows[:1]), write(events=rows[1:])])
    assert merged.is_new
    assert merged.events == [EventRow(0, 1, 3, b"abc"), rows[2]]


def test_later_facts_and_bounds_win():
    (merged,) = merge(
        [
            write(facts=(FactRow(1, "", b"1"), FactRow(2, "x", b"2")), wake_at_ns=5),
            write(facts=(FactRow(1, "", None),), wake_at_ns=0, delete_at_ns=9),
            write(facts=(FactRow(2, "x", b"3"),)),
        ]
    )
    assert merged.facts == [FactRow(1, "", None), FactRow(2, "x", b"3")]
    assert (merged.wake_at_ns, merged.delete_at_ns) == (0, 9)


def test_what_is_finished_in_its_own_batch_never_becomes_a_row():
    task = Task(QUEUE, A, 1, 1, 1)
    effect = Effect(A, "k", "id", b"")
    (merged,) = merge(
        [
            write(tasks=(TaskRow(7, task), TaskRow(8, task)), outbox=(OutboxRow(3, effect),)),
            write(
                finished_tasks=(TaskRowId(QUEUE, 0, 7), TaskRowId(QUEUE, 0, 2)),
                finished_outbox=(3, 1),
            ),
        ]
    )
    assert merged.tasks == [TaskRow(8, task)]
    assert merged.finished_tasks == [TaskRowId(QUEUE, 0, 2)]
    assert (merged.outbox, merged.finished_outbox) == ([], [1])


def test_a_deletion_takes_everything_but_the_rows_it_ends():
    row = TaskRowId(QUEUE, 0, 7)
    (merged,) = merge(
        [write(facts=(FactRow(1, "", b"1"),), finished_tasks=(row,)), write(is_deleted=True)]
    )
    assert merged == write(is_deleted=True, finished_tasks=[row])


def test_a_name_taken_again_is_another_entity():
    key = workflow_id_key("n", "a")
    writes = [write(1, key=key, is_deleted=True), write(2, key=key, is_new=True)]
    assert merge(writes) == tuple(writes)
