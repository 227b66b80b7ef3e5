"""Finds workers in the client's process, so that the answer to a start can bring the first workflow task.

A worker registers its namespace and task queue. For an eager start, the client reserves a slot of a worker before it
sends the request, and passes the task on. If no worker has a free slot, the request does not ask for the task: a first
task that no worker runs would delay the workflow until it times out.

Not here: slots and tasks (`perdure.worker`), what the server does with the request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from perdure.wire.api import workflowservice

FirstTask: TypeAlias = workflowservice.PollWorkflowTaskQueueResponse
Settle: TypeAlias = Callable[[FirstTask | None], None]
"""Ends a reservation with the task, or with None if there was none."""
Reserve: TypeAlias = Callable[[], Settle | None]
"""Reserves a slot of a worker; None if it has no free one."""


class EagerStarts:
    """The workers that use one service client."""

    def __init__(self) -> None:
        self._workers: dict[tuple[str, str], list[Reserve]] = {}

    def register(self, namespace: str, task_queue: str, reserve: Reserve) -> None:
        """Register a worker that polls a queue."""
        self._workers.setdefault((namespace, task_queue), []).append(reserve)

    def withdraw(self, namespace: str, task_queue: str, reserve: Reserve) -> None:
        """Remove a worker that no longer polls a queue."""
        self._workers[namespace, task_queue].remove(reserve)

    def reserve(self, namespace: str, task_queue: str) -> Settle | None:
        """Reserve a slot for the first task of a workflow that is about to be started; None if no worker has one.

        The caller must call the result exactly once, whether or not the start succeeds.
        """
        workers: Iterable[Reserve] = self._workers.get((namespace, task_queue), ())
        for reserve in workers:
            settle = reserve()
            if settle is not None:
                return settle
        return None
