"""Brings polls and tasks together: the shell around `perdure.matching`.

Role: parks polls with futures, implements the shard's `Matcher` protocol, reads the rows of polled queues,
starts tasks for pollers, moves tasks of dead sticky queues to the normal ones (S-11), answers polls empty in time
(S-40).

Invariants: a started task reaches a poller that is still there, or is undone or redelivered (D-46); starts run
in tasks of the host, so that a cancelled poll never cancels one. Everything here can be rebuilt from the rows (D-8).
Not here: order and priorities (`perdure.matching`), transitions (`perdure.history`), responses (`frontend/`).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from perdure.core.ids import QueueKey, QueueKind, TaskRowId
from perdure.core.units import MINUTE_NS, SECOND_NS
from perdure.entity.transition import DEFAULT_PRIORITY, Task
from perdure.entity.workers import PollInfo, StaleTask
from perdure.history.draft.replies import ActivityTaskReply, WorkflowTaskReply
from perdure.matching.queue import Item, Match, Poller
from perdure.matching.queues import TaskQueues
from perdure.server.common import closing
from perdure.server.matching.polls import ParkedPoll, QueryBody, TaskBody
from perdure.server.owners.messages import (
    IsServed,
    OfferQuery,
    OfferTask,
    ShardAcquired,
    WithdrawQuery,
)
from perdure.server.owners.owners import Owners
from perdure.wire.errors import DataLoss, RpcError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from perdure.core.clock import Clock
    from perdure.server.matching.polls import Body, PollResult
    from perdure.server.matching.ports import InlinePoller, TaskSource
    from perdure.server.matching.ports import Poller as ReservedPoller
    from perdure.server.pending.queries import QueryTask

_log = logging.getLogger(__name__)

SCAN_ROWS = 200
"""How many rows to read at a time from one queue and shard."""
SWEEP_NS = MINUTE_NS
"""How often idle queues are removed, and rows of polled queues read again in case an offer was lost."""
RETRY_NS = SECOND_NS
"""Pause before the rows of a queue are read again after a failure."""
LATE_POLL_NS = 2 * SECOND_NS
"""How long after a worker has stopped polling a queue its polls of it are still answered empty."""
EARLY_ANSWER_NS = SECOND_NS
"""How long those polls wait."""
LATE_RESULT_NS = SECOND_NS // 2
"""How much longer an expired poll waits for a task that is in the process of being committed for it."""


class MatchingHost:
    """The task queues that a node owns, and the way to all others.

    Args:
        clock: Measures how long pollers have been gone.
        new_id: Returns a new UUID as text.
        owners: The owners of task queues. Default: all are here.
    """

    def __init__(
        self, clock: Clock, new_id: Callable[[], str], owners: Owners | None = None
    ) -> None:
        self._clock = clock
        self._owners = owners or Owners(shard_count=1)
        self._new_id = new_id
        self._source: TaskSource | None = None
        self._queues: TaskQueues[Body] = TaskQueues()
        self._polls: dict[int, ParkedPoll] = {}
        self._next_poll_id = 1
        self._cursors: dict[QueueKey, dict[int, int]] = {}
        self._normal_of: dict[QueueKey, QueueKey] = {}
        self._shut_down: dict[tuple[QueueKey, str], int] = {}
        """(Queue, instance key of a worker that has stopped polling it) -> when; the oldest first."""
        self._running: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._is_closed = False
        self.inline: Callable[[Task], InlinePoller | None] | None = None
        """Finds a worker in this process that can begin a task at once; set by the node."""

    def open(self, source: TaskSource) -> None:
        """Start matching. Called once while the node is wired, on the loop that serves it."""
        self._source = source
        self._sweep()

    # Polls.

    async def poll(
        self,
        queue: QueueKey,
        *,
        identity: str,
        wait_ns: int,
        instance_key: str = "",
        normal_queue: str = "",
        build_id: str = "",
    ) -> PollResult:
        """Wait for a task of the queue. Returns None if none arrived in time.

        Args:
            queue: The queue; a sticky queue has its own name.
            identity: Identity of the worker, for histories and poller lists.
            wait_ns: The longest time to wait.
            instance_key: Key of the worker process, as named by ShutdownWorker.
            normal_queue: For a sticky queue, the queue that gets its tasks when its worker is gone.
            build_id: Build of the worker, for histories.
        """
        if self._is_closed:
            return None
        if self._is_late(queue, instance_key):
            # An immediate answer would put a worker that keeps polling into a busy loop.
            await asyncio.sleep(min(wait_ns, EARLY_ANSWER_NS) / SECOND_NS)
            return None
        if normal_queue:
            self._normal_of[queue] = queue._replace(name=normal_queue)
        poller = Poller(self._next_poll_id, identity, instance_key)
        self._next_poll_id += 1
        info = PollInfo(
            identity=identity,
            request_id=self._new_id(),
            build_id=build_id,
            queue_name=queue.name,
        )
        poll = ParkedPoll(queue, poller, info)
        self._polls[poller.poll_id] = poll
        try:
            self._seek(poll)
            return await self._wait(poll, wait_ns)
        except asyncio.CancelledError:
            # The caller may be cancelled at the moment a task arrives.
            if poll.result.done() and not poll.result.cancelled():
                self.unsent(queue, poll.result.result())
            raise
        finally:
            self._queues.get(queue).cancel(poller.poll_id)
            poll.leave()
            del self._polls[poller.poll_id]

    async def _wait(self, poll: ParkedPoll, wait_ns: int) -> PollResult:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(wait_ns / SECOND_NS, self._time_is_up, poll)
        try:
            return await poll.result
        finally:
            timer.cancel()

    def _time_is_up(self, poll: ParkedPoll) -> None:
        if poll.is_here and not self._queues.get(poll.queue).cancel(poll.poller.poll_id):
            # A commit or a start holds the poll, so a task nearly always arrives within milliseconds.
            loop = asyncio.get_running_loop()
            loop.call_later(LATE_RESULT_NS / SECOND_NS, poll.give, None)
        else:
            poll.give(None)

    def unsent(self, queue: QueueKey, result: PollResult) -> None:
        """Give the result of a poll whose caller was not answered to another poll of `queue` (D-46)."""
        if isinstance(result, WorkflowTaskReply | ActivityTaskReply):
            token, now_ns = result.token, self._clock.now_ns()
            task = Task(queue, token.entity, token.scheduled_event_id, stamp=0, created_ns=now_ns)
            self._spawn(self._engine.give_back(task, result))
        elif result is not None:
            self._spawn(self._engine.give_back_query(queue, result))

    def _seek(self, poll: ParkedPoll, *, at_front: bool = False) -> None:
        """Find a task for the poll, or park it."""
        queue = self._queues.get(poll.queue)
        now_ns = self._clock.now_ns()
        item = queue.poll(poll.poller, now_ns=now_ns, at_front=at_front)
        if item is not None:
            self._hand_over(poll, item)
        elif queue.wants_rows:
            self._spawn(self._scan(poll.queue))

    def _hand_over(self, poll: ParkedPoll, item: Item[Body]) -> None:
        body = item.body
        if isinstance(body, QueryBody):
            if not poll.give(body.query):
                self._offer(poll.queue, item)
        else:
            self._spawn(self._start(poll, body))

    def _take(self, match: Match[Body]) -> None:
        poll = self._polls.get(match.poller.poll_id)
        assert poll is not None, "a poll leaves its queue before it is forgotten"
        self._hand_over(poll, match.item)

    async def _start(self, poll: ParkedPoll, body: TaskBody) -> None:
        try:
            reply = await self._engine.start_task(body.task, body.row, poll.info)
        except DataLoss as error:
            _log.error("a task of %s cannot be started: %s", poll.queue.name, error.message)
            self._not_started(poll, body, is_damaged=True)
        except RpcError as error:
            _log.debug("a task of %s was not started: %s", poll.queue.name, error.message)
            self._not_started(poll, body)
        except Exception:  # noqa: BLE001 -- a bug in one task must not strand the poll
            _log.exception("a task of %s could not be started", poll.queue.name)
            self._not_started(poll, body)
        else:
            await self._started(poll, body, reply)

    async def _started(
        self,
        poll: ParkedPoll,
        body: TaskBody,
        reply: WorkflowTaskReply | ActivityTaskReply | StaleTask,
    ) -> None:
        if isinstance(reply, StaleTask):
            if poll.is_here:
                self._seek(poll, at_front=True)
        elif not poll.give(reply):
            await self._engine.give_back(body.task, reply)

    def _not_started(self, poll: ParkedPoll, body: TaskBody, *, is_damaged: bool = False) -> None:
        """Retry the task a little later. The poll keeps waiting, without reading rows immediately.

        Another try at a damaged run does not help. Its row waits for the next sweep.
        """
        if not is_damaged:
            self._retry_later(poll.queue, body)
        if not poll.is_here or self._is_closed:
            poll.give(None)
            return
        queue = self._queues.get(poll.queue)
        item = queue.poll(poll.poller, now_ns=self._clock.now_ns(), at_front=True)
        if item is not None:
            self._hand_over(poll, item)

    def _retry_later(self, key: QueueKey, body: TaskBody) -> None:
        def again() -> None:
            if self._is_closed:
                return
            if body.row is None:
                self.offer(body.task, None)
            else:
                self._read_again(key)

        asyncio.get_running_loop().call_later(RETRY_NS / SECOND_NS, again)

    # The shard's side: see `perdure.server.matching.ports`.

    def reserve(self, task: Task) -> ReservedPoller | None:
        queue = self._queues.find(task.queue)
        if queue is None or self._is_closed:
            return None
        poller = queue.reserve()
        return None if poller is None else self._polls[poller.poll_id]

    def inline_poller(self, task: Task) -> InlinePoller | None:
        if self.inline is None or self._is_closed:
            return None
        queue = self._queues.find(task.queue)
        # Tasks that wait in the queue come first.
        return None if queue is None or not queue.is_drained else self.inline(task)

    def restore(self, poller: ReservedPoller) -> None:
        assert isinstance(poller, ParkedPoll)
        if poller.is_here:
            if self._is_closed:
                poller.give(None)
            else:
                self._seek(poller, at_front=True)

    def deliver(
        self,
        poller: ReservedPoller,
        task: Task,
        reply: WorkflowTaskReply | ActivityTaskReply,
    ) -> bool:
        assert isinstance(poller, ParkedPoll)
        return poller.give(reply)

    def offer(self, task: Task, row: TaskRowId | None) -> None:
        if self._owners.is_here(task.queue):
            self.take_offer(task.queue, task, row)
        else:
            self._owners.tell(task.queue, OfferTask(task.queue, task, row))

    def take_offer(self, queue: QueueKey, task: Task, row: TaskRowId | None) -> None:
        """Take a task into a queue that is here; `offer` finds the queue's owner."""
        if self._is_closed:
            return
        served = self._served_queue(queue)
        if served != queue:
            self._move(served, _item(task, row))
            return
        self._offer(queue, _item(task, row))
        may_be_stuck = task.may_be_sticky and queue == task.queue
        if row is not None and may_be_stuck and not self.is_served(queue):
            self._leave_sticky_queue(task, row)

    def _leave_sticky_queue(self, task: Task, row: TaskRowId) -> None:
        """Let the run move a task of an unpolled queue; its worker may have died before this start (S-11)."""
        if task.queue.kind is QueueKind.WORKFLOW:
            self._spawn(self._engine.leave_sticky_queue(task, row))

    def shard_acquired(self, shard_id: int) -> None:
        self.read_again()
        self._owners.tell_others(ShardAcquired(shard_id))

    def read_again(self) -> None:
        """Read the rows of all queues again, because offers may have been lost."""
        for key, _ in self._queues.all():
            self._read_again(key)

    def _offer(self, key: QueueKey, item: Item[Body]) -> None:
        match = self._queues.get(key).offer(item)
        if match is not None:
            self._take(match)

    def _move(self, key: QueueKey, item: Item[Body]) -> None:
        """Offer an item of a sticky queue on its normal queue, which another node may own."""
        body = item.body
        if self._owners.is_here(key):
            self._offer(key, item)
        elif isinstance(body, QueryBody):
            self._owners.tell(key, OfferQuery(key, body.query))
        else:
            self._owners.tell(key, OfferTask(key, body.task, body.row))

    def _served_queue(self, key: QueueKey) -> QueueKey:
        """S-11: the queue itself, or its normal queue if it is a sticky queue whose worker is gone."""
        normal = self._normal_of.get(key)
        if normal is None or self._queues.get(key).is_served(self._clock.now_ns()):
            return key
        return normal

    # Rows.

    def _read_again(self, key: QueueKey) -> None:
        queue = self._queues.get(key)
        queue.rows_wanted()
        self._cursors.pop(key, None)
        if queue.wants_rows:
            self._spawn(self._scan(key))

    async def _scan(self, key: QueueKey) -> None:
        queue = self._queues.get(key)
        if not queue.wants_rows:
            return
        queue.scan_started()
        source, cursors = self._engine, self._cursors.setdefault(key, {})
        items: list[Item[Body]] = []
        is_complete = True
        try:
            for shard_id in source.shards():
                rows = await source.task_rows(key, shard_id, cursors.get(shard_id, 0), SCAN_ROWS)
                for row in rows:
                    row_id = TaskRowId(key, shard_id, row.sequence)
                    items.append(Item(row_id, row.task.priority, TaskBody(row.task, row_id)))
                    cursors[shard_id] = row.sequence
                is_complete &= len(rows) < SCAN_ROWS
        except Exception:  # noqa: BLE001 -- whatever the store raised, the rows are read again later
            _log.warning("could not read the tasks of queue %s", key.name, exc_info=True)
            is_complete = True
            self._cursors.pop(key, None)
            asyncio.get_running_loop().call_later(
                RETRY_NS / SECOND_NS, lambda: None if self._is_closed else self._read_again(key)
            )
        items.sort(key=_created_ns)
        for match in queue.rows_read(items, complete=is_complete):
            self._take(match)
        if queue.wants_rows:
            self._spawn(self._scan(key))

    def _sweep(self) -> None:
        now_ns = self._clock.now_ns()
        for key, queue in self._queues.all():
            queue.pollers(now_ns)  # this also removes pollers that have been gone for a long time
            if queue.parked_pollers:
                self._read_again(key)
        self._queues.forget_idle(now_ns)
        for table in (self._normal_of, self._cursors):
            for key in [key for key in table if self._queues.find(key) is None]:
                del table[key]
        self._forget_shut_down(self._clock.monotonic_ns())
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(SWEEP_NS / SECOND_NS, self._sweep)

    # Queries.

    async def ask_poller(self, key: QueueKey, query: QueryTask) -> None:
        """Give the query to the next poller of the queue, wherever the queue is."""
        await self._owners.ask(key, OfferQuery(key, query))

    def withdraw(self, key: QueueKey, query_id: str) -> None:
        """Withdraw the query, unless a poller already has it."""
        if self._owners.is_here(key):
            self.withdraw_query(key, query_id)
        else:
            self._owners.tell(key, WithdrawQuery(key, query_id))

    async def serves(self, key: QueueKey) -> bool:
        """Like `is_served`, for a queue that another node may own."""
        return await self._owners.ask(key, IsServed(key))

    def offer_query(self, key: QueueKey, query: QueryTask) -> None:
        """Take a query into a queue that is here."""
        body = QueryBody(query)
        self._offer(key, Item(("query", query.query_id), DEFAULT_PRIORITY, body, has_row=False))

    def withdraw_query(self, key: QueueKey, query_id: str) -> bool:
        """Withdraw a query from a queue that is here. Returns false if a poller already has it."""
        return self._queues.get(key).withdraw(("query", query_id))

    def is_served(self, key: QueueKey) -> bool:
        """Whether the queue is polled now or was polled recently."""
        queue = self._queues.find(key)
        return queue is not None and queue.is_served(self._clock.now_ns())

    # Workers that shut down, and readers.

    def close_sticky(self, key: QueueKey) -> None:
        """Move the tasks of this sticky queue to the normal queue at once, because its worker shuts down (S-11)."""
        queue = self._queues.find(key)
        if queue is None:
            return
        for poller in queue.close():
            self._polls[poller.poll_id].give(None)
        normal = self._normal_of.get(key)
        if normal is not None:
            for item in queue.drain():
                self._move(normal, item)

    def end_polls(self, key: QueueKey, instance_key: str) -> None:
        """End the polls of this queue by a worker process that stops polling it; other queues are not affected.

        Args:
            key: The queue.
            instance_key: Key of the process. It may have other workers, for this queue too, now or later. So polls
                that are under way are answered empty for a moment only.
        """
        now_ns = self._clock.monotonic_ns()
        self._forget_shut_down(now_ns)
        self._shut_down.pop((key, instance_key), None)
        self._shut_down[key, instance_key] = now_ns
        queue = self._queues.find(key)
        for poller in queue.cancel_instance(instance_key) if queue is not None else ():
            self._polls[poller.poll_id].give(None)

    def _is_late(self, key: QueueKey, instance_key: str) -> bool:
        since_ns = self._shut_down.get((key, instance_key))
        return since_ns is not None and self._clock.monotonic_ns() - since_ns < LATE_POLL_NS

    def _forget_shut_down(self, now_ns: int) -> None:
        for place, since_ns in tuple(self._shut_down.items()):
            if now_ns - since_ns < LATE_POLL_NS:
                break
            del self._shut_down[place]

    def pollers(self, key: QueueKey) -> list[tuple[str, int]]:
        """(identity, time of the last poll in ns), most recent first."""
        queue = self._queues.find(key)
        return queue.pollers(self._clock.now_ns()) if queue is not None else []

    def backlog_hint(self, namespace_id: str, name: str, kind: QueueKind) -> int:
        """The number of tasks of a queue that wait in memory."""
        queue = self._queues.find(QueueKey(namespace_id, name, kind))
        return queue.waiting_tasks if queue is not None else 0

    async def close(self) -> None:
        """Stop matching, answer parked polls empty, and finish the starts in progress."""
        self._is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for poll in tuple(self._polls.values()):
            if self._queues.get(poll.queue).cancel(poll.poller.poll_id):
                poll.give(None)
        if not await closing.ended(self._running, "starts of tasks"):
            for poll in tuple(self._polls.values()):
                poll.give(None)

    @property
    def _engine(self) -> TaskSource:
        assert self._source is not None, "MatchingHost.open comes first"
        return self._source

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("matching failed", exc_info=error)


def _item(task: Task, row: TaskRowId | None) -> Item[Body]:
    key = row if row is not None else ("started", task.entity, task.scheduled_event_id)
    return Item(key, task.priority, TaskBody(task, row), has_row=row is not None)


def _created_ns(item: Item[Body]) -> int:
    """The order between shards; the rows of one shard are in commit order."""
    return item.body.task.created_ns if isinstance(item.body, TaskBody) else 0
