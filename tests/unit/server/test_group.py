"""Writes of one batch become one per entity; what a group keeps until its commit."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from perdure.core.ids import QueueKey, QueueKind, TaskRowId, run_key, workflow_id_key
from perdure.entity.transition import Effect, EventRow, FactChange, Task, VisibilityRow
from perdure.history.entity_types import RUNS
from perdure.server.common.codec import encode_fact
from perdure.server.shards.group import Entry, Group, Offer, SyncMatch, merge
from perdure.server.shards.shard import Shard
from perdure.storage.port import EntityWrite, FactRow, OutboxRow, TaskRow
from perdure.wire.errors import Unavailable

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


def test_only_what_follows_directly_on_the_same_branch_joins_a_row():
    rows = [
        EventRow(0, 1, 2, b"a"),
        EventRow(0, 4, 1, b"b"),
        EventRow(0, 5, 2, b"c"),
        EventRow(1, 7, 1, b"d"),
    ]
    (merged,) = merge([write(events=(row,)) for row in rows])
    assert merged.events == [rows[0], EventRow(0, 4, 3, b"bc"), rows[3]]


def test_what_a_later_write_does_not_mention_stays():
    row = VisibilityRow("n", "a", "r", "T", "q", 1, 1, 1)
    later = VisibilityRow("n", "a", "r", "T", "q", 2, 1, 1)
    first = write(
        is_new=True, wake_at_ns=7, has_task_in_flight=True, visibility=row, delete_at_ns=9
    )
    (merged,) = merge([first, write()])
    assert (merged.number, merged.key, merged.shard_id, merged.is_new) == (1, A, 0, True)
    assert (merged.wake_at_ns, merged.has_task_in_flight, merged.delete_at_ns) == (7, True, 9)
    assert merged.visibility == row
    (merged,) = merge(
        [first, write(has_task_in_flight=False, wake_at_ns=5, visibility=later), write()]
    )
    assert (merged.wake_at_ns, merged.has_task_in_flight, merged.visibility) == (5, False, later)


def test_each_entity_has_one_write_at_the_place_of_its_first():
    other = run_key("n", "b", "r")
    merged = merge([write(facts=(FactRow(1, "", b"1"),)), write(2, key=other), write(wake_at_ns=3)])
    assert [(one.number, one.wake_at_ns) for one in merged] == [(1, 3), (2, None)]


def new_group(*read: Entry) -> Group:
    return Group(Shard(3), cast("Any", None), read)


def entry(name: str) -> Entry:
    return Entry(run_key("n", name, "r"), cast("Any", None), RUNS)


TASK = Task(QUEUE, A, 1, 1, 1)
VISIBLE = VisibilityRow("n", "a", "r", "T", "q", 1, 1, 1)


@pytest.mark.parametrize(
    ("changes", "more_bytes"),
    [
        ({"events": (EventRow(0, 1, 1, bytes(30)), EventRow(0, 2, 1, bytes(4)))}, 34),
        ({"facts": (FactRow(1, "", bytes(7)), FactRow(2, "", None))}, 107),
        (
            {"outbox": tuple(OutboxRow(n, Effect(A, "k", "id", bytes(n))) for n in (5, 6))},
            411,
        ),
        ({"visibility": VISIBLE}, 400),
        (
            {
                "visibility": msgspec.structs.replace(
                    VISIBLE, memo=bytes(3), search_attributes=bytes(2)
                )
            },
            405,
        ),
    ],
)
def test_the_size_of_a_group_counts_all_that_can_be_large(changes: dict[str, Any], more_bytes: int):
    empty, group, two = filled("a"), filled("a", **changes), filled("a", "b", **changes)
    assert group.size_bytes - empty.size_bytes == more_bytes
    assert two.size_bytes == 2 * (empty.size_bytes + more_bytes)


def filled(*names: str, **changes: Any) -> Group:
    """A sealed group that writes entities of these names, each with these changes."""
    group = new_group()
    for name in names:
        one = group.write_of(entry(name))
        for field, value in changes.items():
            setattr(one, field, value)
    group.seal()
    return group


def test_a_group_writes_each_entity_once():
    group, first, second = new_group(), entry("a"), entry("b")
    write = group.write_of(first)
    assert group.write_of(second) is not write
    assert group.write_of(first) is write
    group.add_facts(first, [FactChange(4, "x", TASK), FactChange(4, "y", TASK)])
    group.add_facts(second, [FactChange(4, "x", None)])
    group.add_facts(first, [FactChange(4, "x", None)])
    for number in (7, 8):
        group.add_task(first, TaskRow(number, TASK))
    write.events = [EventRow(0, 1, 2, b"ab"), EventRow(0, 3, 1, b"c")]
    group.seal()
    assert group.entries == [first, second]
    one, two = group.writes
    assert one.facts == [FactRow(4, "x", None), encode_fact(FactChange(4, "y", TASK))]
    assert two.facts == [FactRow(4, "x", None)]
    assert one.tasks == [TaskRow(7, TASK), TaskRow(8, TASK)]
    assert one.events == [EventRow(0, 1, 3, b"abc")]
    assert (one.number, one.key, one.shard_id) == (first.number, first.key, 3)


def test_a_group_keeps_everything_that_follows_its_commit_in_order():
    group, other = new_group(), new_group()
    sync_matches = [SyncMatch(cast("Any", n), TASK, cast("Any", n)) for n in range(3)]
    offers = [Offer(TASK, TaskRowId(QUEUE, 0, n)) for n in range(3)]
    for match, offer in zip(sync_matches, offers, strict=True):
        group.add_sync_match(match)
        group.offer(offer)
    assert (group.sync_matches, group.offers) == (sync_matches, offers)
    assert len(other.sync_matches) == len(other.offers) == len(other.writes) == 0


def test_a_group_is_linked_by_what_it_wrote_and_by_what_it_read():
    written, read, strange = entry("w"), entry("r"), entry("x")
    group = new_group(read)
    group.write_of(written)
    assert group.is_linked({written})
    assert group.is_linked({read, strange})
    assert not group.is_linked({strange})


async def test_a_settled_group_tells_all_who_wait_and_keeps_its_outcome_alone():
    group = new_group(entry("r"))
    group.write_of(entry("w"))
    group.offer(Offer(TASK, TaskRowId(QUEUE, 0, 1)))
    waiters = [group.settled() for _ in range(3)]
    error = Unavailable("x")
    group.settle(error)
    assert all(waiter.done() for waiter in waiters)
    assert (group.is_settled, group.error) == (True, error)
    group.forget()
    assert len(group.writes) == len(group.entries) == len(group.offers) == len(group.read) == 0
    assert (group.is_settled, group.error) == (True, error)
    with pytest.raises(AssertionError):
        group.settle(None)
