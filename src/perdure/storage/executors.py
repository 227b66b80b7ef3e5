"""On which thread a statement runs. The store is handed one; the simulator hands in its own, whose awaits really yield.

A job is a plain function without arguments. `run` may be cancelled, the job may not: once begun it runs to its end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic_ns
from typing import Any, Protocol, TypeVar

from perdure.core.units import MS_NS

T = TypeVar("T")
_TELL_AFTER_NS = MS_NS


class Executor(Protocol):
    """Runs jobs one after another, in the order in which they came."""

    async def run(self, job: Callable[[], T]) -> T: ...

    def close(self) -> None:
        """Wait for the job under way; no more jobs follow."""
        ...


class ThreadExecutor:
    """One thread of its own: the event loop does not wait for the disk.

    Jobs that are asked for in the same turn of the loop go there together: the way there and back costs more than most
    of them. A job that was asked for is run, though its caller may have gone.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._asked: list[_Job] = []

    async def run(self, job: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._asked.append((job, done))
        if len(self._asked) == 1:
            loop.call_soon(self._send, loop)
        return await done

    def close(self) -> None:
        self._pool.shutdown(wait=True)

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        jobs, self._asked = self._asked, []
        self._pool.submit(_run, jobs, loop)


_Job = tuple[Callable[[], Any], "asyncio.Future[Any]"]
_Done = tuple["asyncio.Future[Any]", Any, BaseException | None]


def _run(jobs: list[_Job], loop: asyncio.AbstractEventLoop) -> None:
    """On the thread."""
    done: list[_Done] = []
    began_ns = monotonic_ns()
    for job, future in jobs:
        try:
            done.append((future, job(), None))
        except BaseException as error:  # noqa: BLE001 -- whatever it is, who asked is told
            done.append((future, None, error))
        if monotonic_ns() - began_ns > _TELL_AFTER_NS:
            # A long job must not keep what was read before it.
            _send_back(loop, done)
            done = []
            began_ns = monotonic_ns()
    _send_back(loop, done)


def _send_back(loop: asyncio.AbstractEventLoop, done: list[_Done]) -> None:
    # A loop that was closed has nobody who waits.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(_tell, done)


def _tell(done: list[_Done]) -> None:
    for future, result, error in done:
        if future.done():
            continue  # who asked has gone
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


class InlineExecutor:
    """Runs jobs where they are asked for: cheapest, for memory and for fast disks."""

    async def run(self, job: Callable[[], T]) -> T:
        return job()

    def close(self) -> None:
        return None
