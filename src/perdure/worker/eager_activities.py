"""Activities that come back with the answer to a workflow task: this worker starts what it has asked for itself.

Role: before a completion is sent, reserve a slot for each activity that is to start with it, and take the wish away
where there is none; afterwards start what the server handed out and give the other slots back.

Invariant: no attempt is started by the server without a slot to run it in; a started attempt's clock is running, and
slots can be held for as long as polls are parked. Not here: what the server does with the wish (`history`).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from perdure.wire.api import command as api
from perdure.wire.api import enums, workflowservice
from perdure.worker.slots import Slots

logger = logging.getLogger("perdure.worker")

Poll = workflowservice.PollActivityTaskQueueResponse

EAGER_PER_COMPLETION_MAX = 3
"""As the official core: a workflow that starts many activities at once leaves most of them to all workers."""


class EagerActivities:
    """See the module."""

    def __init__(
        self,
        slots: Slots,
        handle: Callable[[Poll], Awaitable[None]],
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
        *,
        task_queue: str,
    ) -> None:
        self._slots = slots
        self._handle = handle
        self._spawn = spawn
        self._task_queue = task_queue

    def reserve(
        self, commands: Iterable[api.Command], *, at_most: int = EAGER_PER_COMPLETION_MAX
    ) -> int:
        """How many of these commands may start their activity at once; the others no longer ask for it.

        Every slot that is counted here is given back by `start`, which must follow.

        Args:
            commands: Of the completion that is about to be sent; changed in place.
            at_most: 0 when the worker is ending.
        """
        reserved = 0
        for command in commands:
            if command.command_type != enums.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK:
                continue
            asked = command.schedule_activity_task_command_attributes
            if not asked.request_eager_execution:
                continue
            if (
                reserved < at_most
                and asked.task_queue.name == self._task_queue
                and self._slots.try_take()
            ):
                reserved += 1
            else:
                asked.request_eager_execution = False
        return reserved

    def start(self, reserved: int, tasks: Iterable[Poll] = ()) -> None:
        """Run the tasks that came in `reserved` slots, and give back the slots that none came for."""
        for task in tasks:
            if reserved == 0:
                # No server does this. Its time-out decides, as for a task whose worker died.
                logger.warning("The server started activity %s unasked", task.activity_id)
                continue
            reserved -= 1
            self._spawn(self._run(task), "eager activity")
        for _ in range(reserved):
            self._slots.release()

    async def _run(self, task: Poll) -> None:
        try:
            await self._handle(task)
        finally:
            self._slots.release()
