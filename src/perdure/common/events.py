"""An event for threads and coroutines: how cancellation and shutdown reach activities."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass


@dataclass
class CompositeEvent:
    """A `threading.Event` and, for async activities, an `asyncio.Event`. They are set together.

    Attributes:
        thread_event: None until it is provided. For activities in a process pool the other process provides it.
        async_event: None outside async activities.
    """

    thread_event: threading.Event | None
    async_event: asyncio.Event | None

    def _thread(self) -> threading.Event:
        if self.thread_event is None:
            raise RuntimeError("Missing event")
        return self.thread_event

    def set(self) -> None:
        """Set both. Must be called on the event loop's thread if there is an async event."""
        self._thread().set()
        if self.async_event is not None:
            self.async_event.set()

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._thread().is_set()

    async def wait(self) -> None:
        """Wait in a coroutine.

        Raises:
            RuntimeError: Not in an async activity.
        """
        if self.async_event is None:
            raise RuntimeError("not in async activity")
        await self.async_event.wait()

    def wait_sync(self, timeout_s: float | None = None) -> None:
        """Block this thread until it is set, or for `timeout_s` seconds."""
        self._thread().wait(timeout_s)
