"""What stays in memory: closed runs leave soon and are served again; who waits for a commit waits alone."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from perdure.core.ids import run_key, workflow_id_key
from perdure.history.transition import EventRow
from perdure.server import cache
from perdure.server.cache import EntityCache, Entry, HistoryTail
from perdure.server.group import Group
from perdure.server.shard import Shard
from perdure.wire import errors
from perdure.wire.api import common, enums, workflowservice
from tests.unit.server.world import World, schedule_activity, settle

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
    monkeypatch.setattr(cache, "CLOSED_RUNS_MAX", 3)
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


async def test_a_closed_run_with_a_running_successor_leaves_the_pointer(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cache, "CLOSED_RUNS_MAX", 0)
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
    monkeypatch.setattr(cache, "CLOSED_RUNS_MAX", 0)
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
    made = Entry(run_key("n", name, "r"), cast("Shard", None))
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
    tail, size = HistoryTail(), cache.TAIL_BYTES_MAX // 10
    for n in range(100):
        tail.append(EventRow(0, n + 1, 1, bytes(size)))
        assert tail.size_bytes <= cache.TAIL_BYTES_MAX
    assert tail.range(1, 100) is None
    assert len(tail.range(98, 100) or ()) == 3
    tail.append(EventRow(0, 101, 1, bytes(2 * cache.TAIL_BYTES_MAX)))
    assert tail.range(100, 101) is None
    assert tail.range(101, 101) == [bytes(2 * cache.TAIL_BYTES_MAX)]


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
