"""Reads whose order, borders and moment matter: loads, ranges of events, cursors of tasks and wake-ups."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from perdure.core.ids import EntityKey, EntityKind, QueueKey, QueueKind, TaskRowId, run_key
from perdure.entity.transition import Effect, EventRow, Task
from perdure.storage.port import CommitBatch, EntityWrite, FactRow, OutboxRow, Store, TaskRow
from tests.stores.conftest import QUEUE, A, B, Writer, events, open_inline, row

C = run_key("n", "c", "r3")
ACTIVITIES = QueueKey("n", "q", QueueKind.ACTIVITY)


@pytest.mark.parametrize(
    "other",
    [
        EntityKey(EntityKind.WORKFLOW_ID, "n", "a", "r1"),
        run_key("m", "a", "r1"),
        run_key("n", "aa", "r1"),
        run_key("n", "a", "r2"),
    ],
)
async def test_an_entity_is_found_by_its_whole_key(store: Store, writer: Writer, other: EntityKey):
    await writer.entity(1, A, facts=(FactRow(1, "", b"a"),))
    assert await store.load(other) is None
    await writer.entity(2, other, facts=(FactRow(1, "", b"other"),))
    loaded = [await store.load(key) for key in (A, other)]
    assert [(one.number, one.facts[0].value) for one in loaded if one] == [(1, b"a"), (2, b"other")]


async def test_a_load_has_the_first_branch_in_order_and_nothing_of_a_neighbour(
    store: Store, writer: Writer
):
    await writer.entity(1, A, events=(events(1, 2),), facts=(FactRow(1, "", b"a"),), wake_at_ns=5)
    mine = (events(1, 3), events(4, 1), events(5, 2))
    await writer.entity(
        2, B, events=(mine[2], mine[0], events(4, 7, branch=1), mine[1]), wake_at_ns=60, has_task_in_flight=True,
        facts=(FactRow(4, "7", b"3"), FactRow(4, "5", b"2"), FactRow(1, "", b"1")),
    )  # fmt: skip
    await writer.entity(
        3, C, events=(events(1, 9),), facts=(FactRow(1, "", b"c"),), has_task_in_flight=True
    )
    loaded = await store.load(B)
    assert loaded is not None
    assert loaded.events == mine
    assert [fact.value for fact in loaded.facts] == [b"1", b"2", b"3"]
    assert (loaded.wake_at_ns, loaded.has_task_in_flight) == (60, True)


async def test_an_entity_of_any_kind_may_have_events_and_a_wake_up(store: Store, writer: Writer):
    strange = EntityKey(201, "n", "a")
    await writer.entity(1, strange, events=(events(1, 1),), wake_at_ns=5, has_task_in_flight=True)
    loaded = await store.load(strange)
    assert loaded is not None
    assert (loaded.events, loaded.wake_at_ns, loaded.has_task_in_flight) == (
        (events(1, 1),),
        5,
        True,
    )
    assert [row.key for row in await store.wakes(range(8), 10, 10)] == [strange]


async def test_every_range_of_events(store: Store, writer: Writer):
    """Against the plain rule: the rows of the branch that hold any event of the range."""
    rows = [events(1, 3), events(4, 1), events(5, 5), events(10, 2)]
    other = [events(1, 4, branch=1), events(5, 9, branch=1)]
    await writer.entity(1, B, events=(events(1, 20),))
    await writer.entity(2, A, events=(*reversed(rows), *other))
    await writer.entity(3, C, events=(events(1, 20),))
    for branch, held in ((0, rows), (1, other), (2, [])):
        for first in range(1, 15):
            for last in range(first, 15):
                wanted = [
                    one
                    for one in held
                    if one.first_event_id <= last and one.first_event_id + one.count > first
                ]
                assert await store.events(2, branch, first, last) == wanted, (branch, first, last)


@pytest.mark.parametrize("beginning", ["SELECT kind, key", "SELECT branch", "SELECT coalesce"])
async def test_a_load_is_of_one_moment(tmp_path: Path, beginning: str):
    """A commit between any two of its statements does not show."""
    store = await open_inline(tmp_path / "x.db")
    writer = await Writer(store).acquire()
    await writer.entity(1, A, events=(events(1, 1),), facts=(FactRow(1, "", b"old"),), wake_at_ns=5)
    before = await store.load(A)
    commits: list[str] = []

    def commit(statement: str) -> None:
        if statement.startswith(beginning) and not commits:
            commits.append(statement)
            other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
            other.execute("UPDATE facts SET value = x'00'")
            other.execute("INSERT INTO events VALUES (1, 0, 2, 1, x'00')")
            other.execute("UPDATE wakes SET at_ns = 6")
            other.close()

    store.reading.set_trace_callback(commit)
    assert await store.load(A) == before
    store.reading.set_trace_callback(None)
    assert len(commits) == 1
    after = await store.load(A)
    assert after is not None
    assert (after.facts[0].value, len(after.events), after.wake_at_ns) == (b"\x00", 2, 6)
    await store.close()


async def test_an_entity_that_goes_while_it_is_looked_for_is_not_there(tmp_path: Path):
    store = await open_inline(tmp_path / "x.db")
    writer = await Writer(store).acquire()
    await writer.entity(1, A)

    def delete(statement: str) -> None:
        if statement == "BEGIN":
            other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
            other.execute("DELETE FROM entities")
            other.close()

    store.reading.set_trace_callback(delete)
    assert await store.load(A) is None
    assert not store.reading.in_transaction
    store.reading.set_trace_callback(None)
    await store.close()


async def test_a_task_comes_back_as_it_was_written(store: Store, writer: Writer):
    task = Task(QUEUE, B, 11, 12, 13, priority=1)
    await writer.entity(1, A, tasks=(TaskRow(10, task),))
    assert await store.tasks(QUEUE, 0, 9, 9) == [TaskRow(10, task)]
    assert await store.tasks(QUEUE, 0, 10, 9) == []


async def test_tasks_of_one_queue_and_shard_from_a_cursor(store: Store, writer: Writer):
    queues = [
        QUEUE, QUEUE._replace(namespace_id="m"), QUEUE._replace(name="p"), QUEUE._replace(name="qq"), ACTIVITIES,
    ]  # fmt: skip
    written = [
        TaskRow(sequence, Task(queue, A, sequence, place, 1))
        for place, queue in enumerate(queues)
        for sequence in (30, 10, 20)
    ]
    await writer.entity(1, A, tasks=written)
    for place, queue in enumerate(queues):
        seen: list[tuple[int, int]] = []
        cursor = 0
        while rows := await store.tasks(queue, 0, cursor, 2):
            assert len(rows) <= 2
            seen += [(one.sequence, one.task.stamp) for one in rows]
            cursor = rows[-1].sequence
        assert seen == [(10, place), (20, place), (30, place)]


async def test_doubtful_tasks(store: Store, writer: Writer):
    """A row is doubtful when its run is not open, or when it is a workflow task outside of its run's queue."""
    own, sticky = QUEUE, QUEUE._replace(name="sticky")
    runs = {
        1: (run_key("n", "open", "r"), row("r", workflow_id="open")),
        2: (run_key("n", "closed", "r"), row("r", close_ns=9, workflow_id="closed")),
        3: (run_key("n", "gone", "r"), None),
        4: (run_key("n", "unlisted", "r"), None),
    }
    keys = {number: key for number, (key, _) in runs.items()}
    cases = [
        (own, 1, 5, False), (sticky, 1, 5, True), (ACTIVITIES, 1, 5, False),
        (ACTIVITIES._replace(name="other"), 1, 5, False), (own, 2, 5, True), (ACTIVITIES, 2, 5, True),
        (own, 3, 5, True), (own, 4, 5, True), (sticky, 1, 10, False), (sticky, 1, 9, True), (own, 2, 10, False),
    ]  # fmt: skip
    tasks = [
        TaskRow(number, Task(queue, keys[of], number, number, created_ns, priority=2))
        for number, (queue, of, created_ns, _) in enumerate(cases, 1)
    ]
    for number, (key, shown) in runs.items():
        if number != 3:
            await writer.entity(number, key, visibility=shown)
    await writer.entity(9, run_key("n", "writer", "r"), tasks=tasks)
    wanted = {number for number, case in enumerate(cases, 1) if case[3]}
    order = sorted(tasks, key=lambda one: (one.task.queue, one.sequence))
    for limit in (1, 2, 3, 5, len(cases), len(cases) + 1):
        found: list[tuple[Task, TaskRowId]] = []
        after: TaskRowId | None = None
        pages = 0
        while True:
            page = await store.doubtful_tasks((0, 1), 10, after, limit)
            found += page.tasks
            pages += 1
            if page.last is None:
                break
            after = page.last
        assert pages == len(cases) // limit + 1
        assert [row_id.sequence for _, row_id in found] == [
            one.sequence for one in order if one.sequence in wanted
        ]
        by_number = {one.sequence: one.task for one in tasks}
        for task, row_id in found:
            assert task == by_number[row_id.sequence]
            assert row_id == TaskRowId(task.queue, 0, row_id.sequence)
    assert await store.doubtful_tasks((1, 2), 10, None, 99) == ([], None)
    assert await store.doubtful_tasks((0,), 0, None, 99) == ([], None)


