"""Tasks that come with the answer to another call that this worker, or its client, made.

Role: before the completion of a workflow task is sent, reserve a slot for each activity that requests an eager start,
and clear the request if no slot is free. Afterwards run the tasks that the server returned and release the other slots.
The first task of a workflow that a client of this process starts is handled in the same way.

Invariant: the server starts no attempt without a slot for it, because the time-out of a started attempt is already
running, and parked polls may hold all slots for a long time. Not here: what the server does with a request (`history`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from perdure.core.user_code import passes_through, quiet_logger
from perdure.service.eager_starts import FirstTask, Settle
from perdure.wire.api import command as api
from perdure.wire.api import workflowservice
from perdure.worker.polling.slots import Slots

logger = quiet_logger("perdure.worker")

ActivityTask = workflowservice.PollActivityTaskQueueResponse
T = TypeVar("T")
Handle = Callable[[T], Awaitable[None]]
Spawn = Callable[[Coroutine[Any, Any, None], str], object]

EAGER_PER_COMPLETION_MAX = 3
"""The limit of the official core: most activities of a workflow that starts many at once go to all workers. It does not
apply to an embedded engine, which has no other workers, so every task that skips the queue saves time."""


class EagerActivities:
    """Reserves slots for tasks that arrive with the answer to another call, and starts those tasks."""

    def __init__(
        self,
        slots: Slots,
        handle: Handle[ActivityTask],
        spawn: Spawn,
        *,
        task_queue: str,
        per_completion_max: int = EAGER_PER_COMPLETION_MAX,
    ) -> None:
        self._slots = slots
        self._handle = handle
        self._spawn = spawn
        self._task_queue = task_queue
        self._per_completion_max = per_completion_max

    def reserve(self, commands: Iterable[api.Command], *, is_ending: bool = False) -> int:
        """Reserve slots for activities, and clear the request of those that get none. Returns how many were reserved.

        A call of `start` must follow, which releases the slots that are not used.

        Args:
            commands: The commands of the completion that is about to be sent; changed in place.
            is_ending: Whether the worker no longer starts tasks.
        """
        reserved = 0
        at_most = 0 if is_ending else self._per_completion_max
        for command in commands:
            attributes = command.schedule_activity_task_command_attributes
            if not attributes.request_eager_execution:
                continue
            if (
                reserved < at_most
                and attributes.task_queue.name == self._task_queue
                and self._slots.try_take()
            ):
                reserved += 1
            else:
                attributes.request_eager_execution = False
        return reserved

    def start(self, reserved: int, tasks: Iterable[ActivityTask] = ()) -> None:
        """Run the tasks in `reserved` slots, and release the slots for which there is no task."""
        for task in tasks:
            if reserved == 0:
                # No known server does this. The task runs into its time-out, like one whose worker died.
                logger.warning(
                    "The server started activity %s without a request for an eager start",
                    task.activity_id,
                )
                continue
            reserved -= 1
            self._spawn(_run(self._slots, self._handle, task), "eager activity")
        for _ in range(reserved):
            self._slots.release()


class EagerFirstTasks:
    """First tasks of workflows that a client of this process starts, for one worker."""

    def __init__(
        self,
        slots: Slots,
        handle: Handle[FirstTask],
        spawn: Spawn,
        *,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._slots = slots
        self._handle = handle
        self._spawn = spawn
        self._is_stopping = is_stopping

    def reserve(self) -> Settle | None:
        """See `perdure.service.eager_starts`."""
        if self._is_stopping() or not self._slots.try_take():
            return None
        return self._settle

    def _settle(self, task: FirstTask | None) -> None:
        if task is None:
            self._slots.release()
        else:
            self._spawn(_run(self._slots, self._handle, task), "eager workflow task")


async def _run(slots: Slots, handle: Handle[T], task: T) -> None:
    try:
        await handle(task)
    except BaseException as error:
        if passes_through(error):
            raise
        logger.exception("A task of the worker failed")
    finally:
        slots.release()
