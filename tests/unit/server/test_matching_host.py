"""The matching host over a source of tasks that the test writes itself, on virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.core.ids import QueueKey
from perdure.core.units import SECOND_NS
from perdure.server.matching import host as module
from perdure.server.matching.polls import ParkedPoll
from perdure.storage.port import StoreError
from perdure.wire.errors import Unavailable
from tests.unit.server.task_source import (
    ACTIVITIES,
    QUEUE,
    Source,
    activity_reply,
    task,
    workflow_reply,
)
from tests.unit.server.virtual import on_virtual_time
from tests.unit.server.world import settle


@on_virtual_time
async def test_a_poll_is_answered_empty_when_its_time_is_up():
    source = Source()
    loop = asyncio.get_running_loop()
    polls = [source.poll(wait_ns=seconds * SECOND_NS) for seconds in (5, 3)]
    assert await polls[1] is None
    assert loop.time() == 3
    assert await polls[0] is None
    assert loop.time() == 5
    source.offer(task("a"))
    assert await source.names(1) == ["a"], "neither of them has taken it along"
    assert source.host._polls == {}


@on_virtual_time
async def test_rows_of_all_shards_are_found_in_the_order_in_which_their_tasks_were_made():
    source = Source()
    for created_ns, (name, shard_id) in enumerate([("a", 2), ("b", 0), ("c", 1), ("d", 0)], 1):
        source.add(task(name, created_ns=created_ns), shard_id)
    source.add(task("urgent", created_ns=9, priority=1), 1)
    source.add(task("other queue", ACTIVITIES), 1)
    assert await source.names(5) == ["urgent", "a", "b", "c", "d"]
    assert await source.names(1, ACTIVITIES) == ["other queue"]


@on_virtual_time
async def test_more_rows_than_one_scan_takes_are_all_served_once():
    source = Source()
    total = 2 * module.SCAN_ROWS + 50
    for number in range(total):
        source.add(task(str(number), created_ns=number), number % 2)
    served = await source.names(total)
    assert sorted(served, key=int) == [str(n) for n in range(total)]
    reads = [after for _, shard_id, after in source.reads if shard_id == 0]
    assert reads[0] == 0
    assert reads[1] > 0, "it goes on behind what it has read"
    assert await source.poll(wait_ns=2 * SECOND_NS) is None


@on_virtual_time
async def test_many_pollers_share_one_scan():
    source = Source()
    for number in range(10):
        source.add(task(str(number)), number % 3)
    source.read_gate.clear()
    polls = [source.poll() for _ in range(10)]
    await settle()
    assert len(source.reads) == 1
    source.read_gate.set()
    answers = await asyncio.gather(*polls)
    assert {answer.token.workflow_id for answer in answers} == {str(n) for n in range(10)}


@on_virtual_time
async def test_rows_that_can_not_be_read_are_read_again_from_their_beginning_a_second_later():
    source = Source()
    for number in range(module.SCAN_ROWS + 1):
        source.add(task(str(number), created_ns=number))
    assert await source.names(1) == ["0"]
    source.read_errors = [StoreError("no answer (test)"), AssertionError("a bug")]
    loop = asyncio.get_running_loop()
    await source.names(module.SCAN_ROWS - 1)
    assert loop.time() == 0
    assert await source.names(1) == [str(module.SCAN_ROWS)]
    assert loop.time() == 2
    assert source.reads[-3] == ("q", 0, 0)


@on_virtual_time
async def test_a_task_that_was_never_offered_is_found_within_a_minute():
    source = Source()
    poll = source.poll()
    await asyncio.sleep(5)
    source.add(task("lost"))
    await asyncio.sleep(50)
    assert not poll.done()
    assert (await poll).token.workflow_id == "lost"
    assert asyncio.get_running_loop().time() == 60
    polls = [source.poll(queue) for queue in (QUEUE, ACTIVITIES)]
    await settle()
    source.add(task("lost too"))
    source.add(task("and this", ACTIVITIES))
    found = [answer.token.workflow_id for answer in await asyncio.gather(*polls)]
    assert found == ["lost too", "and this"]
    assert asyncio.get_running_loop().time() == 120, "every minute, in all queues"


@on_virtual_time
async def test_a_shard_that_comes_back_has_its_rows_read_from_their_beginning():
    source = Source()
    source.owned = [0, 1]
    source.add(task("a"), 0)
    source.add(task("b"), 1)
    await source.names(2)
    poll = source.poll()
    await settle()
    source.owned = [0, 1, 2]
    source.add(task("c"), 2)
    source.reads.clear()
    other = source.poll(ACTIVITIES)
    await settle()
    source.add(task("d", ACTIVITIES), 2)
    source.host.shard_acquired(2)
    assert (await poll).token.workflow_id == "c"
    assert (await other).token.workflow_id == "d"
    assert ("q", 2, 0) in source.reads
    assert asyncio.get_running_loop().time() == 0


@on_virtual_time
async def test_an_offer_reaches_a_poll_that_waits_and_its_start_says_who_polled():
    source = Source()
    poll = source.poll(identity="me")
    await settle()
    source.offer(task("a"))
    assert (await poll).token.workflow_id == "a"
    (info,) = source.infos
    assert (info.identity, info.queue_name) == ("me", "q")
    second = source.poll()
    await settle()
    source.offer(task("b"))
    await second
    assert source.infos[1].request_id != info.request_id, "each delivery has an id of its own"


@on_virtual_time
async def test_a_stale_task_is_passed_over_and_the_poll_keeps_its_place():
    source = Source()
    source.stale = {"stale"}
    first, second = source.poll(), source.poll()
    await settle()
    source.offer(task("stale"))
    await settle()
    assert not first.done()
    source.offer(task("a"))
    source.offer(task("b"))
    assert (await first).token.workflow_id == "a"
    assert (await second).token.workflow_id == "b"


@on_virtual_time
async def test_a_poll_that_left_during_the_start_gives_the_task_back():
    source = Source()
    source.start_gate.clear()
    poll = source.poll()
    await settle()
    source.offer(task("a"))
    await settle()
    poll.cancel()
    await settle()
    source.start_gate.set()
    await settle()
    assert source.given_back == ["a"]
    again = await source.poll()
    assert again.token.workflow_id == "a"
    assert source.starts[-1] == ("a", None), "it is delivered again, not started again"


@pytest.mark.parametrize(
    ("queue", "reply"), [(QUEUE, workflow_reply), (ACTIVITIES, activity_reply)]
)
@on_virtual_time
async def test_a_caller_who_goes_as_the_task_arrives_gives_it_back(queue: QueueKey, reply: Any):
    source = Source()
    poll = source.poll(queue)
    await settle()
    each = task("a", queue)
    reserved = source.host.reserve(each)
    assert reserved is not None
    assert source.host.deliver(reserved, each, reply(each.entity))
    poll.cancel()
    await settle()
    assert source.given_back == ["a"]
    assert not source.host.deliver(reserved, each, reply(each.entity)), "nobody is there any more"


@pytest.mark.parametrize("error", [Unavailable("no disk (test)"), ZeroDivisionError("a bug")])
@on_virtual_time
async def test_a_start_that_fails_is_tried_again_a_second_later(error: Exception):
    source = Source()
    source.start_errors = [error, error]
    poll = source.poll()
    await settle()
    source.offer(task("a"))
    assert (await poll).token.workflow_id == "a"
    assert asyncio.get_running_loop().time() == 2
    assert len(source.starts) == 3


@on_virtual_time
async def test_a_start_that_fails_does_not_keep_its_poll_from_other_tasks():
    source = Source()
    source.start_errors = [Unavailable("no disk (test)")]
    poll = source.poll()
    await settle()
    source.offer(task("a"))
    await settle()
    source.offer(task("b"))
    assert (await poll).token.workflow_id == "b"
    assert asyncio.get_running_loop().time() == 0
    assert await source.names(1) == ["a"]


@on_virtual_time
async def test_a_redelivery_that_fails_is_offered_again():
    source = Source()
    source.start_errors = [Unavailable("no disk (test)")]
    poll = source.poll()
    await settle()
    source.host.offer(task("a"), None)
    assert (await poll).token.workflow_id == "a"
    assert [row for _, row in source.starts] == [None, None]
    assert asyncio.get_running_loop().time() == 1


@on_virtual_time
async def test_a_poll_whose_time_is_up_during_a_commit_waits_a_little_for_its_task():
    source = Source()
    loop = asyncio.get_running_loop()
    for taken_s, gets in ((0.4, True), (0.6, False)):
        began_s = loop.time()
        poll = source.poll(wait_ns=3 * SECOND_NS)
        await settle()
        each = task("a")
        reserved = source.host.reserve(each)
        assert reserved is not None
        await asyncio.sleep(3 + taken_s)
        assert source.host.deliver(reserved, each, workflow_reply(each.entity)) is gets
        assert (await poll is not None) is gets
        assert loop.time() - began_s <= 3.6
    assert source.host._queues.get(QUEUE).parked_pollers == 0


@on_virtual_time
async def test_a_restored_poll_waits_in_front_and_one_that_left_does_not_come_back():
    source = Source()
    polls = [source.poll(identity=str(n)) for n in range(3)]
    await settle()
    reserved = source.host.reserve(task("x"))
    gone = source.host.reserve(task("y"))
    assert isinstance(reserved, ParkedPoll)
    assert isinstance(gone, ParkedPoll)
    assert (reserved.poller.identity, gone.poller.identity) == ("0", "1")
    polls[1].cancel()
    await settle()
    source.host.restore(reserved)
    source.host.restore(gone)
    source.offer(task("a"))
    source.offer(task("b"))
    assert (await polls[0]).token.workflow_id == "a"
    assert (await polls[2]).token.workflow_id == "b"


@on_virtual_time
async def test_rows_that_came_while_others_were_read_are_read_at_once():
    source = Source()
    source.read_gate.clear()
    poll = source.poll()
    await settle()
    source.add(task("a"), 0)  # behind the reader, who has read this shard
    source.host.shard_acquired(0)
    source.read_gate.set()
    assert (await poll).token.workflow_id == "a"
    assert asyncio.get_running_loop().time() == 0


@on_virtual_time
async def test_a_scan_that_fails_after_its_rows_were_wanted_again_is_repeated():
    source = Source()
    source.read_gate.clear()
    source.read_errors = [StoreError("no answer (test)")]
    poll = source.poll()
    await settle()
    source.add(task("a"))
    source.host.shard_acquired(0)  # forgets how far the rows were read
    source.read_gate.set()
    assert (await poll).token.workflow_id == "a"
    assert asyncio.get_running_loop().time() <= 1


@pytest.mark.parametrize("error", [None, Unavailable("no disk (test)")])
@on_virtual_time
async def test_a_poll_that_left_during_a_start_in_vain_is_not_parked_again(error: Exception | None):
    source = Source()
    source.stale = {"stale"}
    source.start_gate.clear()
    poll = source.poll()
    await settle()
    source.offer(task("stale"))
    await settle()
    poll.cancel()
    await settle()
    source.start_errors = [error] if error else []
    source.start_gate.set()
    await settle()
    assert source.host._queues.get(QUEUE).parked_pollers == 0
    source.offer(task("a"))
    assert await source.names(1) == ["a"]


@on_virtual_time
async def test_a_failed_start_is_not_repeated_after_the_end_and_its_poll_answered_at_once():
    source = Source()
    source.start_errors = [Unavailable("no disk (test)")]
    source.start_gate.clear()
    poll = source.poll()
    await settle()
    source.offer(task("a"))
    await settle()
    closing = asyncio.ensure_future(source.host.close())
    await settle()
    source.start_gate.set()
    assert await poll is None
    await closing
    assert asyncio.get_running_loop().time() == 0
    reads = len(source.reads)
    await asyncio.sleep(10)
    assert (len(source.reads), len(source.starts)) == (reads, 1)
