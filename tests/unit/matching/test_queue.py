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
    queue = fresh(item("z"), item("y", 1), item("c"), item("d", 1), item("e", 5), item(object))
    assert keys_taken(queue) == ["y", "d", "z", "c", object, "e"]


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
    queue = fresh(item("a"), item("a"), buffer_items_max=2)
    for _ in range(3):
        queue.offer(item("a"))
    queue.scan_started()
    queue.rows_read([item("a"), item("a")], complete=True)
    queue.offer(item("b"))
    assert keys_taken(queue) == ["a", "b"], "repetitions take no room"


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
    assert queue.reserve() is None


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


# What is left to the rows, and what is kept.


def wanting(queue: TaskQueue[str]) -> bool:
    """Whether the rows are read when somebody polls and gets nothing."""
    while (taken := queue.poll(poller(999), now_ns=0)) is not None:
        assert taken
    wants = queue.wants_rows
    queue.cancel(999)
    return wants


def test_what_came_during_a_scan_and_was_not_kept_is_read_by_another_scan():
    queue: TaskQueue[str] = TaskQueue(buffer_items_max=1)
    queue.scan_started()
    queue.offer(item("kept"))
    queue.offer(item("too many"))
    assert queue.rows_read([], complete=True) == []
    assert keys_taken(queue) == ["kept"]
    assert wanting(queue), "the row that came during the scan has not been read"
    queue.scan_started()
    queue.rows_read([item("too many")], complete=True)
    assert keys_taken(queue) == ["too many"]
    assert not wanting(queue)


def test_a_wish_for_rows_during_a_scan_is_remembered():
    queue: TaskQueue[str] = TaskQueue()
    queue.scan_started()
    queue.rows_wanted()
    queue.rows_read([], complete=True)
    assert wanting(queue)


def test_rows_are_wanted_only_for_a_poller_who_has_nothing_and_by_one_reader():
    queue: TaskQueue[str] = TaskQueue()
    assert not queue.wants_rows, "nobody polls"
    queue.poll(poller(1), now_ns=0)
    assert queue.wants_rows
    queue.scan_started()
    queue.rows_wanted()
    assert not queue.wants_rows, "they are being read"
    queue.rows_read([], complete=True)
    assert queue.wants_rows
    queue.cancel(1)
    assert not queue.wants_rows
    queue.offer(item("query", has_row=False))
    queue.offer(item("query 2", has_row=False))
    queue.poll(poller(1), now_ns=0)
    assert not queue.wants_rows, "there is something in memory"
    queue = fresh()
    queue.poll(poller(1), now_ns=0)
    assert not queue.wants_rows, "they were all read"


def test_once_rows_are_unread_later_ones_wait_behind_them():
    queue = fresh(buffer_items_max=1)
    queue.offer(item("first"))
    queue.offer(item("a row"))
    assert keys_taken(queue) == ["first"]
    queue.offer(item("later"))
    assert queue.waiting_tasks == 0, "kept now, it would come before the older row"


def test_the_buffer_is_full_at_its_bound_and_holds_what_has_no_row_beyond_it():
    queue = fresh(buffer_items_max=2)
    queue.offer(item("a"))
    queue.offer(item("b"))
    queue.offer(item("query", has_row=False))
    queue.offer(item("c"))
    assert queue.waiting_tasks == 3
    assert keys_taken(queue) == ["a", "b", "query"]


def test_a_scan_adds_what_is_new_and_serves_who_waits_in_order():
    queue: TaskQueue[str] = TaskQueue()
    for poll_id in (1, 2, 3):
        queue.poll(poller(poll_id), now_ns=0)
    queue.scan_started()
    found = [item("a"), item("b", 1), item("a"), item("c"), item("d")]
    matches = queue.rows_read(found, complete=True)
    assert [(m.poller.poll_id, m.item.key) for m in matches] == [(1, "b"), (2, "a"), (3, "c")]
    assert queue.parked_pollers == 0
    assert keys_taken(queue) == ["d"]


