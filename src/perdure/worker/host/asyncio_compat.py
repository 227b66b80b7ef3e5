"""asyncio functions that behave differently inside workflows, installed once per process.

| Function | Inside a workflow |
|---|---|
| `asyncio.wait_for` | the profile of the run: 3.12 changed when a coroutine starts, and with it the order of commands |
| `asyncio.wait` | done and pending in the order of the arguments; asyncio's sets are ordered by memory address |
| `asyncio.as_completed` | starts awaitables in the order of the arguments |

Invariant: outside workflows the originals run, at a cost of about a hundred nanoseconds per call. Each function takes
exactly as many ticks as in the interpreter version that it reproduces.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable, Iterator, MutableSet
from typing import TYPE_CHECKING, Any, TypeVar, cast

from typing_extensions import override

from perdure.worker.host import binding
from perdure.worker.host.options import WaitForProfile
from perdure.worker.host.state import running_state
from perdure.workflow import as_completed as ordered_as_completed
from perdure.workflow import wait as ordered_wait

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_ordered_wait = cast("Callable[..., Any]", ordered_wait)
_T = TypeVar("_T")


class OrderedFutures(MutableSet[Any]):
    """A set of futures that iterates, and pops, in the order of insertion."""

    def __init__(self, futures: Iterable[Any] = ()) -> None:
        self._items: dict[Any, None] = dict.fromkeys(futures)

    @override
    def __contains__(self, item: object) -> bool:
        return item in self._items

    @override
    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    @override
    def __len__(self) -> int:
        return len(self._items)

    @override
    def add(self, value: Any) -> None:
        self._items[value] = None

    @override
    def discard(self, value: Any) -> None:
        self._items.pop(value, None)

    @override
    def pop(self) -> Any:
        if not self._items:
            raise KeyError("pop from an empty set")
        first = next(iter(self._items))
        del self._items[first]
        return first

    def update(self, *others: Iterable[Any]) -> None:
        """Add all elements of the others."""
        for other in others:
            self._items.update(dict.fromkeys(other))

    def union(self, *others: Iterable[Any]) -> OrderedFutures:
        """Elements of this and the others."""
        made = OrderedFutures(self)
        made.update(*others)
        return made

    def difference(self, other: Iterable[Any]) -> OrderedFutures:
        """Elements that are not in the other."""
        without = set(other)
        return OrderedFutures(item for item in self if item not in without)

    def copy(self) -> OrderedFutures:
        """A new set with the same elements."""
        return OrderedFutures(self)

    @override
    def __repr__(self) -> str:
        return f"{{{', '.join(map(repr, self._items))}}}"


def _release(waiter: asyncio.Future[None], *_args: object) -> None:
    if not waiter.done():
        waiter.set_result(None)


async def _cancel_and_wait(future: asyncio.Future[Any]) -> None:
    """Cancel a future and wait until it is done. Its outcome is ignored."""
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    released = functools.partial(_release, waiter)
    future.add_done_callback(released)
    try:
        future.cancel()
        await waiter
    finally:
        future.remove_done_callback(released)


async def _timed_out_already(awaitable: Awaitable[_T]) -> _T:
    """`wait_for` with a time-out of zero or less: the same in all profiles."""
    future = asyncio.ensure_future(awaitable)
    if future.done():
        return future.result()
    await _cancel_and_wait(future)
    try:
        return future.result()
    except asyncio.CancelledError as error:
        raise TimeoutError from error


async def wait_for_py311(awaitable: Awaitable[_T], timeout: float | None) -> _T:
    """Interpreters up to 3.11: the awaitable becomes a task of its own."""
    if timeout is None:
        return await awaitable
    if timeout <= 0:
        return await _timed_out_already(awaitable)
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(timeout, _release, waiter)
    released = functools.partial(_release, waiter)
    future = asyncio.ensure_future(awaitable, loop=loop)
    future.add_done_callback(released)
    try:
        try:
            await waiter
        except asyncio.CancelledError:
            if future.done():
                return future.result()
            future.remove_done_callback(released)
            await _cancel_and_wait(future)
            raise
        if future.done():
            return future.result()
        future.remove_done_callback(released)
        await _cancel_and_wait(future)
        # It may have finished while it was being cancelled, and then it has a result.
        try:
            return future.result()
        except asyncio.CancelledError as error:
            raise TimeoutError from error
    finally:
        timer.cancel()


async def wait_for_py312(awaitable: Awaitable[_T], timeout: float | None) -> _T:
    """Interpreters from 3.12 on: the awaitable is awaited in place, under a time-out."""
    if timeout is not None and timeout <= 0:
        return await _timed_out_already(awaitable)
    async with asyncio.timeout(timeout):
        return await awaitable


_PROFILES: dict[WaitForProfile, Callable[[Any, float | None], Any]] = {
    WaitForProfile.PY311: wait_for_py311,
    WaitForProfile.PY312: wait_for_py312,
}


def _dispatch_wait_for(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def wait_for(fut: Any, timeout: float | None) -> Any:
        state = running_state()
        if state is None:
            return await original(fut, timeout)
        if timeout is not None and not isinstance(fut, asyncio.Future):
            state.wait_for_profile_matters = True
        return await _PROFILES[state.options.wait_for_profile](fut, timeout)

    return wait_for


def _dispatch_wait(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def wait(
        fs: Any,
        *,
        timeout: float | None = None,
        return_when: str = asyncio.ALL_COMPLETED,
    ) -> Any:
        if running_state() is None:
            return await original(fs, timeout=timeout, return_when=return_when)
        futures: Any = fs
        if isinstance(futures, Iterable) and not isinstance(futures, asyncio.Future):
            futures = list(dict.fromkeys(cast("Iterable[Any]", futures)))
        done, pending = await _ordered_wait(futures, timeout=timeout, return_when=return_when)
        return OrderedFutures(done), OrderedFutures(pending)

    return wait


def _dispatch_as_completed(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def as_completed(fs: Iterable[Any], *, timeout: float | None = None) -> Any:
        if running_state() is None:
            return original(fs, timeout=timeout)
        return ordered_as_completed(fs, timeout=timeout)

    return as_completed


_DISPATCHERS = {
    "wait_for": _dispatch_wait_for,
    "wait": _dispatch_wait,
    "as_completed": _dispatch_as_completed,
}
_installed = False


def install() -> None:
    """Put the dispatchers into `asyncio`. Called by the host; a second call does nothing."""
    global _installed  # noqa: PLW0603  # once per process
    if _installed:
        return
    _installed = True
    for name, dispatcher in _DISPATCHERS.items():
        original = cast("Callable[..., Any]", getattr(asyncio, name))
        replacement = dispatcher(original)
        binding.replaced(original, replacement)
        setattr(asyncio, name, replacement)
        setattr(asyncio.tasks, name, replacement)
