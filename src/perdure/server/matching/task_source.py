"""What matching needs from the engine: rows, starts, and starts taken back. The protocol between the two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from perdure.core.ids import QueueKey, TaskRowId
    from perdure.entity.transition import Task
    from perdure.entity.workers import PollInfo, StaleTask
    from perdure.history.draft.replies import ActivityTaskReply, WorkflowTaskReply
    from perdure.storage.port import TaskRow


class TaskSource(Protocol):
    """What the host needs from the engine."""

    def owned_shards(self) -> tuple[int, ...]: ...

    async def task_rows(
        self, queue: QueueKey, shard_id: int, after_sequence: int, limit: int
    ) -> list[TaskRow]: ...

    async def start_task(
        self, task: Task, row: TaskRowId | None, info: PollInfo
    ) -> WorkflowTaskReply | ActivityTaskReply | StaleTask:
        """Start the task durably; a `row` of None asks for a redelivery."""
        ...

    async def unstick(self, task: Task, row: TaskRowId) -> None:
        """Nobody polls the task's queue: if it is a sticky one, offer the task on the run's own."""
        ...

    async def give_back(self, task: Task, reply: WorkflowTaskReply | ActivityTaskReply) -> None:
        """The poller for which the task was started has gone: undo the start, or offer it again."""
        ...