def test_a_task_that_was_taken_may_be_offered_again():
    queue = fresh(item("a"))
    assert keys_taken(queue) == ["a"]
    queue.offer(item("a"))
    assert keys_taken(queue) == ["a"]
    queue.offer(item("a"))
    queue.withdraw("a")
    queue.offer(item("a"))
    assert queue.waiting_tasks == 1


def test_a_poller_who_had_to_wait_again_comes_first_and_is_seen():
    queue = fresh()
    queue.poll(poller(1), now_ns=0)
    queue.poll(poller(2), now_ns=0)
    queue.poll(poller(3), now_ns=0, at_front=True)
    assert [queue.reserve() for _ in range(4)] == [poller(3), poller(1), poller(2), None]


def test_pollers_that_wait_are_seen_now_and_others_when_they_polled_latest_first():
    queue = fresh()
    for poll_id in (4, 1, 2, 3):
        queue.poll(poller(poll_id), now_ns=poll_id)
    assert {at for _, at in queue.pollers(50)} == {50}
    queue = fresh()
    queue.poll(poller(1), now_ns=1)
    queue.poll(poller(2), now_ns=2)
    queue.poll(poller(3), now_ns=3)
    queue.cancel(1)
    queue.cancel(3)
    assert queue.pollers(100) == [("worker-2", 100), ("worker-3", 3), ("worker-1", 1)]
    queue.cancel(2)
    names = [name for name, _ in queue.pollers(POLLER_HISTORY_NS + 1)]
    assert names == ["worker-2", "worker-3"], "those who left five minutes ago are gone"
    assert [name for name, _ in queue.pollers(POLLER_HISTORY_NS + 99)] == ["worker-2"]
    assert queue.pollers(POLLER_HISTORY_NS + 100) == []


def test_closing_returns_those_who_wait_and_a_poll_opens_again():
    queue = fresh(item("a"))
    queue.poll(poller(0), now_ns=0)
    queue.poll(poller(1), now_ns=0)
    queue.poll(poller(2), now_ns=0)
    assert queue.close() == [poller(1), poller(2)]
    assert queue.parked_pollers == 0
    assert not queue.is_served(0)
    queue.offer(item("b"))
    taken = queue.poll(poller(3), now_ns=5)
    assert taken is not None
    assert taken.key == "b"
    assert queue.is_served(6)


def test_a_queue_is_idle_when_nothing_unique_is_in_it_and_nobody_polled_for_long():
    queue: TaskQueue[str] = TaskQueue()
    assert queue.is_idle(0), "nobody ever polled"
    queue.poll(poller(1), now_ns=10)
    assert not queue.is_idle(10**18), "somebody waits"
    queue.cancel(1)
    assert not queue.is_idle(10 + POLLER_HISTORY_NS)
    assert queue.is_idle(11 + POLLER_HISTORY_NS)
    queue.offer(item("query", has_row=False))
    assert not queue.is_idle(10**18)
    queue.withdraw("query")
    assert queue.is_idle(10**18)
    rows = fresh(item("a"))
    assert rows.waiting_tasks == 1
    assert rows.is_idle(10**18), "it can be read again"


def test_all_parked_polls_of_an_instance_are_withdrawn_and_a_name_says_nothing():
    queue = fresh()
    for poll_id, instance in ((1, ""), (2, "x"), (3, "")):
        queue.poll(poller(poll_id, instance), now_ns=0)
    assert [p.poll_id for p in queue.cancel_instance("x")] == [2]
    assert queue.cancel_instance("x") == []
    assert queue.parked_pollers == 2


def test_a_queue_is_made_once_and_found_afterwards():
    queues: TaskQueues[str] = TaskQueues()
    key = QueueKey("ns", "q", QueueKind.WORKFLOW)
    assert queues.find(key) is None
    queue = queues.get(key)
    assert queues.get(key) is queue
    assert queues.find(key) is queue
    assert queues.find(key._replace(kind=QueueKind.ACTIVITY)) is None
    for _, each in queues.all():
        queues.get(key._replace(name="another"))  # made on the way: no harm
        queues.get(key._replace(name="a third one"))
        each.poll(poller(1), now_ns=0)
    assert queues.forget_idle(0) == 2
    assert queues.forget_idle(0) == 0
    assert [known for known, _ in queues.all()] == [key]
    assert queues.find(key) is queue