async def shards_filled(store: Store) -> list[EntityKey]:
    """In each of three shards an entity with a wake-up, a retention time, an effect, and a task in flight."""
    keys = [run_key("n", f"w{shard_id}", "r") for shard_id in range(3)]
    for shard_id, key in enumerate(keys):
        lease = await store.acquire(shard_id)
        writer = Writer(store)
        writer.range_id = lease.range_id
        fence = writer.fence(shard_id=shard_id, sequence=lease.sequence)
        write = EntityWrite(
            number=100 - shard_id, key=key, shard_id=shard_id, is_new=True, wake_at_ns=50 - shard_id,
            delete_at_ns=70 - shard_id, has_task_in_flight=True,
            outbox=[OutboxRow(n, Effect(B, "signal", f"id{n}", b"%d" % shard_id)) for n in (8, 7)],
        )  # fmt: skip
        await store.commit(CommitBatch((fence,), (write,)))
    return keys


async def test_only_the_shards_that_were_asked_for(store: Store):
    keys = await shards_filled(store)
    for asked in ((0,), (1,), (2,), (0, 1), (0, 2), (2, 0), (0, 1, 2), (3,)):
        latest_first = [keys[shard_id] for shard_id in sorted(asked, reverse=True) if shard_id < 3]
        assert [one.key for one in await store.wakes(asked, 99, 9)] == latest_first
        assert await store.expired(asked, 99, 9) == latest_first
        assert await store.with_tasks_in_flight(asked) == latest_first, (
            "in the order of their numbers"
        )
        effects = [(one.source, one.sequence) for one in await store.outbox(asked)]
        assert effects == [
            (keys[shard_id], n) for shard_id in asked if shard_id < 3 for n in (7, 8)
        ]


