"""On which thread a statement runs. The store is handed one; the simulator hands in its own, whose awaits really yield.

A job is a plain function without arguments. `run` may be cancelled, the job may not: once begun it runs to its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")


class Executor(Protocol):
    """Runs jobs one after another, in the order in which they came."""

    async def run(self, job: Callable[[], T]) -> T: ...

    def close(self) -> None:
        """Wait for the job under way; no more jobs follow."""
        ...


class ThreadExecutor:
    """One thread of its own: the event loop does not wait for the disk."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, job: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, job)

    def close(self) -> None:
        self._pool.shutdown(wait=True)


class InlineExecutor:
    """Runs jobs where they are asked for: cheapest, for memory and for fast disks."""

    async def run(self, job: Callable[[], T]) -> T:
        return job()

    def close(self) -> None:
        return None
