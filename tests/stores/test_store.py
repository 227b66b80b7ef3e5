"""What every store must do. The same tests run over each of them."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.core.ids import (
    EntityKey,
    EntityKind,
    QueueKind,
    TaskRowId,
    run_key,
    workflow_id_key,
)
from perdure.entity.transition import Effect, Task
from perdure.storage.port import (
    CommitBatch,
    EntityWrite,
    FactRow,
    FenceLost,
    GuiltyWrite,
    OutboxRow,
    ShardWrite,
    Span,
    Store,
    StoredEntity,
    TaskRow,
    VisibilityQuery,
)
from tests.stores.conftest import QUEUE, A, B, Writer, events, row


async def test_what_is_committed_is_loaded(store: Store, writer: Writer):
    facts = (FactRow(1, "", b"x\x00"), FactRow(4, "5", b""))
    await writer.entity(1, A, events=(events(1, 2), events(3, 1)), facts=facts, wake_at_ns=50)
    assert await store.load(A) == StoredEntity(1, facts, (events(1, 2), events(3, 1)), 50)
    assert await store.load(B) is None


async def test_facts_are_replaced_and_removed(store: Store, writer: Writer):
    await writer.entity(1, A, facts=(FactRow(1, "", b"1"), FactRow(4, "5", b"2")))
    await writer.change(1, A, facts=(FactRow(1, "", b"3"), FactRow(4, "5", None)))
    loaded = await store.load(A)
    assert loaded is not None
    assert loaded.facts == (FactRow(1, "", b"3"),)


async def test_a_range_of_events_names_the_rows_that_hold_it(store: Store, writer: Writer):
    rows = (events(1, 3), events(4, 2), events(6, 5))
    await writer.entity(1, A, events=(*rows, events(4, 9, branch=2)))
    assert await store.events(1, 0, 1, 100) == list(rows)
    assert await store.events(1, 0, 5, 5) == [rows[1]]
    assert await store.events(1, 0, 2, 6) == list(rows)
    assert await store.events(1, 0, 11, 20) == []
    assert await store.events(2, 0, 1, 20) == []


async def test_taking_over_fences_the_owner_before(store: Store):
    old = await Writer(store).acquire()
    await old.entity(1, A)
    lease = await store.acquire(0)
    assert (lease.previous_range_id, lease.sequence) == (old.range_id, old.sequence)
    assert (lease.clock_ns, lease.last_entity) == (7, 9)
    with pytest.raises(FenceLost) as lost:
        await old.entity(2, B)
    assert lost.value.shard_ids == {0}
    assert await store.load(B) is None


async def test_a_batch_written_twice_is_refused(store: Store, writer: Writer):
    batch = CommitBatch((writer.fence(),), (EntityWrite(number=1, key=A, shard_id=0, is_new=True),))
    await store.commit(batch)
    with pytest.raises(FenceLost):
        await store.commit(batch)


async def test_only_lost_fences_are_named_and_nothing_is_written(store: Store, writer: Writer):
    other = await store.acquire(1)
    second = ShardWrite(1, other.range_id + 5, other.sequence, 0, 0)
    write = EntityWrite(number=1, key=A, shard_id=0, is_new=True)
    with pytest.raises(FenceLost) as lost:
        await store.commit(CommitBatch((writer.fence(), second), (write,)))
    assert lost.value.shard_ids == {1}
    assert await store.load(A) is None
    await writer.entity(1, A)  # the sequence of shard 0 did not move


async def test_a_guilty_row_is_found_and_nothing_is_written(store: Store, writer: Writer):
    bad: Any = object()
    writes = [
        EntityWrite(number=n, key=run_key("n", f"w{n}", "r"), shard_id=0, is_new=True)
        for n in range(1, 301)
    ]
    writes[120].facts = (FactRow(1, "", bad),)
    writes[200].events = (events(1, 1), events(1, 1))
    with pytest.raises(GuiltyWrite) as guilty:
        await writer.write(*writes)
    assert guilty.value.numbers == {121, 201}
    assert await store.load(writes[0].key) is None
    await writer.write(*(w for w in writes if w.number not in guilty.value.numbers))
    assert await store.load(writes[0].key) is not None


async def test_text_that_is_no_text_is_guilty_and_not_quoted(store: Store, writer: Writer):
    with pytest.raises(GuiltyWrite) as guilty:
        await writer.entity(1, run_key("n", "secret\ud800", "r"))
    assert "secret" not in str(guilty.value)


async def test_tasks_are_read_in_order_from_a_cursor(store: Store, writer: Writer):
    tasks = [Task(QUEUE, A, n, n, 100 + n, priority=n) for n in range(1, 6)]
    await writer.entity(1, A, tasks=[TaskRow(10 + t.stamp, t) for t in tasks])
    assert await store.tasks(QUEUE, 0, 0, 2) == [TaskRow(11, tasks[0]), TaskRow(12, tasks[1])]
    await writer.change(1, A, finished_tasks=(TaskRowId(QUEUE, 0, 13),))
    assert [row.sequence for row in await store.tasks(QUEUE, 0, 11, 9)] == [12, 14, 15]
    assert await store.tasks(QUEUE, 1, 0, 9) == []
    assert await store.tasks(QUEUE._replace(kind=QueueKind.ACTIVITY), 0, 0, 9) == []


async def test_wakes_come_in_order_of_time(store: Store, writer: Writer):
    await writer.entity(1, A, wake_at_ns=30)
    await writer.entity(2, B, wake_at_ns=20)
    assert [row.key for row in await store.wakes((0,), 100, 9)] == [B, A]
    assert [row.at_ns for row in await store.wakes((0,), 30, 9)] == [20]
    assert await store.wakes((1, 2), 100, 9) == []
    await writer.change(2, B, wake_at_ns=40)
    await writer.change(1, A, wake_at_ns=0)
    assert [(row.key, row.at_ns) for row in await store.wakes((0, 1), 100, 9)] == [(B, 40)]


async def test_runs_of_which_a_worker_holds_something_are_named(store: Store, writer: Writer):
    await writer.entity(1, A, wake_at_ns=9, has_task_in_flight=True)
    await writer.entity(2, B, wake_at_ns=9)
    assert await store.with_tasks_in_flight((0, 1)) == [A]
    assert await store.with_tasks_in_flight((1, 2)) == []
    loaded = [await store.load(key) for key in (A, B)]
    assert [one.has_task_in_flight for one in loaded if one] == [True, False]
    await writer.change(1, A, wake_at_ns=5)
    await writer.change(2, B, has_task_in_flight=True)
    assert await store.with_tasks_in_flight((0,)) == [A, B]
    await writer.change(1, A, has_task_in_flight=False)
    await writer.change(2, B, has_task_in_flight=True)
    assert await store.with_tasks_in_flight((0,)) == [B]
    await writer.change(2, B, is_deleted=True)
    assert await store.with_tasks_in_flight((0,)) == []


async def test_effects_stay_until_they_are_finished(store: Store, writer: Writer):
    effects = [Effect(B, "signal", f"id{n}", b"%d" % n) for n in range(3)]
    await writer.entity(1, A, outbox=[OutboxRow(5 + n, e) for n, e in enumerate(effects)])
    found = await store.outbox((0,))
    assert [(e.source, e.source_number, e.sequence) for e in found] == [
        (A, 1, 5),
        (A, 1, 6),
        (A, 1, 7),
    ]
    assert [e.effect for e in found] == effects
    await writer.change(1, A, finished_outbox=(6,))
    assert [e.sequence for e in await store.outbox((0, 1))] == [5, 7]


async def test_entities_are_found_by_kind_and_fact(store: Store, writer: Writer):
    namespace = EntityKey(EntityKind.NAMESPACE, "n", "")
    await writer.entity(1, namespace, facts=(FactRow(10, "", b"x"),))
    await writer.entity(2, A, facts=(FactRow(10, "", b"x"),))
    await writer.entity(3, EntityKey(EntityKind.NAMESPACE, "m", ""), facts=(FactRow(1, "", b"x"),))
    assert await store.entities(EntityKind.NAMESPACE, 10) == [namespace]


async def test_a_deleted_entity_leaves_nothing_and_frees_its_name(store: Store, writer: Writer):
    pointer = workflow_id_key("n", "a")
    await writer.entity(
        1, A, events=(events(1, 1),), facts=(FactRow(1, "", b"x"),), wake_at_ns=5, delete_at_ns=6,
        visibility=row("r1"),
    )  # fmt: skip
    await writer.entity(2, pointer, facts=(FactRow(8, "", b"x"),))
    assert await store.expired((0,), 7, 9) == [A]
    assert await store.expired((0,), 6, 9) == []
    await writer.write(
        EntityWrite(number=1, key=A, shard_id=0, is_deleted=True),
        EntityWrite(number=2, key=pointer, shard_id=0, is_deleted=True),
        EntityWrite(number=3, key=pointer, shard_id=0, is_new=True),
    )
    assert await store.load(A) is None
    assert await store.load(pointer) == StoredEntity(3, (), ())
    assert await store.expired((0,), 100, 9) == []
    assert await store.wakes((0,), 100, 9) == []
    assert await store.events(1, 0, 1, 9) == []
    assert await store.visibility_count(VisibilityQuery(namespace_id="n")) == 0


async def test_lists_are_newest_first_and_page(store: Store, writer: Writer):
    rows = [row("a", 5), row("b", 9), row("c", 1, 50), row("d", 2, 60), row("e", 3, 60)]
    for number, one in enumerate(rows, 1):
        await writer.entity(number, run_key("n", one.workflow_id, one.run_id), visibility=one)
    everything = VisibilityQuery(namespace_id="n")
    assert [r.run_id for r in await store.visibility(everything)] == ["b", "a", "e", "d", "c"]
    page = VisibilityQuery(namespace_id="n", limit=2)
    seen: list[str] = []
    while rows := await store.visibility(page):
        seen += [r.run_id for r in rows]
        page = VisibilityQuery(namespace_id="n", limit=2, after=rows[-1])
    assert seen == ["b", "a", "e", "d", "c"]


async def test_lists_filter_and_count(store: Store, writer: Writer):
    rows = [row("a", 5), row("b", 9, task_queue="z"), row("c", 1, 50, workflow_type="U")]
    for number, one in enumerate(rows, 1):
        await writer.entity(number, run_key("n", one.workflow_id, one.run_id), visibility=one)

    async def found(**filters: Any) -> list[str]:
        query = VisibilityQuery(namespace_id="n", **filters)
        listed = [r.run_id for r in await store.visibility(query)]
        assert await store.visibility_count(query) == len(listed)
        return listed

    assert await found(workflow_id="id-a") == ["a"]
    assert await found(workflow_type="U") == ["c"]
    assert await found(task_queue="z") == ["b"]
    assert await found(statuses=(1,)) == ["b", "a"]
    assert await found(started=Span(5, 9)) == ["a"]
    assert await found(closed=Span(50, 51)) == ["c"]
    assert await found(where="start_ns > ? AND workflow_type = ?", arguments=(5, "T")) == ["b"]
    assert await store.visibility(VisibilityQuery(namespace_id="other")) == []


async def test_a_row_of_a_list_is_replaced(store: Store, writer: Writer):
    await writer.entity(1, A, visibility=row("r1", 5))
    closed = row("r1", 5, 70, history_length=9)
    await writer.change(1, A, visibility=closed)
    assert await store.visibility(VisibilityQuery(namespace_id="n")) == [closed]
