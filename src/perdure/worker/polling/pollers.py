"""Pollers that never give up, and calls that are repeated until the server answers.

Role: tolerates broken connections. A poller takes a slot, polls, handles the task and starts over. After an error it
backs off exponentially; errors are logged once per outage and never raised. Only a closed connection ends polling.
`until_answered` repeats a completion with the same token until it gets a response. The server caches the reply to each
token, so a lost response does no harm.

Not here: what a task means (`workflow.tasks`, `activities`), how many polls there are (`polling.poll_numbers`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic, TypeVar

from perdure.core.backoff import exponential_ns
from perdure.core.units import MS_NS, SECOND_NS
from perdure.core.user_code import passes_through, quiet_logger
from perdure.service.calls import is_too_large
from perdure.wire import errors
from perdure.worker.polling.poll_numbers import PollNumbers
from perdure.worker.polling.slots import Slots

logger = quiet_logger("perdure.worker")

T = TypeVar("T")

RETRY_INITIAL_NS = 100 * MS_NS
RETRY_MAX_NS = 5 * SECOND_NS
RETRY_COEFFICIENT = 1.7

# Retried: errors of the connection, of an overloaded server or of its restart (S-40). Others are permanent.
TRANSIENT = (
    errors.Unavailable,
    errors.ResourceExhausted,
    errors.Internal,
    errors.Unknown,
    errors.Aborted,
    errors.OutOfRange,
    errors.DeadlineExceeded,
    errors.Canceled,
)


def pause_s(attempt: int) -> float:
    """Seconds to wait after `attempt` consecutive failures."""
    return exponential_ns(RETRY_INITIAL_NS, RETRY_COEFFICIENT, RETRY_MAX_NS, attempt) / SECOND_NS


def _says_nothing(_task: object) -> None:
    return None


class Pollers(Generic[T]):
    """The polls of one queue. Each runs in a loop, here called a line: take a slot, poll, handle the task, repeat.

    A line handles its task itself, and a new line replaces it if fewer than `fewest` are still polling. If `most` is
    larger, each task that arrives doubles the number of lines: a batch of tasks can match only polls that are already
    parked, and every other task has to be written, read and polled for individually. After its task a line polls again
    in the same slot, unless `most` lines poll or another one waits for the slot. A line whose poll was answered without
    a task ends if there are more than `fewest`, and so does one that the server refuses because it is overloaded.

    If a response with a task says how many more polls the server wants, that many lines are added instead. If the
    server wants fewer, the line ends after its task. `fewest` and `most` apply in any case.
    """

    def __init__(
        self,
        name: str,
        slots: Slots,
        poll: Callable[[], Awaitable[T | None]],
        handle: Callable[[T], Awaitable[None]],
        *,
        numbers: PollNumbers,
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        on_broken: Callable[[BaseException], None],
        wanted_more: Callable[[T], int | None] = _says_nothing,
    ) -> None:
        """Begin with `start`.

        Args:
            name: For logs.
            slots: Each poll and each task holds one.
            poll: Polls once. Returns None if the server had no task.
            handle: Handles one task. Its errors are logged.
            numbers: How many polls to keep.
            spawn: Starts a line, and logs its failures.
            on_broken: Called with the reason why polling has ended: `ConnectionClosed`, or an error that is not an
                `RpcError`, which is a bug.
            wanted_more: How many more polls the server wants, according to the response with a task; negative if it
                wants fewer, None if it does not say.
        """
        self._name = name
        self._slots = slots
        self._poll = poll
        self._handle = handle
        self._numbers = numbers
        self._spawn = spawn
        self._on_broken = on_broken
        self._wanted_more = wanted_more
        self._parked: set[asyncio.Task[None]] = set()
        self._polling: set[asyncio.Task[None]] = set()
        """The parked polls that have a call in progress."""
        self._all_polled = asyncio.Event()
        self._lines = 0
        self._failures = 0
        self._stopping = False

    def start(self) -> None:
        """Begin to poll."""
        self._add_lines(self._numbers.fewest)

    def stop(self) -> None:
        """Start no further poll. Polls in progress may still deliver tasks."""
        self._stopping = True

    async def withdraw(self, patience_s: float = 0.0) -> None:
        """End the polls in progress. Tasks that have arrived are still handled.

        Args:
            patience_s: How long the server may take to answer the polls itself. Cancelling a call whose response is in
                transit would lose a task that is already started.
        """
        for line in self._parked - self._polling:
            line.cancel()
        if self._polling and patience_s:
            self._all_polled.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._all_polled.wait(), patience_s)
        parked = tuple(self._parked)
        for line in parked:
            line.cancel()
        await asyncio.gather(*parked, return_exceptions=True)

    @property
    def parked(self) -> int:
        """How many lines poll, or wait for a slot to do so."""
        return len(self._parked)

    @property
    def _has_surplus(self) -> bool:
        return len(self._parked) > self._numbers.fewest

    def _add_lines(self, number: int) -> None:
        for _ in range(number):
            line = self._spawn(self._run(), self._name)
            # Count immediately. Otherwise each task of a batch would start as many lines as the first one.
            self._lines += 1
            self._parked.add(line)
            line.add_done_callback(self._ended)

    def _ended(self, line: asyncio.Task[None]) -> None:
        self._lines -= 1
        self._parked.discard(line)

    def _keep_up(self, wanted_more: int | None) -> None:
        """A line has received a task. Make sure that enough others poll."""
        numbers = self._numbers
        missing = numbers.fewest - len(self._parked)
        if numbers.most > numbers.fewest:
            more = self._lines if wanted_more is None else wanted_more
            missing = max(missing, min(more, numbers.most - self._lines))
        if not self._stopping:
            self._add_lines(missing)

    async def _run(self) -> None:
        line = asyncio.current_task()
        assert line is not None, "a line is a task"
        await self._slots.take()
        try:
            while (task := await self._next_task(line)) is not None:
                self._parked.discard(line)
                wanted_more = self._wanted_more(task)
                self._keep_up(wanted_more)
                await self._work(task)
                is_surplus = wanted_more is not None and wanted_more < 0
                enough = self._numbers.fewest if is_surplus else self._numbers.most
                if self._slots.is_wanted or len(self._parked) >= enough:
                    return
                self._parked.add(line)
        finally:
            self._parked.discard(line)
            self._slots.release()

    async def _next_task(self, line: asyncio.Task[None]) -> T | None:
        """The next task; None if this line is no longer needed."""
        failures = 0
        while not self._stopping:
            self._polling.add(line)
            try:
                task = await self._poll()
            except errors.ConnectionClosed as error:
                self._on_broken(error)
                return None
            except errors.RpcError as error:
                failures += 1
                self._failures += 1
                self._report(error)
                self._polling.discard(line)
                if isinstance(error, errors.ResourceExhausted) and self._has_surplus:
                    return None
                await asyncio.sleep(pause_s(failures))
                continue
            except Exception as error:
                self._on_broken(error)
                raise
            finally:
                self._polling.discard(line)
                if not self._polling:
                    self._all_polled.set()
            if self._failures:
                logger.info("%s: connected again after %d failed polls", self._name, self._failures)
                failures = self._failures = 0
            if task is not None or self._has_surplus:
                return task
        return None

    async def _work(self, task: T) -> None:
        try:
            await self._handle(task)
        except BaseException as error:
            if passes_through(error):
                raise
            logger.exception("A task of the worker failed: %s", self._name)

    def _report(self, error: errors.RpcError) -> None:
        # Warn once per outage. Further failures are logged at debug level.
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
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
    """Repeat `call` until the server answers. Returns None if the task no longer exists.

    Args:
        what: Names the call in logs.
        call: Sends the same request, with the same token or request id, each time.
        give_up: Called between attempts. If it returns true, the last error is raised.

    Raises:
        perdure.wire.errors.RpcError: The server refused permanently (except NotFound), or the message cannot be sent.
    """
    attempt = 0
    while True:
        try:
            return await call()
        except errors.NotFound as error:
            logger.debug("%s: the server no longer has the task (%s)", what, error.message)
            return None
        except TRANSIENT as error:
            attempt += 1
            if give_up() or is_too_large(error) or isinstance(error, errors.UndecodableAnswer):
                raise
            level = logging.WARNING if attempt == 1 else logging.DEBUG
            logger.log(level, "%s failed (%s), trying again", what, error.status_code.name)
            await asyncio.sleep(pause_s(attempt))
