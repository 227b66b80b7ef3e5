"""What the server knows about workers: the poller of a task, and the current work for an entity."""

from __future__ import annotations

import msgspec

from perdure.core.ids import QueueKey


class PollInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine needs to know of the poller that takes a task."""

    identity: str
    request_id: str
    """Of this delivery: a repeated start with the same id is the same start."""
    build_id: str = ""
    queue_name: str = ""
    """The queue that the poller asked for, when it is not the task's own (S-11); empty: the task's own."""


class StaleTask(msgspec.Struct, frozen=True, tag=True):
    """The task offered to a poller is obsolete: drop it and match the poller with another."""


class Work(msgspec.Struct, frozen=True):
    """What is being done for an entity, which keeps the clock of a time-skipping test from running ahead.

    Falsy when nothing is: the entity only waits for time or for the outside.
    """

    attempts: tuple[str, ...] = ()
    """Activity attempts that a worker has: the identity of each one's worker."""
    is_in_workflow_task: bool = False
    queues: tuple[QueueKey, ...] = ()
    """Where it has tasks that no worker has yet."""

    def __bool__(self) -> bool:
        return bool(self.attempts or self.is_in_workflow_task or self.queues)


IDLE = Work()
