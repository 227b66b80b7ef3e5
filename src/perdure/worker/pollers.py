"""Pollers that never give up, and calls that are repeated until the server answers.

Role: the worker's side of "connections break". A poller takes a slot, polls, hands the task on and goes round; errors
back off exponentially and are logged once per outage, never raised; only a connection that was closed ends it.
`until_answered` repeats a completion with the same token (the server keeps the last reply per token), so a lost
response costs nothing.

Not here: what a task means (`workflow_tasks`, `activities`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

from perdure.core.backoff import exponential_ns
from perdure.core.units import MS_NS, SECOND_NS
from perdure.service.calls import is_too_large
from perdure.wire import errors
from perdure.worker.slots import Slots

logger = logging.getLogger("perdure.worker")

T = TypeVar("T")

RETRY_INITIAL_NS = 100 * MS_NS
RETRY_MAX_NS = 5 * SECOND_NS
RETRY_COEFFICIENT = 1.7

# Worth another try: the connection, the server's load or its restart (rule 40). Everything else is the caller's fault.
TRANSIENT = (
    errors.Unavailable,
    errors.ResourceExhausted,
    errors.Internal,
    errors.Unknown,
    errors.DataLoss,
    errors.Aborted,
    errors.OutOfRange,
    errors.DeadlineExceeded,
    errors.Canceled,
)


def pause_s(attempt: int) -> float:
    """Seconds to wait after `attempt` failures in a row."""
    return exponential_ns(RETRY_INITIAL_NS, RETRY_COEFFICIENT, RETRY_MAX_NS, attempt) / SECOND_NS


class Poller(Generic[T]):
    """One loop: slot, poll, hand on. `poll` returns None when the server had no task."""

    def __init__(
        self,
        name: str,
        slots: Slots,
        poll: Callable[[], Awaitable[T | None]],
        handle: Callable[[T], Awaitable[None]],
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._name = name
        self._slots = slots
        self._poll = poll
        self._handle = handle
        self._spawn = spawn
        self._stopping = False

    def stop(self) -> None:
        """No further poll; one that is under way may still deliver."""
        self._stopping = True

    async def run(self) -> None:
        failures = 0
        while not self._stopping:
            await self._slots.take()
            task = None
            try:
                if not self._stopping:
                    task = await self._poll()
                if failures:
                    logger.info("%s: connected again after %d failed polls", self._name, failures)
                failures = 0
            except errors.ConnectionClosed:
                return
            except errors.RpcError as error:
                failures += 1
                self._report(error, failures)
            finally:
                if task is None:
                    self._slots.release()
            if task is not None:
                self._spawn(self._run_one(task), self._name)
            elif failures:
                await asyncio.sleep(pause_s(failures))

    async def _run_one(self, task: T) -> None:
        try:
            await self._handle(task)
        finally:
            self._slots.release()

    def _report(self, error: errors.RpcError, failures: int) -> None:
        # Once per outage at warning level; the rest for those who look.
        level = logging.WARNING if failures == 1 else logging.DEBUG
        logger.log(
            level,
            "%s: poll failed (%s: %s), trying again",
            self._name,
            error.status_code.name,
            error.message,
        )


async def until_answered(
    what: str, call: Callable[[], Awaitable[T]], *, give_up: Callable[[], bool] = lambda: False
) -> T | None:
    """Repeat `call` until the server answers; None when the task is not there any more.

    Args:
        what: Names the call in logs.
        call: Sends the same request, with the same token or request id, each time.
        give_up: Asked between tries; when it says yes the last error is raised.

    Raises:
        perdure.wire.errors.RpcError: The server refused for good (other than NotFound), or the message can not travel.
    """
    attempt = 0
    while True:
        try:
            return await call()
        except errors.NotFound as error:
            logger.debug("%s: the server does not want it any more (%s)", what, error.message)
            return None
        except TRANSIENT as error:
            attempt += 1
            if give_up() or is_too_large(error):
                raise
            level = logging.WARNING if attempt == 1 else logging.DEBUG
            logger.log(level, "%s failed (%s), trying again", what, error.status_code.name)
            await asyncio.sleep(pause_s(attempt))
