"""A place where the code of a test blocks in C until the test opens it.

It has no lock, unlike `threading.Event`: the watchdog may interrupt a thread at any line, and a lock that this thread
holds would stay locked.
"""

from __future__ import annotations

import asyncio
import os
import select

LIMIT_S = 60


class Gate:
    """Closed at first. The reading end of its pipe stays open, because a thread may still be about to look at it.

    Attributes:
        entered: One entry for each thread that has come to the gate.
    """

    def __init__(self) -> None:
        self.entered: list[str] = []
        self._reading, writing = os.pipe()
        self._writing = os.fdopen(writing, "wb")

    def block(self, name: str = "") -> str:
        self.entered.append(name)
        select.select([self._reading], [], [], LIMIT_S)
        return "late"

    def open(self) -> None:
        self._writing.close()

    async def is_entered(self, times: int = 1) -> None:
        """Wait until so many threads have come."""
        async with asyncio.timeout(LIMIT_S):
            while len(self.entered) < times:  # noqa: ASYNC110 - what other threads do
                await asyncio.sleep(0.005)
