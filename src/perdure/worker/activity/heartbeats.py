"""Heartbeats of one activity attempt: the latest details are sent, no more often than useful.

The first heartbeat is sent at once; then at most one per throttle interval, which is 80 % of the heartbeat time-out
within the worker's bounds. What is held back when the activity fails goes with the failure (S-31). The server's
answer tells of cancellation, pause and reset. Not here: what an activity does about it (`activity.attempt`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from perdure.core.units import SECOND_NS
from perdure.worker.activity.attempt import Deadline

THROTTLE_SHARE = 0.8

Send = Callable[[Sequence[Any]], Awaitable[None]]


def throttle_ns(heartbeat_timeout_ns: int, default_ns: int, maximum_ns: int) -> int:
    """How long the next heartbeat is held back.

    Args:
        heartbeat_timeout_ns: Of the activity; 0 when it has none.
        default_ns: For activities without one.
        maximum_ns: Upper bound.
    """
    wanted = int(heartbeat_timeout_ns * THROTTLE_SHARE) if heartbeat_timeout_ns else default_ns
    return min(wanted, maximum_ns)


class Heartbeats:
    """Throttles the heartbeats of one attempt. `record` may be called often and never blocks.

    Args:
        send: Sends one.
        interval_ns: How long the next one is held back.
        spawn: Starts the task that sends them.
        timeout_ns: The activity's heartbeat time-out; 0 when it has none.
        on_overdue: Told when one would come after the time-out; it is not sent.
    """

    def __init__(
        self,
        send: Send,
        interval_ns: int,
        spawn: Callable[[Awaitable[None]], object],
        timeout_ns: int = 0,
        on_overdue: Callable[[], None] = lambda: None,
    ) -> None:
        self._send = send
        self._interval_ns = interval_ns
        self._spawn = spawn
        self._latest: Sequence[Any] | None = None
        self._running = False
        self._closed = False
        self._ended = asyncio.Event()
        self._timeout_ns = timeout_ns
        self._on_overdue = on_overdue
        self._deadline: Deadline | None = None
        """Counts from the answer to the last one; None while one is on its way, and without time-out."""
        self._restart_deadline()

    @property
    def is_overdue(self) -> bool:
        """Whether the loop was blocked past the time-out.

        While it turns, lateness is the server's to judge: others may send heartbeats for the attempt, by its token or
        its id, and the server may have another time-out by now.
        """
        deadline = self._deadline  # read once: another thread may ask
        return deadline is not None and deadline.was_slept_through

    @property
    def unsent(self) -> Sequence[Any] | None:
        """Details that no heartbeat has sent yet."""
        return self._latest

    def record(self, details: Sequence[Any]) -> None:
        if self._closed:
            return
        self._latest = details
        if not self._running:
            self._running = True
            self._spawn(self._drain())

    def close(self) -> None:
        """Send no further heartbeat. One that is being sent is not interrupted."""
        self._closed = True
        self._ended.set()
        self._stop_deadline()

    def _restart_deadline(self) -> None:
        if self._timeout_ns and not self._closed:
            self._deadline = Deadline(self._timeout_ns / SECOND_NS)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.close()
            self._deadline = None

    async def _drain(self) -> None:
        """Send new details, then wait one interval. Ends when an interval brought no new details."""
        try:
            while not self._closed and self._latest is not None:
                details, self._latest = self._latest, None
                if self.is_overdue:
                    self._on_overdue()
                    return
                self._stop_deadline()
                try:
                    await self._send(details)
                finally:
                    self._restart_deadline()
                # The attempt's end wakes this, so that a stopping worker does not wait for the interval.
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), self._interval_ns / SECOND_NS)
        finally:
            self._running = False
