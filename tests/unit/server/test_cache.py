"""What stays in memory: closed runs leave soon and are served again; who waits for a commit waits alone."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from perdure.core.ids import EntityKind, run_key, workflow_id_key
from perdure.entity.transition import EventRow
from perdure.history.entity_types import RUNS, WORKFLOW_IDS
from perdure.server.shards import cache
from perdure.server.shards.cache import EntityCache
from perdure.server.shards.group import Entry, Group
from perdure.server.shards.shard import Shard
from perdure.server.shards.tail import TAIL_BYTES_MAX, EventTail, trim
from perdure.wire import errors
from perdure.wire.api import common, enums, workflowservice
from perdure.wire.events import frame, frames
from tests.harness.builders import schedule_activity
from tests.unit.server.world import World, settle, start_timer

TERMINATE = enums.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
CLOSE_EVENT = enums.HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT


def close_event(workflow_id: str) -> workflowservice.GetWorkflowExecutionHistoryRequest:
    return workflowservice.GetWorkflowExecutionHistoryRequest(
        namespace="default",
        execution=common.WorkflowExecution(workflow_id=workflow_id),
        wait_new_event=True,
        history_event_filter_type=CLOSE_EVENT,
    )


async def test_closed_runs_leave_memory_and_are_served_again(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cache, "CLOSED_MAX", 3)
    keys = [await world.start(f"w{n}") for n in range(12)]
    for key in keys[:-1]:
        await world.terminate(key.name)
    await world.signal("w11")
    entries = world.engine.cache
    assert keys[0] not in entries
    assert workflow_id_key(world.namespace_id, "w0") not in entries
    assert keys[-1] in entries, "a run that is open stays"
    # Two rounds at most are needed for a run that was read when it closed.
    assert len(entries) < 12
    for key in keys[:-1]:
        assert (await world.event_types(key))[-1] == "WORKFLOW_EXECUTION_TERMINATED"
        reply = await world.call("GetWorkflowExecutionHistory", close_event(key.name))
        assert len(reply.history.events) == 1
    again = await world.start("w0", request_id="another")
    assert again != keys[0]
    await world.check_memory(again)


async def test_closed_runs_that_were_only_read_leave_memory_as_well(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cache, "CLOSED_MAX", 3)
    keys = [await world.start(f"w{n}") for n in range(12)]
    for key in keys:
        await world.terminate(key.name)
    entries = world.engine.cache
    for _ in range(3):
        await world.start("more", request_id=f"more-{_}", workflow_id_conflict_policy=TERMINATE)
    for key in keys:
        await world.event_types(key)
    for n in range(3):  # a run that was asked for gets another turn
        await world.start("more", request_id=f"then-{n}", workflow_id_conflict_policy=TERMINATE)
    assert sum(key in entries for key in keys) <= 3


async def test_a_closed_run_with_a_running_successor_leaves_the_pointer(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cache, "CLOSED_MAX", 0)
    first = await world.start("w")
    await world.terminate("w")
    second = await world.start("w", request_id="second")
    for n in range(4):  # batches, so that what is too much is let go of
        await world.signal("w", request_id=str(n))
    assert first not in world.engine.cache
    assert second in world.engine.cache
    assert workflow_id_key(world.namespace_id, "w") in world.engine.cache


async def test_who_waits_for_the_end_finds_it_in_memory(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cache, "CLOSED_MAX", 0)
    keys = [await world.start(f"w{n}") for n in range(20)]
    ends = [
        asyncio.ensure_future(world.call("GetWorkflowExecutionHistory", close_event(key.name)))
        for key in keys
    ]
    await settle()
    assert not any(end.done() for end in ends)
    loads = len(world.faults.loads)
    await asyncio.gather(*(world.terminate(key.name) for key in keys))
    for end in ends:
        assert len((await end).history.events) == 1
    assert len(world.faults.loads) == loads


async def test_only_the_end_wakes_who_waits_for_it(world: World):
    key = await world.start()
    waiting = asyncio.ensure_future(world.engine.wait_for_events(key, 2, 10**10, until_end=True))
    await world.signal()
    await settle()
    assert not waiting.done()
    await world.terminate()
    assert await waiting
    assert await world.engine.wait_for_events(key, 2, 10**10, until_end=True)
    assert not await world.engine.wait_for_events(key, 100, 10**10, until_end=True)


async def test_who_waits_for_the_end_looks_again_when_the_commit_failed(world: World):
    await world.start()
    end = asyncio.ensure_future(world.call("GetWorkflowExecutionHistory", close_event("w")))
    await settle()
    world.faults.is_full = True
    with pytest.raises(errors.ResourceExhausted):
        await world.terminate()
    world.faults.is_full = False
    await settle()
    assert not end.done()
    while True:
        try:
            await world.terminate()
        except errors.ResourceExhausted:
            await asyncio.sleep(0.05)  # writes are refused for a moment
        else:
            break
    assert len((await end).history.events) == 1


def entry(name: str) -> Entry:
    made = Entry(run_key("n", name, "r"), cast("Shard", None), RUNS)
    made.is_used = False
    return made


def test_what_was_asked_for_gets_another_turn():
    entries = EntityCache(bytes_max=0)
    first, second = entry("a"), entry("b")
    entries.add(first)
    entries.add(second)
    entries.bytes_max = first.size_bytes
    assert entries.get(first.key) is first
    entries.shrink()
    assert first.key in entries
    assert second.key not in entries


def test_the_count_of_bytes_is_that_of_the_entries_that_are_left():
    entries = EntityCache(bytes_max=10**9)
    some = [entry(str(n)) for n in range(5)]
    for each in some:
        entries.add(each)
    some[0].tail.append(EventRow(0, 1, 1, b"x" * 100))
    entries.resize(some[0])
    assert entries.size_bytes == sum(each.size_bytes for each in some)
    for each in some:
        entries.drop(each)
        entries.drop(each)
        entries.resize(each)
    assert entries.size_bytes == 0
    assert not len(entries)


def test_the_tail_is_bounded_and_says_when_it_does_not_reach():
    tail, size = EventTail(), TAIL_BYTES_MAX // 10
    for n in range(100):
        tail.append(EventRow(0, n + 1, 1, bytes(size)))
        assert tail.size_bytes <= TAIL_BYTES_MAX
    assert tail.range(1, 100) is None
    assert len(tail.range(98, 100) or ()) == 3
    tail.append(EventRow(0, 101, 1, bytes(2 * TAIL_BYTES_MAX)))
    assert tail.range(100, 101) is None
    assert tail.range(101, 101) == [bytes(2 * TAIL_BYTES_MAX)]


async def test_a_waiter_who_leaves_takes_no_other_along():
    group = Group(cast("Any", None), cast("Any", None))

    async def wait() -> str:
        await group.settled()
        return "told"

    waiting = [asyncio.ensure_future(wait()) for _ in range(3)]
    await settle()
    waiting[1].cancel()
    await settle()
    group.settle(None)
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert answers[0] == answers[2] == "told"
    assert isinstance(answers[1], asyncio.CancelledError)


async def test_what_activities_were_given_counts(world: World):
    key = await world.start()
    given = common.Payloads(payloads=[common.Payload(data=bytes(100_000))])
    task = await world.poll()
    commands = [schedule_activity(str(n), input=given) for n in range(5)]
    await world.complete(task.task_token, *commands)
    loaded = world.engine.cache.get(key)
    assert loaded is not None
    assert loaded.size_bytes > 500_000
    await world.check_memory(key)
    await world.terminate()
    assert loaded.state.activity_bytes == 0
    await world.check_memory(key)


# The cache and the tail alone.


def rows_of(*counts: int) -> list[EventRow]:
    """Rows of so many events each, from event 1 on; the event with id n is n bytes of framing and text."""
    rows: list[EventRow] = []
    first = 1
    for count in counts:
        data = b"".join(frame(b"%d" % n) for n in range(first, first + count))
        rows.append(EventRow(0, first, count, data))
        first += count
    return rows


def numbers(found: list[bytes] | None) -> list[int] | None:
    return None if found is None else [int(one[2:]) for one in frames(b"".join(found))]


def test_every_range_of_a_tail_is_cut_exactly():
    tail = EventTail()
    assert tail.range(1, 1) is None
    rows = rows_of(2, 1, 3, 1)
    for row in rows[1:]:
        tail.append(row)
    for first in range(1, 9):
        for last in range(first, 9):
            wanted = [n for n in range(first, last + 1) if n <= 7]
            assert numbers(trim(rows, first, last)) == wanted
            expected = None if first < 3 else wanted
            assert numbers(tail.range(first, last)) == expected, (first, last)


def test_rows_beside_the_range_leave_nothing():
    rows = rows_of(2, 2, 2)
    assert trim(rows, 3, 4) == [rows[1].data]


def test_whole_rows_are_shared_not_copied():
    rows = rows_of(2, 2)
    assert trim(rows, 1, 4)[0] is rows[0].data
    assert trim(rows, 2, 4)[1] is rows[1].data


def test_a_full_tail_forgets_its_oldest_half():
    tail, quarter = EventTail(), TAIL_BYTES_MAX // 4
    for n in range(4):
        tail.append(EventRow(0, n + 1, 1, bytes(quarter)))
    assert tail.size_bytes == TAIL_BYTES_MAX
    assert len(tail.range(1, 4) or ()) == 4, "exactly full is not too full"
    tail.append(EventRow(0, 5, 1, bytes(quarter)))
    assert tail.size_bytes == 2 * quarter
    assert tail.range(3, 5) is None
    assert len(tail.range(4, 5) or ()) == 2


def filled(*names: str) -> tuple[EntityCache, list[Entry]]:
    entries = EntityCache(bytes_max=10**9)
    some = [entry(name) for name in names]
    for each in some:
        entries.add(each)
    entries.bytes_max = 0
    return entries, some


def test_what_is_pinned_or_uncommitted_or_was_asked_for_stays_and_all_else_goes():
    entries, (pinned, pending, used, other) = filled("pinned", "pending", "used", "other")
    pending.pending = Group(cast("Any", None), cast("Any", None))
    used.is_used = True
    entries.bytes_max = 3 * other.size_bytes
    with entries.pinned([pinned.key]), entries.pinned([pinned.key]):
        entries.shrink()
        assert [each.key in entries for each in (pinned, pending, used, other)] == [
            True,
            True,
            True,
            False,
        ]
    entries.bytes_max = 0
    with entries.pinned([pinned.key]):
        with entries.pinned([pinned.key]):
            pass
        entries.shrink()
        assert pinned.key in entries, "one of two pins is left"
        assert used.key not in entries, "its second turn is over"
    entries.shrink()
    assert pinned.key not in entries
    assert pending.key in entries
    pending.pending = None
    entries.shrink()
    assert len(entries) == 0


def test_a_pin_ends_with_its_block_however_it_ends():
    entries, (one,) = filled("one")
    with pytest.raises(KeyError), entries.pinned([one.key]):
        raise KeyError
    entries.shrink()
    assert one.key not in entries
    assert not entries._pins


def test_shrinking_stops_at_the_bound_and_gives_up_when_everything_must_stay():
    entries, some = filled(*"abcd")
    entries.bytes_max = 2 * some[0].size_bytes
    entries.shrink()
    assert [each.key in entries for each in some] == [False, False, True, True]
    for each in some[2:]:
        each.pending = Group(cast("Any", None), cast("Any", None))
    entries.bytes_max = 0
    entries.shrink()
    assert len(entries) == 2


def test_only_the_entries_of_a_shard_are_dropped_with_it():
    entries = EntityCache(bytes_max=10**9)
    shards = [Shard(0), Shard(1)]
    some = [Entry(run_key("n", str(n), "r"), shards[n % 2], RUNS) for n in range(6)]
    for each in some:
        entries.add(each)
    entries.drop_shard(shards[1])
    assert [each.key in entries for each in some] == [True, False] * 3
    assert entries.size_bytes == sum(each.size_bytes for each in some[::2])


def test_a_deleted_entry_is_as_one_that_never_was():
    gone = entry("a")
    gone.number, gone.state, gone.wake_at_ns, gone.has_task_in_flight = 3, object(), 9, True
    gone.tail.append(EventRow(0, 1, 1, b"x"))
    gone.clear()
    assert (gone.number, gone.state, gone.wake_at_ns, gone.has_task_in_flight) == (
        0,
        None,
        0,
        False,
    )
    assert gone.tail.range(1, 1) is None
    pointer = Entry(workflow_id_key("n", "a"), cast("Shard", None), WORKFLOW_IDS)
    tail = pointer.tail
    pointer.clear()
    assert pointer.tail is tail, "entities without history share one empty tail"


async def test_a_closed_run_that_is_in_use_is_kept_for_another_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cache, "CLOSED_MAX", 0)
    keys = [await world.start(name) for name in ("used", "pinned", "plain")]
    entries = world.engine.cache
    with entries.pinned([keys[1]]):
        await asyncio.gather(*(world.terminate(key.name) for key in keys))
        for key in keys:
            found = entries.get(key)
            assert found is not None
            found.is_used = key.name == "used"
        entries.forget_closed()
        assert [key in entries for key in keys] == [True, True, False]
        assert workflow_id_key(world.namespace_id, "plain") not in entries
        assert workflow_id_key(world.namespace_id, "used") in entries
        entries.forget_closed()
        assert [key in entries for key in keys] == [False, True, False]
    entries.forget_closed()
    assert keys[1] not in entries


async def test_the_pointer_of_a_forgotten_run_stays_while_a_caller_or_a_commit_needs_it(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    entries = world.engine.cache
    pointers = [workflow_id_key(world.namespace_id, name) for name in ("pinned", "pending")]
    for key in pointers:
        await world.start(key.name)
        await world.terminate(key.name)
    for each in tuple(entries.of_kind(EntityKind.RUN)):
        each.is_used = False
    pending = entries.get(pointers[1])
    assert pending is not None
    pending.pending = Group(cast("Any", None), cast("Any", None))
    monkeypatch.setattr(cache, "CLOSED_MAX", 0)
    with entries.pinned([pointers[0]]):
        entries.forget_closed()
    assert not list(entries.of_kind(EntityKind.RUN))
    assert all(key in entries for key in pointers)
    pending.pending = None


async def test_all_that_a_run_holds_counts(world: World):
    """A run's size grows with its timers, children, buffered events and what it was started with."""
    key = await world.start(input=common.Payloads(payloads=[common.Payload(data=bytes(5_000))]))
    loaded = world.engine.cache.get(key)
    assert loaded is not None
    sizes = [loaded.size_bytes]
    assert sizes[0] == 3_500 + loaded.tail.size_bytes
    assert loaded.tail.size_bytes > 5_000
    task = await world.poll()
    sizes.append(loaded.size_bytes)
    await world.signal()  # buffered while the task runs
    sizes.append(loaded.size_bytes)
    assert sizes == sorted(set(sizes))
    assert sizes[2] - sizes[1] >= 700
    tail = loaded.tail.size_bytes
    timers = [start_timer(str(n), 10_000) for n in range(10)]
    await world.complete(task.task_token, *timers)
    assert loaded.size_bytes - loaded.tail.size_bytes - (sizes[1] - tail) >= 10 * 700
    assert world.engine.cache.size_bytes >= loaded.size_bytes
    assert loaded.counted_bytes == loaded.size_bytes, "counted again after each change"
