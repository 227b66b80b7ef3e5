"""How a task waits for an operation of the server, and what happens when the task is cancelled.

Recorded histories depend on the number of ticks between a resolution and the waiting code: one for the future's
callback and one for the waiter's. It must not change.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast

from perdure.worker.host.redelivery import is_from_scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.worker.host.loop import WorkflowLoop
    from perdure.worker.host.state import RunState

_T = TypeVar("_T")


async def shielded(future: asyncio.Future[_T]) -> _T:
    """Wait for a future without cancelling it when the waiting task is cancelled.

    Two ticks, like `asyncio.wait` on one future; `asyncio.shield` would also log failures of a future
    that is no longer awaited.
    """
    loop = cast("WorkflowLoop", asyncio.get_running_loop())
    waiter: asyncio.Future[None] = loop.create_future()

    def done(_future: asyncio.Future[Any]) -> None:
        if waiter.done():
            loop.idle_steps += 1
        else:
            waiter.set_result(None)

    future.add_done_callback(done)
    try:
        await waiter
    finally:
        future.remove_done_callback(done)
    return future.result()


async def operation(
    state: RunState,
    future: asyncio.Future[_T],
    cancel: Callable[[asyncio.CancelledError], None],
    *,
    completed_flag: int | None = None,
    reraise_on_workflow_cancel: bool = False,
) -> _T:
    """Wait for an operation's result; cancelling the waiting task cancels the operation instead.

    Args:
        state: The run.
        future: Holds the operation's outcome.
        cancel: Issues the cancel command. The outcome decides what the task sees.
        completed_flag: Language flag under which a cancellation takes precedence over an available outcome.
        reraise_on_workflow_cancel: Raise a cancellation of the whole workflow at once.
    """
    is_cancelled = False
    while True:
        try:
            return await shielded(future)
        except asyncio.CancelledError as error:
            if future.done():
                # Waiting again would return the outcome and lose the cancellation.
                if state.single_batch:
                    raise
                if completed_flag is not None and (
                    not state.is_replaying or completed_flag in state.available_flags
                ):
                    state.used_flags[completed_flag] = None
                    raise
            if is_cancelled and is_from_scope(error):
                state.loop.idle_steps += 1
            else:
                is_cancelled = True
                cancel(error)
            # The cancellation has been handled; without this, TaskGroup and timeout, which count
            # requests, would see it again.
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            if reraise_on_workflow_cancel and state.cancel_reason is not None:
                raise
