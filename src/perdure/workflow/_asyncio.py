"""`wait` and `as_completed`, with lists where asyncio has sets.

asyncio's own versions keep futures in sets, whose order depends on memory addresses; here the order is
that of the arguments (`wait`) and of completion (`as_completed`), so it is the same on replay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from perdure.types import AnyType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

_FT = TypeVar("_FT", bound=asyncio.Future[Any])

_CONDITIONS = (asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION, asyncio.ALL_COMPLETED)


class _Waiter:
    """Counts completions of `futures` and releases one future when `return_when` is met."""

    def __init__(
        self, futures: list[asyncio.Future[Any]], timeout: float | None, return_when: str
    ) -> None:
        loop = asyncio.get_running_loop()
        self.released: asyncio.Future[None] = loop.create_future()
        self.timer = loop.call_later(timeout, self.release) if timeout is not None else None
        self.missing = len(futures)
        self.return_when = return_when
        self.futures = futures
        for future in futures:
            future.add_done_callback(self.one_done)

    def release(self) -> None:
        if not self.released.done():
            self.released.set_result(None)

    def one_done(self, future: asyncio.Future[Any]) -> None:
        self.missing -= 1
        failed = not future.cancelled() and future.exception() is not None
        if (
            self.missing <= 0
            or self.return_when == asyncio.FIRST_COMPLETED
            or (self.return_when == asyncio.FIRST_EXCEPTION and failed)
        ):
            if self.timer is not None:
                self.timer.cancel()
            self.release()

    def close(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        for future in self.futures:
            future.remove_done_callback(self.one_done)


def _refuse_single(given: Any, expected: str) -> None:
    if isinstance(given, asyncio.Future) or asyncio.iscoroutine(given):
        message = f"{expected}, not {type(cast('object', given)).__name__}"
        raise TypeError(message)


@overload
async def wait(
    fs: Iterable[_FT], *, timeout: float | None = None, return_when: str = asyncio.ALL_COMPLETED
) -> tuple[list[_FT], list[_FT]]: ...
@overload
async def wait(
    fs: Iterable[asyncio.Task[AnyType]],
    *,
    timeout: float | None = None,
    return_when: str = asyncio.ALL_COMPLETED,
) -> tuple[list[asyncio.Task[AnyType]], list[asyncio.Task[AnyType]]]: ...
async def wait(
    fs: Iterable[Any],
    *,
    timeout: float | None = None,
    return_when: str = asyncio.ALL_COMPLETED,
) -> tuple[list[Any], list[Any]]:
    """Wait for tasks or futures; like `asyncio.wait`, but deterministic.

    Args:
        fs: Tasks or futures; not bare coroutines, not empty.
        timeout: Longest wait in seconds, as a durable timer. None: no timer.
        return_when: `asyncio.FIRST_COMPLETED`, `FIRST_EXCEPTION` or `ALL_COMPLETED`.

    Returns:
        Two lists, done and pending, each in the order of `fs`.
    """
    _refuse_single(fs, "Expect an iterable of Tasks/Futures")
    futures = list(fs)
    if not futures:
        message = "Sequence of Tasks/Futures must not be empty."
        raise ValueError(message)
    if return_when not in _CONDITIONS:
        message = f"Invalid return_when value: {return_when}"
        raise ValueError(message)
    if any(asyncio.iscoroutine(future) for future in futures):
        message = "Passing coroutines is forbidden, use tasks explicitly."
        raise TypeError(message)
    # No short cut for futures that are done already: the number of ticks is part of histories.
    waiter = _Waiter(futures, timeout, return_when)
    try:
        await waiter.released
    finally:
        waiter.close()
    return [f for f in futures if f.done()], [f for f in futures if not f.done()]


class _Completions:
    """Hands out futures in the order in which they complete."""

    def __init__(self, futures: list[asyncio.Future[Any]], timeout: float | None) -> None:
        self.todo = futures
        self.done: asyncio.Queue[asyncio.Future[Any] | None] = asyncio.Queue()
        self.timer: asyncio.TimerHandle | None = None
        for future in futures:
            future.add_done_callback(self.one_done)
        if futures and timeout is not None:
            self.timer = asyncio.get_running_loop().call_later(timeout, self.timed_out)

    def one_done(self, future: asyncio.Future[Any]) -> None:
        if not self.todo:
            return
        self.todo.remove(future)
        self.done.put_nowait(future)
        if not self.todo and self.timer is not None:
            self.timer.cancel()

    def timed_out(self) -> None:
        for future in self.todo:
            future.remove_done_callback(self.one_done)
            self.done.put_nowait(None)
        self.todo.clear()

    async def next(self) -> Any:
        future = await self.done.get()
        if future is None:
            raise TimeoutError
        return future.result()


def as_completed(
    fs: Iterable[Awaitable[AnyType]], *, timeout: float | None = None
) -> Iterator[Awaitable[AnyType]]:
    """Iterate over awaitables in order of completion; like `asyncio.as_completed`, but deterministic.

    Args:
        fs: Awaitables; coroutines become tasks.
        timeout: Longest wait for all of them in seconds, as a durable timer. None: no timer.

    Raises:
        asyncio.TimeoutError: From the awaitables that were not done in time.

    Example:
        >>> for earliest in workflow.as_completed([a, b, c]):
        ...     result = await earliest
    """
    _refuse_single(fs, "expect an iterable of futures")
    futures: list[asyncio.Future[Any]] = [asyncio.ensure_future(f) for f in fs]
    count = len(futures)
    completions = _Completions(futures, timeout)
    for _ in range(count):
        yield completions.next()
