"""Where clients find the workers of their own process, so that a start's answer may bring the first workflow task.

Role: a worker registers under its namespace and task queue; a client that is asked for an eager start reserves one of
its slots before it sends the request, and hands over what came. Without a worker that has a slot free the request does
not ask: a first task that nobody runs would hold the workflow up until it times out.

Not here: slots and tasks (`perdure.worker`), what the server does with the wish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from perdure.wire.api import workflowservice

FirstTask: TypeAlias = workflowservice.PollWorkflowTaskQueueResponse
Settle: TypeAlias = Callable[[FirstTask | None], None]
"""Ends a reservation: with the task that came, or with None when none did."""
Reserve: TypeAlias = Callable[[], Settle | None]
"""A worker's: keeps a slot; None when it has none free."""


class EagerStarts:
    """The workers over one service client."""

    def __init__(self) -> None:
        self._workers: dict[tuple[str, str], list[Reserve]] = {}

    def register(self, namespace: str, task_queue: str, reserve: Reserve) -> None:
        """A worker polls this queue from now on."""
        self._workers.setdefault((namespace, task_queue), []).append(reserve)

    def withdraw(self, namespace: str, task_queue: str, reserve: Reserve) -> None:
        """It does so no longer."""
        self._workers[namespace, task_queue].remove(reserve)

    def reserve(self, namespace: str, task_queue: str) -> Settle | None:
        """A slot for the first task of a workflow that is about to be started; None when no worker has one.

        The caller must call the result exactly once, whether or not the start succeeds.
        """
        workers: Iterable[Reserve] = self._workers.get((namespace, task_queue), ())
        for reserve in workers:
            settle = reserve()
            if settle is not None:
                return settle
        return None
