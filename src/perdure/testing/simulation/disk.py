"""The disk: the store's executor on virtual time. It can stop the node at any job.

A job yields to other tasks before and after it runs, so that everything else can happen in between. A crash before the
job loses it; a crash after it leaves it durable but unanswered. Not here: what a job does (the real SQLite store).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import TypeVar

T = TypeVar("T")


class DiskFaults:
    """The behaviour of the disk. The world changes it while it runs."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.delay_max_s = 0.003
        self.stall_chance = 0.01
        self.stall_s = 0.2

    def delay_s(self) -> float:
        if self._random.random() < self.stall_chance:
            return self.stall_s * self._random.random()
        return self.delay_max_s * self._random.random()


class SimExecutor:
    """Runs jobs one after another with virtual delays; dead after `crash`."""

    def __init__(self, faults: DiskFaults) -> None:
        self._faults = faults
        self._lock = asyncio.Lock()
        self._dead = False
        self.jobs = 0

    def crash(self) -> None:
        """Start no further jobs. Callers then wait forever, like those of a dead process."""
        self._dead = True

    async def run(self, job: Callable[[], T]) -> T:
        async with self._lock:
            await asyncio.sleep(self._faults.delay_s())
            await self._die_if_dead()
            self.jobs += 1
            try:
                result, error = job(), None
            except Exception as raised:  # noqa: BLE001 - handed to the caller after the delay
                result, error = None, raised
            await asyncio.sleep(self._faults.delay_s())
            await self._die_if_dead()
            if error is not None:
                raise error
            return result  # type: ignore[return-value]  # None only with an error

    async def _die_if_dead(self) -> None:
        if self._dead:
            await asyncio.Event().wait()

    def close(self) -> None:
        self._dead = True
