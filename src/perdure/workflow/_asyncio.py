"""`wait` and `as_completed`, like those of asyncio but deterministic.

asyncio keeps futures in sets, whose order depends on memory addresses. Here the order is that of the arguments (`wait`)
and of completion (`as_completed`), so replay gives the same one.
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


def _refuse_single(value: Any, expected: str) -> None:
    if isinstance(value, asyncio.Future) or asyncio.iscoroutine(value):
        message = f"{expected}, not {type(cast('object', value)).__name__}"
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
        fs: Tasks or futures, at least one. Coroutines must be wrapped in tasks first.
        timeout: Longest wait, in seconds. It creates a durable timer. None: no limit and no timer.
        return_when: `asyncio.FIRST_COMPLETED`, `asyncio.FIRST_EXCEPTION` or `asyncio.ALL_COMPLETED`.

    Returns:
        Two lists, done and pending, each in the order of `fs`.

    Raises:
        TypeError: `fs` is a single task or future, or holds coroutines.
        ValueError: `fs` is empty, or `return_when` is unknown.

    Example:
        ```python
        @workflow.defn
        class Race:
            @workflow.run
            async def run(self) -> list[int]:
                timers = [asyncio.create_task(workflow.sleep(hours * 3600)) for hours in (5, 1)]
                done, pending = await workflow.wait(timers, return_when=asyncio.FIRST_COMPLETED)
                return [timers.index(done[0]), len(pending)]


        async with Worker(client, task_queue="races", workflows=[Race]):
            assert await client.execute_workflow(Race.run, id="race-7", task_queue="races") == [
                1,
                1,
            ]
        ```
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
    # No shortcut for futures that are done already: histories depend on the number of ticks.
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
    """Iterate over awaitables in the order of their completion; like `asyncio.as_completed`, but deterministic.

    Args:
        fs: Awaitables. Coroutines become tasks.
        timeout: Longest wait for all of them, in seconds. It creates a durable timer. None: no limit and no timer.

    Returns:
        An iterator of awaitables. Each gives the next result.

    Raises:
        TypeError: `fs` is a single task, future or coroutine.
        asyncio.TimeoutError: From the awaitables that did not finish in time.

    Example:
        ```python
        @workflow.defn
        class Bids:
            @workflow.run
            async def run(self) -> list[str]:
                async def bid(name: str, hours: int) -> str:
                    await workflow.sleep(timedelta(hours=hours))
                    return name

                bids = [bid("slow", 5), bid("fast", 1)]
                return [await earliest for earliest in workflow.as_completed(bids)]


        async with Worker(client, task_queue="bids", workflows=[Bids]):
            order = await client.execute_workflow(Bids.run, id="bids-7", task_queue="bids")
        assert order == ["fast", "slow"]
        ```
    """
    _refuse_single(fs, "expect an iterable of futures")
    futures: list[asyncio.Future[Any]] = [asyncio.ensure_future(f) for f in fs]
    count = len(futures)
    completions = _Completions(futures, timeout)
    for _ in range(count):
        yield completions.next()
