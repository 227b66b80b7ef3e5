"""Fires stored wake-ups of entities (D-7): the near future is in memory, the rest in a narrow table.

Invariants: a stored wake-up is fired at or after its time, at least once; an early one is harmless. An entity whose
wake-up fails is retried with its own back-off and delays no other entity.
"""

from __future__ import annotations

import asyncio
import logging
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from perdure.core.backoff import exponential_ns
from perdure.core.limits import DAMAGE_RETRY_NS
from perdure.core.units import MINUTE_NS, SECOND_NS
from perdure.server.common import closing
from perdure.storage.port import DamageError, StoreError
from perdure.wire.errors import DataLoss, NotFound, ResourceExhausted, RpcError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from perdure.core.clock import Clock
    from perdure.core.ids import EntityKey
    from perdure.storage.port import Store, WakeRow

log = logging.getLogger(__name__)

HORIZON_NS = MINUTE_NS
SCAN_ROWS = 1_000
FIRING_MAX = 64
_STALE_MAX = 256
"""The heap is rebuilt when it is longer than this plus twice the number of armed wake-ups."""
LOOK_NS = 10 * SECOND_NS
"""The clock is read at least this often, because wall time may jump."""
RETRY_NS = SECOND_NS
RETRY_MAX_NS = 5 * MINUTE_NS
TIME_MAX_NS = 2**63 - 1
RETRY_NODE_MAX_NS = 5 * SECOND_NS


