"""A source of tasks that the test writes itself, and the matching host that reads it."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any, cast

from perdure.core.ids import EntityKey, QueueKey, QueueKind, TaskRowId, run_key
from perdure.core.units import SECOND_NS
from perdure.entity.transition import Task
from perdure.entity.workers import PollInfo, StaleTask
from perdure.history.draft.replies import ActivityTaskReply, WorkflowTaskReply
from perdure.history.draft.tokens import ActivityTaskToken, WorkflowTaskToken
from perdure.server.matching.host import MatchingHost
from perdure.server.pending.queries import QueryTask
from perdure.storage.port import TaskRow
from tests.unit.server.virtual import virtual_clock

QUEUE = QueueKey("n", "q", QueueKind.WORKFLOW)
ACTIVITIES = QueueKey("n", "q", QueueKind.ACTIVITY)
STICKY = QueueKey("n", "sticky", QueueKind.WORKFLOW)
WAIT_NS = 100 * SECOND_NS


def task(name: str, queue: QueueKey = QUEUE, *, created_ns: int = 0, priority: int = 3) -> Task:
    return Task(queue, run_key("n", name, "r"), 1, 1, created_ns, priority)


def workflow_reply(entity: EntityKey) -> WorkflowTaskReply:
    return WorkflowTaskReply(
        token=WorkflowTaskToken("n", entity.name, "r", 1, 2, 1, 0),
        workflow_type="T",
        previous_started_event_id=0,
        started_event_id=2,
        attempt=1,
        first_event_id=1,
        last_event_id=2,
        is_sticky=False,
        queue_name="q",
        scheduled_ns=0,
        started_ns=0,
    )


def activity_reply(entity: EntityKey) -> ActivityTaskReply:
    return ActivityTaskReply(
        token=ActivityTaskToken("n", entity.name, "r", 1, 1, "a"),
        workflow_type="T",
        attributes=b"",
        attempt=1,
        heartbeat_details=b"",
        scheduled_ns=0,
        current_attempt_scheduled_ns=0,
        started_ns=0,
    )


class Source:
    """Rows of three shards, of which a start removes one, and the host that reads them."""

    def __init__(self) -> None:
        self.rows: dict[int, list[TaskRow]] = {0: [], 1: [], 2: []}
        self.owned = [0, 1, 2]
        self.reads: list[tuple[str, int, int]] = []
        self.read_errors: list[Exception] = []
        self.read_gate = asyncio.Event()
        self.read_gate.set()
        self.starts: list[tuple[str, TaskRowId | None]] = []
        self.infos: list[PollInfo] = []
        self.start_errors: list[Exception] = []
        self.start_gate = asyncio.Event()
        self.start_gate.set()
        self.stale: set[str] = set()
        self.given_back: list[str] = []
        self.unstuck: list[str] = []
        self.abandoned: set[str] = set()
        """Queries whose callers have gone."""
        self._sequences = count(1)
        ids = count(1)
        self.clock = virtual_clock()
        self.host = MatchingHost(self.clock, lambda: f"id-{next(ids)}")
        self.host.open(cast("Any", self))

    def add(self, each: Task, shard_id: int = 0) -> TaskRowId:
        row = TaskRow(next(self._sequences), each)
        self.rows[shard_id].append(row)
        return TaskRowId(each.queue, shard_id, row.sequence)

    def offer(self, each: Task, shard_id: int = 0) -> None:
        self.host.offer(each, self.add(each, shard_id))

    def shards(self) -> tuple[int, ...]:
        return tuple(self.owned)

    async def task_rows(
        self, queue: QueueKey, shard_id: int, after_sequence: int, limit: int
    ) -> list[TaskRow]:
        self.reads.append((queue.name, shard_id, after_sequence))
        rows = [r for r in self.rows[shard_id] if r.task.queue == queue]
        await self.read_gate.wait()
        if self.read_errors:
            raise self.read_errors.pop(0)
        return [r for r in rows if r.sequence > after_sequence][:limit]

    async def start_task(self, each: Task, row: TaskRowId | None, info: PollInfo) -> Any:
        self.starts.append((each.entity.name, row))
        self.infos.append(info)
        await self.start_gate.wait()
        if self.start_errors:
            raise self.start_errors.pop(0)
        if row is not None:
            rows = self.rows[row.shard_id]
            if not any(r.sequence == row.sequence for r in rows):
                return StaleTask()
            self.rows[row.shard_id] = [r for r in rows if r.sequence != row.sequence]
        if each.entity.name in self.stale:
            return StaleTask()
        is_activity = each.queue.kind is QueueKind.ACTIVITY
        return activity_reply(each.entity) if is_activity else workflow_reply(each.entity)

    async def leave_sticky_queue(self, each: Task, row: TaskRowId) -> None:
        self.unstuck.append(each.entity.name)

    async def give_back(self, each: Task, reply: Any) -> None:
        self.given_back.append(each.entity.name)
        if isinstance(reply, WorkflowTaskReply):
            self.host.offer(each, None)

    async def give_back_query(self, queue: QueueKey, query: QueryTask) -> None:
        if query.query_id not in self.abandoned:
            self.host.offer_query(queue, query)

    def poll(self, queue: QueueKey = QUEUE, wait_ns: int = WAIT_NS, **options: Any) -> Any:
        options.setdefault("identity", "w")
        work = self.host.poll(queue, wait_ns=wait_ns, **options)
        return asyncio.get_running_loop().create_task(work)

    async def names(self, number: int, queue: QueueKey = QUEUE) -> list[str]:
        """The runs of the next tasks, in the order in which they come."""
        return [(await self.poll(queue)).token.workflow_id for _ in range(number)]
