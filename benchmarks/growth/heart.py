"""How long an event loop does not come back to other tasks, in CPU time of its thread: neighbours disturb it little."""

from __future__ import annotations

import asyncio
import time

PAUSE_S = 0.001


class Heart:
    """Beats every millisecond, if it can.

    A timer passes through three turns of asyncio's loop until its task runs: slices of 4 ms make beats 12 ms apart.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def beat(self) -> None:
        last_s = time.thread_time()
        while True:
            await asyncio.sleep(PAUSE_S)
            now_s = time.thread_time()
            self.longest_s = max(self.longest_s, now_s - last_s)
            last_s = now_s

    def take_s(self) -> float:
        """The longest time since the last call."""
        longest_s, self.longest_s = self.longest_s, 0.0
        return longest_s
