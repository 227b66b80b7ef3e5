"""Executors decide which thread runs a statement. The simulator passes its own, whose awaits always yield.

A job is a plain function without arguments. `run` may be cancelled, but a job that has begun runs to its end.
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
    """Runs jobs one at a time, in the order of the calls."""

    async def run(self, job: Callable[[], T]) -> T: ...

    def close(self) -> None:
        """Wait for the running job. No job may follow."""
        ...


class ThreadExecutor:
    """Runs jobs on a dedicated thread, so that the event loop never waits for the disk.

    Jobs requested in the same turn of the loop are sent together, because switching threads costs more than most jobs.
    A requested job runs even if its caller has been cancelled.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._requested: list[Job] = []

    async def run(self, job: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._requested.append((job, done))
        if len(self._requested) == 1:
            loop.call_soon(self._send, loop)
        return await done

    def close(self) -> None:
        self._pool.shutdown(wait=True)

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        jobs, self._requested = self._requested, []
        self._pool.submit(run_jobs, jobs, loop)


Job = tuple[Callable[[], Any], "asyncio.Future[Any]"]
"""What to run, and the future with which its caller waits for the result."""
_Done = tuple["asyncio.Future[Any]", Any, BaseException | None]


def run_jobs(jobs: list[Job], loop: asyncio.AbstractEventLoop) -> None:
    """Run the jobs on the current thread, and pass their results to the callers' event loop."""
    done: list[_Done] = []
    began_ns = monotonic_ns()
    for job, future in jobs:
        try:
            done.append((future, job(), None))
        except BaseException as error:  # noqa: BLE001 -- every error goes to the caller
            done.append((future, None, error))
        if monotonic_ns() - began_ns > _TELL_AFTER_NS:
            # A long job must not hold back the results of the jobs before it.
            _send_back(loop, done)
            done = []
            began_ns = monotonic_ns()
    _send_back(loop, done)


def _send_back(loop: asyncio.AbstractEventLoop, done: list[_Done]) -> None:
    # A closed loop has no waiting callers.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(_tell, done)


def _tell(done: list[_Done]) -> None:
    for future, result, error in done:
        if future.done():
            continue  # the caller was cancelled
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


class InlineExecutor:
    """Runs jobs on the caller's thread: the cheapest way for databases in memory and on fast disks."""

    async def run(self, job: Callable[[], T]) -> T:
        return job()

    def close(self) -> None:
        return None
