"""Slots: how many tasks of one kind a worker runs at once.

A slot is taken before the server is asked for a task, so a task is never accepted that could not run at once: by a
poller that waits until one is free, or on the spot for a task that the server's next answer may bring. Waiters are
served in order, and no caller takes a slot before them. A slot whose task has ended can be withheld, because the code
that it ran has not. Not here: adaptive suppliers and tuners.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Slots:
    """A counting semaphore that knows how many slots are in use and can tell when all are free.

    Args:
        maximum: How many there are.
        fewest: How many are left at least while not all are withheld: with fewer, some polls would take them all.
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
        """A caller waits for a slot, or more are in use than there are now."""
        return bool(self._waiting) or self._used > self._available

    @property
    def _available(self) -> int:
        if self.withheld >= self.maximum:
            return 0
        return max(self.maximum - self.withheld, self._fewest)

    def withhold(self) -> None:
        """From now on there is one slot less, until `restore`."""
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
        """Take a slot that is free now; False when there is none."""
        if self._used >= self._available:
            return False
        self._used += 1
        self._idle.clear()
        return True

    async def take(self) -> None:
        """Wait for a slot and take it."""
        if self.try_take():
            return
        handed_over = asyncio.get_running_loop().create_future()
        self._waiting.append(handed_over)
        try:
            await handed_over
        except asyncio.CancelledError:
            # The slot may have come in the very moment in which its taker left.
            if not handed_over.cancelled():
                self.release()
            elif handed_over in self._waiting:
                self._waiting.remove(handed_over)
            raise

    def release(self) -> None:
        """Give a slot back: to who has waited longest, if anybody has."""
        if self._used <= self._available and (taker := self._next_taker()) is not None:
            taker.set_result(None)
            return
        self._used -= 1
        if self._used == 0:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Wait until no slot is in use."""
        await self._idle.wait()