class Wakes:
    """Fires stored wake-ups when they are due, and keeps those of the near future in memory.

    Args:
        store: Holds the table.
        clock: Tells what is due.
        owned: The shards of this node that are ready.
        fire: Wakes one entity durably.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        owned: Callable[[], Sequence[int]],
        fire: Callable[[EntityKey], Awaitable[object]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._owned = owned
        self._fire = fire
        self._heap: list[tuple[int, EntityKey]] = []
        self._armed: dict[EntityKey, int] = {}
        self._firing: set[EntityKey] = set()
        self._failures: dict[EntityKey, int] = {}
        self._damaged: set[EntityKey] = set()
        """The failed entities that cannot be read. Each has been logged."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._horizon_ns = 0
        self._poked = asyncio.Event()

    def arm(self, key: EntityKey, at_ns: int) -> None:
        """Note that the stored wake-up of `key` is now durably `at_ns`; 0 for none."""
        self._recovered(key)
        if not at_ns or at_ns >= self._horizon_ns:
            self._armed.pop(key, None)
            return
        self._push(key, at_ns)

    def rescan(self) -> None:
        """Read the table again, because a shard was acquired."""
        self._horizon_ns = 0
        self._poked.set()

    def poke(self) -> None:
        """Check for due wake-ups again, because the clock was moved."""
        self._poked.set()

    @property
    def is_firing(self) -> bool:
        """Whether a wake-up is in progress."""
        return bool(self._firing)

    async def earliest(self) -> WakeRow | None:
        """The next stored wake-up, no matter how far ahead. It may already be due."""
        rows = await self._store.wakes(self._owned(), TIME_MAX_NS, 1)
        return rows[0] if rows else None

    async def run(self) -> None:
        """Fire wake-ups as they become due, until cancelled."""
        while True:
            self._poked.clear()
            now_ns = self._clock.now_ns()
            if now_ns >= self._horizon_ns and not self._is_busy:
                await self._scan(now_ns)
            self._fire_due(self._clock.now_ns())
            await self._pause(self._clock.now_ns())

    async def stop(self) -> None:
        """Wait for the wake-ups in progress."""
        await closing.ended(self._tasks, "wake-ups")

    @property
    def _is_busy(self) -> bool:
        """Whether enough due wake-ups are known; reading more would return the same rows."""
        return len(self._armed) - len(self._failures) >= SCAN_ROWS // 2

    async def _scan(self, now_ns: int) -> None:
        until_ns = now_ns + HORIZON_NS
        self._horizon_ns = until_ns  # from now on, `arm` keeps wake-ups before this time
        # The rows of failed wake-ups are the oldest. Without extra room they would hide all others.
        limit = SCAN_ROWS + len(self._failures)
        try:
            rows = await self._store.wakes(self._owned(), until_ns, limit)
        except Exception as error:
            # After any error, read again soon: unread rows must not wait until the horizon.
            log.error(
                "%s; looking for wake-ups again soon",
                error,
                exc_info=not isinstance(error, StoreError),
            )
            is_damage = isinstance(error, DamageError)
            self._horizon_ns = now_ns + (DAMAGE_RETRY_NS if is_damage else RETRY_NS)
            return
        new = [
            row
            for row in rows
            if row.key not in self._failures
            and row.key not in self._firing
            and row.key not in self._armed
        ]
        for at_ns, key in new:
            self._push(key, at_ns)
        if len(rows) == limit:
            # There are more rows. Continue after the last of these, or after a pause if none was new.
            go_on_ns = rows[-1].at_ns if new else now_ns + RETRY_NS
            self._horizon_ns = min(self._horizon_ns, go_on_ns)

    def _push(self, key: EntityKey, at_ns: int) -> None:
        if self._armed.get(key) == at_ns:
            return
        self._armed[key] = at_ns
        if len(self._heap) > _STALE_MAX + 2 * len(self._armed):
            # Most runs end long before the time-outs for which they were armed.
            self._heap = [(at, armed) for armed, at in self._armed.items()]
            heapify(self._heap)
        else:
            heappush(self._heap, (at_ns, key))
        if self._heap[0][1] == key:
            self._poked.set()

    def _fire_due(self, now_ns: int) -> None:
        heap = self._heap
        while heap and heap[0][0] <= now_ns and len(self._firing) < FIRING_MAX:
            at_ns, key = heappop(heap)
            if self._armed.get(key) != at_ns or key in self._firing:
                continue  # outdated, or pushed again when the current one ends
            del self._armed[key]
            self._firing.add(key)
            task = asyncio.get_running_loop().create_task(self._fire_one(key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _fire_one(self, key: EntityKey) -> None:
        try:
            await self._fire(key)
        except NotFound:
            self._recovered(key)
        except DataLoss as error:
            self._failures[key] = self._failures.get(key, 0) + 1
            log.log(
                logging.DEBUG if key in self._damaged else logging.ERROR,
                "%s cannot be woken before the database is repaired; tried again every %d s: %s",
                key,
                DAMAGE_RETRY_NS // SECOND_NS,
                error.message,
            )
            self._damaged.add(key)
            self._push(key, self._clock.now_ns() + DAMAGE_RETRY_NS)
        except Exception as error:
            failures = self._failures.get(key, 0) + 1
            self._failures[key] = failures
            # A node-wide problem ends for all at once. An entity with a problem of its own backs off further each time.
            is_node = isinstance(error, Unavailable | ResourceExhausted)
            bound_ns = RETRY_NODE_MAX_NS if is_node else RETRY_MAX_NS
            pause_ns = exponential_ns(RETRY_NS, 2.0, bound_ns, failures)
            log.warning(
                "the wake-up of %s failed; again in %d s",
                key,
                pause_ns // SECOND_NS,
                exc_info=not isinstance(error, RpcError),
            )
            self._push(key, self._clock.now_ns() + pause_ns)
        else:
            self._recovered(key)
        finally:
            self._firing.discard(key)
            if key in self._armed:
                heappush(self._heap, (self._armed[key], key))
            self._poked.set()

    def _recovered(self, key: EntityKey) -> None:
        self._failures.pop(key, None)
        if key in self._damaged:
            self._damaged.discard(key)
            log.info("%s can be woken again", key)

    async def _pause(self, now_ns: int) -> None:
        next_ns = now_ns + LOOK_NS
        if len(self._firing) < FIRING_MAX:
            if self._heap:
                next_ns = min(next_ns, self._heap[0][0])
            if not self._is_busy:
                next_ns = min(next_ns, self._horizon_ns)
        try:
            async with asyncio.timeout(max(next_ns - now_ns, 0) / SECOND_NS):
                await self._poked.wait()
        except TimeoutError:
            pass
