"""Test time on virtual time: waits are skipped; what runs takes the loop's time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.core.units import SECOND_NS
from perdure.server.time_skipping.skipping import SkippingClock, TimeSkipping

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.core.clock import Clock
    from perdure.core.ids import EntityKey
    from perdure.server.engine import Engine
    from perdure.server.matching.host import MatchingHost
    from perdure.server.shards.group import Group

TRANSIT_NS = 3 * SECOND_NS
"""How long an attempt that does not execute may still be in transit, in the loop's time."""


class SimTime(TimeSkipping):
    """Time that is never locked. An attempt whose worker is dead does not hold it up: the simulation knows who is dead.

    Args:
        real: The loop's clock.
        is_busy: Whether something runs that only the simulation sees: a user's function, a call on its way.
        is_alive: Whether the worker of this identity runs.
        stepped: Told of every step of the node.
    """

    def __init__(
        self,
        real: Clock,
        *,
        is_busy: Callable[[], bool],
        is_alive: Callable[[str], bool],
        stepped: Callable[[Group], None],
    ) -> None:
        super().__init__(SkippingClock(real))
        self.real = real
        self._is_held = is_busy
        self._is_alive = is_alive
        self._stepped = stepped
        self._attempts: dict[EntityKey, tuple[str, ...]] = {}
        self._transit_until_ns = 0

    @property
    def is_open(self) -> bool:
        return True

    @property
    def is_idle(self) -> bool:
        return not self._is_held() and not self._is_in_transit() and super().is_idle

    def _is_in_transit(self) -> bool:
        """Whether a task or an answer may be in transit to or from a living worker. Lost ones are not waited for."""
        if self.clock.monotonic_ns() >= self._transit_until_ns:
            return False
        return any(self._is_alive(name) for work in self.work.values() for name in work.attempts)

    def moved(self) -> None:
        """An attempt continues: its answer will be in transit."""
        self._transit_until_ns = self.clock.monotonic_ns() + TRANSIT_NS

    def noted(self, group: Group) -> None:
        super().noted(group)
        attempts = {key: work.attempts for key, work in self.work.items()}
        if attempts != self._attempts:
            self._attempts = attempts
            self.moved()
        self._stepped(group)

    async def sleep_ns(self, length_ns: int) -> None:
        """Let test time pass."""
        await self.sleep_until(self.clock.now_ns() + length_ns)

    async def flow_ns(self, length_ns: int) -> None:
        """Let time pass while there is no node, and wake the sleepers."""
        until_ns = self.clock.now_ns() + length_ns
        while (left_ns := until_ns - self.clock.now_ns()) > 0:
            self._wake_sleepers()
            self._changed.clear()
            await self._pause(left_ns)

    async def reopen(self, engine: Engine, matching: MatchingHost) -> None:
        """Use a new node in place of one that died: read what its runs are doing, and continue."""
        await self.take_over(engine)
        self.open(engine, matching)
