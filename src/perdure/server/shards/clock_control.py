"""What a time-skipping clock needs to know about an engine: whether it is busy, and when something is next due.

Not here: when time is skipped (`time_skipping.skipping`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.storage.port import StoreError
from perdure.wire import errors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from perdure.core.ids import EntityKey
    from perdure.server.shards.committer import Committer
    from perdure.server.shards.group import Group
    from perdure.server.shards.outbox import Outbox
    from perdure.server.shards.step import Steps
    from perdure.server.shards.wakes import Wakes
    from perdure.storage.port import WakeRow


class ClockControl:
    """What `TimeSkipping` asks of an engine; it is `Engine.clock_control`."""

    def __init__(
        self,
        wakes: Wakes,
        outbox: Outbox,
        committer: Committer,
        steps: Steps,
        fire: Callable[[EntityKey], Awaitable[None]],
    ) -> None:
        self._wakes = wakes
        self._outbox = outbox
        self._committer = committer
        self._steps = steps
        self.fire = fire
        """Wakes an entity now. If it is too early, this only makes its stored wake-up exact."""

    def watch(self, watch: Callable[[Group], None]) -> None:
        """Call `watch` with the group of every step, within the step."""
        self._steps.watch = watch

    @property
    def is_busy(self) -> bool:
        """Whether a call that may commit, a wake-up or a delivery is in progress."""
        return (
            bool(self._committer.under_way().count)
            or self._wakes.is_firing
            or self._outbox.is_delivering
        )

    def poke(self) -> None:
        """Check for due wake-ups again, because the clock was moved."""
        self._wakes.poke()

    async def next_wake(self) -> WakeRow | None:
        """The next stored wake-up. Its time is a lower bound of when the entity is due."""
        try:
            return await self._wakes.earliest()
        except StoreError as error:
            raise errors.Unavailable(f"The database could not be read: {error}") from None
