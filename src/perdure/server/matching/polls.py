"""A poll that waits in a task queue, and the items it can receive.

Role: the values that `matching.host` puts into the pure queues. A `ParkedPoll` lives from the arrival of a poll until
it is answered. Its current holder (a queue, a commit in progress, a start) may give it a result if it still waits.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from perdure.core.ids import QueueKey, TaskRowId
from perdure.entity.transition import Task
from perdure.entity.workers import PollInfo
from perdure.history.draft.replies import ActivityTaskReply, WorkflowTaskReply
from perdure.server.pending.queries import QueryTask

if TYPE_CHECKING:
    from perdure.matching.queue import Poller


class TaskBody(msgspec.Struct, frozen=True):
    """A task that waits for a poller. `row` is None for a started workflow task whose poller has gone."""

    task: Task
    row: TaskRowId | None


class QueryBody(msgspec.Struct, frozen=True):
    """A query without a workflow task. It exists in memory only."""

    query: QueryTask


if TYPE_CHECKING:
    Body = TaskBody | QueryBody
    PollResult = WorkflowTaskReply | ActivityTaskReply | QueryTask | None


class ParkedPoll:
    """One poll. `result` is set at most once and awaited only by the caller, so a cancelled poll consumes nothing."""

    __slots__ = ("info", "poller", "queue", "result")

    def __init__(self, queue: QueueKey, poller: Poller, info: PollInfo) -> None:
        self.queue = queue
        self.poller = poller
        self.info = info
        self.result: asyncio.Future[PollResult] = asyncio.get_running_loop().create_future()

    @property
    def is_here(self) -> bool:
        """Whether the caller still waits for the result."""
        return not self.result.done()

    def give(self, result: PollResult) -> bool:
        """Answer the poll. Returns false if its caller no longer waits."""
        if self.result.done():
            return False
        self.result.set_result(result)
        return True

    def leave(self) -> None:
        """Withdraw the poll, because its caller has gone."""
        self.result.cancel()
