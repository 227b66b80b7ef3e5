"""Tasks as task queues see them: rows from the store, and everything else from the owner of the run.

Role: the `TaskSource` of a node's matching host. The owner of a queue reads the rows of all shards, because they are
durable; only the owner of a run starts its tasks.

Not here: what starting means (`shards.task_starts`), order (`perdure.matching`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.server.owners.messages import GiveBackQuery, GiveBackTask, LeaveStickyQueue, StartTask

if TYPE_CHECKING:
    from perdure.core.ids import QueueKey, TaskRowId
    from perdure.entity.transition import Task
    from perdure.entity.workers import PollInfo
    from perdure.server.engine import Engine
    from perdure.server.owners.owners import Owners
    from perdure.server.pending.queries import QueryTask
    from perdure.storage.port import TaskRow


class Tasks:
    """The tasks of all shards.

    Args:
        engine: Reads rows, and tells which shards of this node are ready.
        owners: The owners of runs.
    """

    def __init__(self, engine: Engine, owners: Owners) -> None:
        self._engine = engine
        self._owners = owners

    def shards(self) -> tuple[int, ...]:
        return (*self._engine.owned_shards(), *self._owners.shards_elsewhere)

    async def task_rows(
        self, queue: QueueKey, shard_id: int, after_sequence: int, limit: int
    ) -> list[TaskRow]:
        return await self._engine.task_rows(queue, shard_id, after_sequence, limit)

    async def start_task(self, task: Task, row: TaskRowId | None, info: PollInfo) -> Any:
        return await self._owners.ask(task.entity, StartTask(task, row, info))

    async def leave_sticky_queue(self, task: Task, row: TaskRowId) -> None:
        await self._owners.ask(task.entity, LeaveStickyQueue(task, row))

    async def give_back(self, task: Task, reply: Any) -> None:
        await self._owners.ask(task.entity, GiveBackTask(task, reply))

    async def give_back_query(self, queue: QueueKey, query: QueryTask) -> None:
        await self._owners.ask(query.entity, GiveBackQuery(queue, query))
