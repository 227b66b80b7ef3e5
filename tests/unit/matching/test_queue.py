"""One task queue: order, parking, sticky availability, and the rows behind the buffer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perdure.core.ids import QueueKey, QueueKind
from perdure.core.units import SECOND_NS
from perdure.matching.queue import POLLER_HISTORY_NS, Item, Poller, TaskQueue
from perdure.matching.queues import TaskQueues


def item(key: object, priority: int = 3, *, has_row: bool = True) -> Item[str]:
    return Item(key, priority, f"body of {key}", has_row)


def poller(poll_id: int, instance: str = "") -> Poller:
    return Poller(poll_id, f"worker-{poll_id}", instance)


def fresh(*items: Item[str], buffer_items_max: int = 100) -> TaskQueue[str]:
    """A queue whose rows have been read."""
    queue: TaskQueue[str] = TaskQueue(buffer_items_max)
    queue.scan_started()
    assert queue.rows_read(items, complete=True) == []
    return queue


def keys_taken(queue: TaskQueue[str]) -> list[object]:
    return [taken.key for taken in queue.drain()]


def test_priority_comes_before_arrival_and_arrival_decides_among_equals():
    queue = fresh(item("a"), item("b", 1), item("c"), item("d", 1), item("e", 5))
    assert keys_taken(queue) == ["b", "d", "a", "c", "e"]


def test_parked_pollers_are_served_in_the_order_of_their_arrival():
    queue = fresh()
    assert queue.poll(poller(1), now_ns=0) is None
    assert queue.poll(poller(2), now_ns=0) is None
    first, second = queue.offer(item("a")), queue.offer(item("b"))
    assert first is not None
    assert second is not None
    assert (first.poller.poll_id, first.item.key) == (1, "a")
    assert (second.poller.poll_id, second.item.key) == (2, "b")
    assert queue.offer(item("c")) is None
    assert queue.waiting_tasks == 1


def test_a_reserved_poller_whose_batch_failed_waits_at_the_front_again():
    queue = fresh()
    queue.poll(poller(1), now_ns=0)
    queue.poll(poller(2), now_ns=0)
    reserved = queue.reserve()
    assert reserved == poller(1)
    assert queue.poll(poller(1), now_ns=0, at_front=True) is None
    assert queue.reserve() == poller(1)
    assert queue.reserve() == poller(2)
    assert queue.reserve() is None


def test_a_cancelled_poll_gets_nothing():
    queue = fresh()
    queue.poll(poller(1), now_ns=0)
    assert queue.cancel(1)
    assert not queue.cancel(1)
    assert queue.offer(item("a")) is None
    assert queue.reserve() is None


def test_offering_the_same_task_twice_keeps_it_once():
    queue = fresh(item("a"))
    queue.offer(item("a"))
    assert keys_taken(queue) == ["a"]


def test_a_withdrawn_item_is_never_delivered():
    queue = fresh(item("query", has_row=False), item("a"))
    assert queue.withdraw("query")
    assert not queue.withdraw("query")
    assert keys_taken(queue) == ["a"]


def test_rows_of_a_new_queue_are_wanted_once_somebody_polls():
    queue: TaskQueue[str] = TaskQueue()
    assert queue.offer(item("a")) is None
    assert queue.waiting_tasks == 0, "without pollers the row alone remembers the task"
    assert not queue.wants_rows
    assert queue.poll(poller(1), now_ns=0) is None
    assert queue.wants_rows
    queue.scan_started()
    assert not queue.wants_rows
    matches = queue.rows_read([item("a"), item("b")], complete=True)
    assert [(m.poller.poll_id, m.item.key) for m in matches] == [(1, "a")]
    assert keys_taken(queue) == ["b"]


def test_a_task_committed_behind_the_back_of_a_scan_is_kept():
    queue: TaskQueue[str] = TaskQueue()
    queue.poll(poller(1), now_ns=0)
    queue.scan_started()
    assert queue.offer(item("new 1")) is not None, "goes to the parked poller"
    assert queue.offer(item("new 2")) is None
    assert queue.rows_read([], complete=True) == []
    assert keys_taken(queue) == ["new 2"]


def test_an_item_without_row_is_kept_even_before_rows_were_read():
    queue: TaskQueue[str] = TaskQueue()
    queue.offer(item("query", has_row=False))
    taken = queue.poll(poller(1), now_ns=0)
    assert taken is not None
    assert taken.key == "query"


def test_a_full_buffer_leaves_tasks_to_their_rows_and_reads_them_later():
    queue = fresh(buffer_items_max=2)
    for key in "abc":
        queue.offer(item(key))
    assert keys_taken(queue) == ["a", "b"]
    assert queue.poll(poller(1), now_ns=0) is None
    assert queue.wants_rows
    queue.scan_started()
    matches = queue.rows_read([item("c")], complete=True)
    assert [m.item.key for m in matches] == ["c"]
    assert queue.poll(poller(2), now_ns=0) is None
    assert not queue.wants_rows


def test_an_incomplete_scan_is_continued():
    queue: TaskQueue[str] = TaskQueue()
    queue.poll(poller(1), now_ns=0)
    queue.scan_started()
    queue.rows_read([], complete=False)
    assert queue.wants_rows


def test_a_sticky_queue_is_served_until_ten_seconds_after_its_last_poll():
    queue = fresh()
    assert not queue.is_served(0)
    queue.poll(poller(1), now_ns=0)
    assert queue.is_served(60 * SECOND_NS), "the poll still waits"
    queue.cancel(1)
    assert queue.is_served(9 * SECOND_NS)
    assert not queue.is_served(10 * SECOND_NS)


def test_a_closed_sticky_queue_is_not_served_until_somebody_polls_again():
    queue = fresh()
    queue.poll(poller(1), now_ns=0)
    assert queue.close() == [poller(1)]
    assert not queue.is_served(1)
    assert queue.reserve() is None
    queue.poll(poller(2), now_ns=2)
    assert queue.is_served(3)


def test_shutting_down_one_worker_process_leaves_the_polls_of_others():
    queue = fresh()
    for poll_id, instance in ((1, "x"), (2, "y"), (3, "x")):
        queue.poll(poller(poll_id, instance), now_ns=0)
    assert [p.poll_id for p in queue.cancel_instance("x")] == [1, 3]
    assert queue.reserve() == poller(2, "y")


def test_pollers_are_listed_for_five_minutes():
    queue = fresh()
    queue.poll(poller(1), now_ns=0)
    queue.cancel(1)
    queue.poll(poller(2), now_ns=5)
    assert queue.pollers(10) == [("worker-2", 10), ("worker-1", 0)]
    assert [name for name, _ in queue.pollers(POLLER_HISTORY_NS)] == ["worker-2"]


def test_only_queues_that_hold_nothing_unique_are_forgotten():
    queues: TaskQueues[str] = TaskQueues()
    names = ("polled", "query", "rows")
    keys = {name: QueueKey("ns", name, QueueKind.WORKFLOW) for name in names}
    queues.get(keys["polled"]).poll(poller(1), now_ns=0)
    queues.get(keys["query"]).offer(item("query", has_row=False))
    queues.get(keys["rows"]).offer(item("a"))
    assert queues.forget_idle(POLLER_HISTORY_NS + 1) == 1
    assert queues.find(keys["rows"]) is None
    assert [key for key, _ in queues.all()] == [keys["polled"], keys["query"]]


@given(st.lists(st.one_of(st.integers(1, 3).map(lambda p: ("offer", p)), st.just(("poll", 0)))))
def test_every_task_goes_to_exactly_one_poller_and_none_is_kept_while_one_waits(
    steps: list[tuple[str, int]],
):
    queue = fresh(buffer_items_max=10_000)
    offered, delivered, polls = 0, list[object](), 0
    for step, priority in steps:
        if step == "offer":
            offered += 1
            if (match := queue.offer(item(offered, priority))) is not None:
                delivered.append(match.item.key)
        else:
            polls += 1
            if (taken := queue.poll(poller(polls), now_ns=polls)) is not None:
                delivered.append(taken.key)
        assert not (queue.waiting_tasks and queue.parked_pollers)
    assert len(delivered) == len(set(delivered)) == min(offered, polls)
    assert queue.waiting_tasks == offered - len(delivered)


def test_parked_pollers_get_the_most_urgent_of_the_rows_that_were_read():
    queue: TaskQueue[str] = TaskQueue()
    queue.poll(poller(1), now_ns=0)
    queue.scan_started()
    matches = queue.rows_read([item("a"), item("b", 1)], complete=True)
    assert [match.item.key for match in matches] == ["b"]
