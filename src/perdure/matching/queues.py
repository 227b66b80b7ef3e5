"""All task queues of a node: created on first use, dropped when idle.

Not here: the meaning of an item (`perdure.server.matching.host`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from perdure.core.ids import QueueKey
from perdure.matching.queue import TaskQueue

T = TypeVar("T")


class TaskQueues(Generic[T]):
    """Queue key -> queue."""

    def __init__(self) -> None:
        self._queues: dict[QueueKey, TaskQueue[T]] = {}

    def get(self, key: QueueKey) -> TaskQueue[T]:
        """The queue. It is created if necessary, because a task queue is only a name."""
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = TaskQueue()
        return queue

    def find(self, key: QueueKey) -> TaskQueue[T] | None:
        return self._queues.get(key)

    def all(self) -> Iterator[tuple[QueueKey, TaskQueue[T]]]:
        """A copy, so that the caller may change queues during the iteration."""
        return iter(tuple(self._queues.items()))

    def forget_idle(self, now_ns: int) -> int:
        """Drop queues that were not used recently (sticky queues of workers that are gone). Returns their number."""
        idle = [key for key, queue in self._queues.items() if queue.is_idle(now_ns)]
        for key in idle:
            del self._queues[key]
        return len(idle)
