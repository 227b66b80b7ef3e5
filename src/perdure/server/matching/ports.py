"""The protocol between shards and matching (`matching.host`).

The order of one task (D-6, D-8, D-46): in the synchronous step of the commit the shard asks `reserve`; a parked
poller gets the task started in the same batch and no row is written, otherwise a row is. After durability exactly
one of `deliver` (for a reserved poller) or `offer` (for a row) is called; after a failed batch `restore` is called
instead. Every method is synchronous and never raises.

A worker in this process does not always need a poll. Before `reserve`, the shard asks `inline_poller`; if that returns
a worker, it handles the task in the step that starts it. If this does not complete the task, that worker gets it once
it is durable (`InlineWork.durable`). No poller is involved either way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from perdure.core.ids import QueueKey, TaskRowId
    from perdure.entity.env import Env
    from perdure.entity.transition import Task, Transition
    from perdure.entity.workers import PollInfo, StaleTask
    from perdure.history.draft.replies import ActivityTaskReply, WorkflowTaskReply
    from perdure.server.pending.queries import QueryTask
    from perdure.storage.port import TaskRow


class Poller(Protocol):
    """A parked poll that was taken out of its queue for one task."""

    @property
    def info(self) -> PollInfo: ...


class NewestEvents(Protocol):
    """The newest events of an entity."""

    def range(self, first_event_id: int, last_event_id: int) -> list[bytes] | None:
        """The framed events of the range, or None if it begins before the events that are kept."""
        ...


class InlinePoller(Protocol):
    """A worker in this process that handles a task in the step that starts it."""

    @property
    def info(self) -> PollInfo: ...

    def work(self, reply: Any, tail: NewestEvents) -> InlineWork:
        """Begin the task.

        Args:
            reply: The reply of the task's start.
            tail: The newest events of the task's entity, including those of this step.
        """
        ...


class InlineWork(Protocol):
    """What a worker did with a task in the step that started it. The host calls either `durable` or `lost`, once."""

    is_complete: bool
    """Whether `change` completes the task. Otherwise the worker gets it when it is durable."""

    def change(self, state: Any, env: Env) -> Transition:
        """The transition that completes the task. An `RpcError` is its reply, and is never raised."""
        ...

    def applied(self, reply: Any) -> None:
        """`change` was applied, with this reply. Called in the same step."""
        ...

    def durable(self) -> None:
        """The task is durable, and so is its completion if there is one."""
        ...

    def lost(self) -> None:
        """Nothing was written."""
        ...


class Matcher(Protocol):
    """Task queues in memory."""

    def reserve(self, task: Task) -> Poller | None:
        """Take a parked poller from the task's queue. Returns None if there is none; the task then becomes a row."""
        ...

    def inline_poller(self, task: Task) -> InlinePoller | None:
        """A worker that can begin the task in this step. None if there is none; the task then needs a poller."""
        ...

    def restore(self, poller: Poller) -> None:
        """Park the poller again at the front of its queue, because the batch failed or the task was stale."""
        ...

    def deliver(
        self, poller: Poller, task: Task, reply: WorkflowTaskReply | ActivityTaskReply
    ) -> bool:
        """Deliver a task that is durably started. Returns false if the poller has gone meanwhile."""
        ...

    def offer(self, task: Task, row: TaskRowId | None) -> None:
        """Offer a task. `row` is None for a started workflow task whose poller vanished; a start redelivers it."""
        ...

    def shard_acquired(self, shard_id: int) -> None:
        """Forget cursors and waiting tasks of this shard and read its rows again."""
        ...


class NoMatcher:
    """A matcher for engines without a matching host: every task becomes a row and stays one."""

    def reserve(self, task: Task) -> Poller | None:
        return None

    def inline_poller(self, task: Task) -> InlinePoller | None:
        return None

    def restore(self, poller: Poller) -> None:
        return None

    def deliver(
        self, poller: Poller, task: Task, reply: WorkflowTaskReply | ActivityTaskReply
    ) -> bool:
        return False

    def offer(self, task: Task, row: TaskRowId | None) -> None:
        return None

    def shard_acquired(self, shard_id: int) -> None:
        return None


class TaskSource(Protocol):
    """What the host needs from the owners of runs."""

    def shards(self) -> tuple[int, ...]:
        """The shards whose rows can be read and started now."""
        ...

    async def task_rows(
        self, queue: QueueKey, shard_id: int, after_sequence: int, limit: int
    ) -> list[TaskRow]: ...

    async def start_task(
        self, task: Task, row: TaskRowId | None, info: PollInfo
    ) -> WorkflowTaskReply | ActivityTaskReply | StaleTask:
        """Start the task durably. A `row` of None asks for a redelivery."""
        ...

    async def leave_sticky_queue(self, task: Task, row: TaskRowId) -> None:
        """If the task's queue is a sticky one without pollers, offer the task on the run's own queue."""
        ...

    async def give_back(self, task: Task, reply: WorkflowTaskReply | ActivityTaskReply) -> None:
        """Undo the start of a task whose poller has gone, or offer the task again."""
        ...

    async def give_back_query(self, queue: QueueKey, query: QueryTask) -> None:
        """Offer a query again whose poller has gone, if its caller still waits."""
        ...
