"""Slots limit how many tasks of one kind a worker runs at once.

A slot is taken before a task is requested, so a worker never accepts a task that it cannot run at once. A poller waits
for a free slot; a task that the next response may bring takes one only if it is free. Waiters are served in order, and
no caller takes a slot before them. A slot can be withheld if its task has ended but the code of the task has not.
Not here: adaptive suppliers and tuners.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Slots:
    """A counting semaphore that knows how many slots are in use and can tell when all are free.

    Args:
        maximum: The number of slots.
        fewest: How many are available at least, unless all are withheld. With fewer, the polls of one queue could
            take all of them.
    """

    def __init__(self, maximum: int, fewest: int = 1) -> None:
        if maximum < 1:
            raise ValueError(f"a worker needs at least one slot per kind of task, not {maximum}")
        self.maximum = maximum
        self.withheld = 0
        self._fewest = min(fewest, maximum)
        self._used = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def used(self) -> int:
        return self._used

    @property
    def is_wanted(self) -> bool:
        """Whether a caller waits for a slot, or more slots are in use than are available now."""
        return bool(self._waiting) or self._used > self._available

    @property
    def _available(self) -> int:
        if self.withheld >= self.maximum:
            return 0
        return max(self.maximum - self.withheld, self._fewest)

    def withhold(self) -> None:
        """Make one slot unavailable until `restore`."""
        self.withheld += 1

    def restore(self) -> None:
        """Undo one `withhold`."""
        self.withheld -= 1
        while self._used < self._available and (taker := self._next_taker()) is not None:
            self._used += 1
            self._idle.clear()
            taker.set_result(None)

    def _next_taker(self) -> asyncio.Future[None] | None:
        while self._waiting:
            taker = self._waiting.popleft()
            if not taker.done():
                return taker
        return None

    def try_take(self) -> bool:
        """Take a slot if one is free. Returns false otherwise."""
        if self._used >= self._available:
            return False
        self._used += 1
        self._idle.clear()
        return True

    def take_another(self) -> None:
        """Take a slot even if none is free, for a task that the worker already has."""
        self._used += 1
        self._idle.clear()

    async def take(self) -> None:
        """Wait for a slot and take it."""
        if self.try_take():
            return
        handed_over = asyncio.get_running_loop().create_future()
        self._waiting.append(handed_over)
        try:
            await handed_over
        except asyncio.CancelledError:
            # The slot may have been assigned at the moment in which its waiter was cancelled.
            if not handed_over.cancelled():
                self.release()
            elif handed_over in self._waiting:
                self._waiting.remove(handed_over)
            raise

    def release(self) -> None:
        """Release a slot. The caller that has waited longest gets it, if there is one."""
        if self._used <= self._available and (taker := self._next_taker()) is not None:
            taker.set_result(None)
            return
        self._used -= 1
        if self._used == 0:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Wait until no slot is in use."""
        await self._idle.wait()
