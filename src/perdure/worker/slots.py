"""Slots: how many tasks of one kind a worker runs at once.

A slot is taken before a poll is sent, so a task is never accepted that could not run at once. Not here: adaptive
suppliers and tuners.
"""

from __future__ import annotations

import asyncio


class Slots:
    """A counting semaphore that knows how many slots are in use and can tell when all are free."""

    def __init__(self, maximum: int) -> None:
        if maximum < 1:
            raise ValueError(f"a worker needs at least one slot per kind of task, not {maximum}")
        self.maximum = maximum
        self._semaphore = asyncio.Semaphore(maximum)
        self._used = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def used(self) -> int:
        return self._used

    async def take(self) -> None:
        await self._semaphore.acquire()
        self._used += 1
        self._idle.clear()

    def release(self) -> None:
        self._used -= 1
        self._semaphore.release()
        if self._used == 0:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Wait until no slot is in use."""
        await self._idle.wait()
