"""Workers that go, sticky queues, queries, and the end of the matching host."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from perdure.core.ids import QueueKey, QueueKind, run_key
from perdure.core.units import SECOND_NS
from perdure.server.pending.queries import QueryTask
from perdure.wire.api import query
from perdure.wire.errors import Unavailable
from tests.unit.server.task_source import (
    ACTIVITIES,
    QUEUE,
    STICKY,
    Source,
    task,
)
from tests.unit.server.virtual import on_virtual_time
from tests.unit.server.world import settle

# Sticky queues.


async def sticky_worker_gone(source: Source) -> None:
    """Somebody polled the sticky queue once, long ago."""
    assert await source.poll(STICKY, SECOND_NS, normal_queue="q") is None
    await asyncio.sleep(20)


@on_virtual_time
async def test_a_task_of_a_sticky_queue_whose_worker_is_gone_goes_to_the_normal_one():
    source = Source()
    await sticky_worker_gone(source)
    source.host.offer(task("memory", STICKY), None)
    poll = source.poll()
    assert (await poll).token.workflow_id == "memory"
    normal = source.poll()
    await settle()
    source.offer(task("row", STICKY))
    assert (await normal).token.workflow_id == "row"
    await asyncio.sleep(20)
    source.offer(task("nobody polls there either", STICKY))
    await settle()
    assert source.unstuck == []


@on_virtual_time
async def test_a_task_of_a_sticky_queue_that_is_served_stays_there():
    source = Source()
    normal = source.poll()
    assert await source.poll(STICKY, SECOND_NS, normal_queue="q") is None
    await asyncio.sleep(8.9)
    source.offer(task("a", STICKY))
    await settle()
    assert not normal.done()
    assert (await source.poll(STICKY, normal_queue="q")).token.workflow_id == "a"
    assert source.infos[-1].queue_name == "sticky"


@on_virtual_time
async def test_a_row_in_a_queue_that_nobody_polls_is_unstuck_when_it_is_a_workflow_task():
    source = Source()
    source.offer(task("a", STICKY))
    source.offer(task("b", ACTIVITIES))
    source.host.offer(task("c", STICKY), None)
    source.offer(msgspec.structs.replace(task("e"), may_be_sticky=False))
    await settle()
    assert source.unstuck == ["a"]
    poll = source.poll()
    await settle()
    source.offer(task("d"))
    await poll
    assert source.unstuck == ["a"], "somebody polls"


@on_virtual_time
async def test_a_worker_that_goes_leaves_its_tasks_to_the_normal_queue_at_once():
    source = Source()
    sticky = source.poll(STICKY, normal_queue="q")
    await settle()
    sticky.cancel()
    await settle()
    for name in ("a", "b"):
        source.host.offer(task(name, STICKY), None)
    parked = source.poll()
    await settle()
    source.host.close_sticky(STICKY)
    assert (await parked).token.workflow_id == "a"
    assert await source.names(1) == ["b"]
    assert not source.host.is_served(STICKY)
    source.host.offer(task("c", STICKY), None)
    assert await source.names(1) == ["c"]
    source.host.close_sticky(QueueKey("n", "unknown", QueueKind.WORKFLOW))


@on_virtual_time
async def test_closing_a_sticky_queue_answers_its_polls_empty_at_once():
    source = Source()
    polls = [source.poll(STICKY, normal_queue="q") for _ in range(2)]
    await settle()
    source.host.close_sticky(STICKY)
    assert await asyncio.gather(*polls) == [None, None]
    assert asyncio.get_running_loop().time() == 0


@on_virtual_time
async def test_only_the_polls_of_the_named_queue_and_process_end():
    source = Source()
    mine = [source.poll(instance_key="mine") for _ in range(2)]
    elsewhere = [source.poll(queue, instance_key="mine") for queue in (ACTIVITIES, STICKY)]
    others = [source.poll(instance_key=key) for key in ("other", "")]
    await settle()
    source.host.end_polls(QUEUE, "mine")
    source.host.end_polls(QueueKey("n", "unknown", QueueKind.WORKFLOW), "mine")
    assert await asyncio.gather(*mine) == [None, None]
    assert asyncio.get_running_loop().time() == 0
    await asyncio.sleep(50)
    assert not any(poll.done() for poll in (*elsewhere, *others))
    source.offer(task("a"))
    assert (await others[0]).token.workflow_id == "a"


@on_virtual_time
async def test_polls_under_way_when_a_worker_stops_end_empty_but_not_at_once():
    source = Source()
    loop = asyncio.get_running_loop()
    source.host.end_polls(QUEUE, "mine")
    source.offer(task("a"))
    assert await source.poll(instance_key="mine") is None
    assert loop.time() == 1, "a second, so that nobody polls in a busy loop"
    assert await source.poll(instance_key="mine", wait_ns=SECOND_NS // 4) is None
    assert loop.time() == 1.25, "but no longer than it may"
    source.host.end_polls(QUEUE, "mine")
    source.host.end_polls(QUEUE, "another")
    await asyncio.sleep(1.5)
    assert await source.poll(instance_key="mine") is None, "the second time counts"


@on_virtual_time
async def test_a_process_that_polls_a_queue_again_gets_its_tasks_and_no_key_is_kept():
    source = Source()
    source.host.end_polls(QUEUE, "mine")
    source.offer(task("a"))
    await asyncio.sleep(2)
    assert (await source.poll(instance_key="mine")).token.workflow_id == "a"
    for number in range(100):
        source.host.end_polls(QUEUE, f"key {number}")
        await asyncio.sleep(1)
    assert len(source.host._shut_down) == 2
    await asyncio.sleep(60)
    assert not source.host._shut_down, "the sweep of each minute takes the last ones"


@on_virtual_time
async def test_queues_that_nobody_uses_are_forgotten_with_what_is_known_of_them():
    source = Source()
    other = STICKY._replace(name="other")
    assert await source.poll(other, SECOND_NS, normal_queue="q") is None
    await sticky_worker_gone(source)
    assert STICKY in source.host._normal_of
    assert STICKY in source.host._cursors
    parked = source.poll(wait_ns=1_000 * SECOND_NS)
    await asyncio.sleep(200)
    assert STICKY in source.host._normal_of
    await asyncio.sleep(200)
    assert source.host._queues.find(STICKY) is None
    assert not source.host._normal_of
    assert list(source.host._cursors) == [QUEUE]
    assert source.host._queues.find(QUEUE) is not None
    parked.cancel()


# Queries.


def question(name: str = "query") -> QueryTask:
    return QueryTask(name, run_key("n", "w", "r"), query.WorkflowQuery(query_type="t"))


@on_virtual_time
async def test_a_query_reaches_who_waits_or_who_comes_and_one_that_is_withdrawn_nobody():
    source = Source()
    poll = source.poll()
    await settle()
    asked = question()
    source.host.offer_query(QUEUE, asked)
    assert await poll is asked
    asked = question("second")
    source.host.offer_query(QUEUE, asked)
    assert source.host.backlog_hint("n", "q", QueueKind.WORKFLOW) == 1
    assert source.host.withdraw_query(QUEUE, "second")
    assert not source.host.withdraw_query(QUEUE, "second")
    assert await source.poll(wait_ns=3 * SECOND_NS) is None
    source.host.offer_query(QUEUE, asked)
    assert await source.poll() is asked


@on_virtual_time
async def test_a_query_whose_poller_goes_as_it_arrives_is_given_to_another():
    source = Source()
    poll = source.poll()
    await settle()
    asked = question()
    source.host.offer_query(QUEUE, asked)
    poll.cancel()
    await settle()
    assert await source.poll() is asked
    poll = source.poll()
    await settle()
    poll.cancel()
    source.host.offer_query(QUEUE, asked)  # before the poll has taken itself out
    await settle()
    assert await source.poll() is asked
    source.abandoned.add(asked.query_id)
    source.host.unsent(QUEUE, asked)
    assert await source.poll(wait_ns=3 * SECOND_NS) is None


# Readers, and the end.


@on_virtual_time
async def test_who_polls_and_what_waits_is_told_by_queue():
    source = Source()
    assert source.host.pollers(QUEUE) == []
    assert source.host.backlog_hint("n", "q", QueueKind.WORKFLOW) == 0
    assert not source.host.is_served(QUEUE)
    poll = source.poll(identity="me")
    await settle()
    assert source.host.pollers(QUEUE) == [("me", source.clock.now_ns())]
    assert source.host.pollers(ACTIVITIES) == []
    assert source.host.is_served(QUEUE)
    poll.cancel()
    await settle()
    source.host.offer(task("a"), None)
    source.host.offer(task("a"), None)
    assert source.host.backlog_hint("n", "q", QueueKind.WORKFLOW) == 1, "the same task"
    assert source.host.backlog_hint("n", "q", QueueKind.ACTIVITY) == 0


@on_virtual_time
async def test_after_the_end_nothing_is_matched_and_starts_under_way_are_finished():
    source = Source()
    parked = source.poll(ACTIVITIES)
    source.start_gate.clear()
    starting = source.poll()
    await settle()
    source.offer(task("a"))
    await settle()
    reserved_poll = source.poll()
    await settle()
    reserved = source.host.reserve(task("b"))
    assert reserved is not None
    closing = asyncio.ensure_future(source.host.close())
    await settle()
    assert await parked is None
    assert not closing.done()
    source.start_gate.set()
    await closing
    assert (await starting).token.workflow_id == "a"
    began_s = asyncio.get_running_loop().time()
    assert await source.poll() is None
    assert source.host.reserve(task("c")) is None
    source.offer(task("d"))
    assert source.host.backlog_hint("n", "q", QueueKind.WORKFLOW) == 0
    source.host.restore(reserved)
    assert await reserved_poll is None
    assert asyncio.get_running_loop().time() == began_s
    reads = len(source.reads)
    await asyncio.sleep(300)
    assert len(source.reads) == reads, "nothing is swept any more"


@on_virtual_time
async def test_a_poll_that_is_answered_empty_and_given_up_in_one_moment_is_given_up():
    source = Source()
    poll = source.poll(instance_key="mine")
    await settle()
    source.host.end_polls(QUEUE, "mine")
    poll.cancel()
    with pytest.raises(asyncio.CancelledError):
        await poll
    source.abandoned.add("query")
    source.host.unsent(QUEUE, question())
    await settle()
    assert source.host.backlog_hint("n", "q", QueueKind.WORKFLOW) == 0


@on_virtual_time
async def test_a_poll_whose_start_failed_keeps_its_place():
    source = Source()
    source.start_errors = [Unavailable("no disk (test)")]
    first, second = source.poll(), source.poll()
    await settle()
    source.offer(task("a"))
    await settle()
    source.offer(task("b"))
    assert (await first).token.workflow_id == "b"
    assert (await second).token.workflow_id == "a"


@on_virtual_time
async def test_a_row_that_is_offered_and_read_is_one_task():
    source = Source()
    source.read_gate.clear()
    poll = source.poll()
    await settle()
    poll.cancel()
    await settle()
    source.offer(task("a"), 1)  # the reader has not come to this shard yet
    source.read_gate.set()
    await settle()
    assert source.host.backlog_hint("n", "q", QueueKind.WORKFLOW) == 1
    assert await source.names(1) == ["a"]


@on_virtual_time
async def test_a_poll_whose_task_could_not_be_started_gets_the_next_one_at_once():
    source = Source()
    for name in ("a", "b"):
        source.add(task(name))
    source.start_errors = [Unavailable("not now (test)")]
    reply = await source.poll()
    assert reply.token.workflow_id == "b"
    assert asyncio.get_running_loop().time() == 0
    assert await source.names(1) == ["a"], "a little later"