async def test_wakes_and_expired_runs_have_borders_and_limits(store: Store):
    await shards_filled(store)
    every = (0, 1, 2)
    for until_ns, count in ((48, 0), (49, 1), (50, 2), (51, 3)):
        assert len(await store.wakes(every, until_ns, 9)) == count
        assert len(await store.expired(every, until_ns + 20, 9)) == count
    for limit in (1, 2, 3):
        assert [one.at_ns for one in await store.wakes(every, 99, limit)] == [48, 49, 50][:limit]
        assert len(await store.expired(every, 99, limit)) == limit


async def test_an_effect_comes_back_as_it_was_written(store: Store, writer: Writer):
    effect = Effect(EntityKey(EntityKind.WORKFLOW_ID, "m", "x", "y"), "start", "rid", b"\x00body")
    await writer.entity(5, A, outbox=(OutboxRow(77, effect),))
    (found,) = await store.outbox((0,))
    assert (found.source, found.source_number, found.sequence, found.effect) == (A, 5, 77, effect)


async def test_entities_come_in_the_order_of_their_numbers_and_once(store: Store, writer: Writer):
    keys = [EntityKey(EntityKind.NAMESPACE, name, "") for name in ("b", "a", "c")]
    for number, key in zip((3, 1, 2), keys, strict=True):
        await writer.entity(number, key, facts=(FactRow(10, "", b"x"), FactRow(10, "2", b"x")))
    await writer.entity(
        4, EntityKey(EntityKind.WORKFLOW_ID, "n", ""), facts=(FactRow(10, "", b""),)
    )
    found = await store.entities(EntityKind.NAMESPACE, 10)
    assert found == [keys[1], keys[2], keys[0]]
    assert await store.entities(EntityKind.NAMESPACE, 8) == []


async def test_rows_of_one_batch_for_one_entity_all_arrive(store: Store, writer: Writer):
    rows = tuple(EventRow(0, n, 1, b"%d" % n) for n in range(1, 40))
    facts = tuple(FactRow(4, f"{n:02}", b"%d" % n) for n in range(40))
    await writer.write(
        EntityWrite(number=1, key=A, shard_id=0, is_new=True, events=rows, facts=facts),
        EntityWrite(number=2, key=B, shard_id=0, is_new=True, events=rows[:1], facts=facts[:1]),
    )
    first, second = await store.load(A), await store.load(B)
    assert first is not None
    assert second is not None
    assert (first.events, first.facts) == (rows, facts)
    assert (second.events, second.facts) == (rows[:1], facts[:1])
