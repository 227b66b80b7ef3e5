"""Delivers effects to other entities (D-9): one lane per destination, in order, at least once.

Role: after the commit that wrote an effect, deliver it, and remove its row once the destination has it durably.
Delivery repeats after a crash or a failure; request ids make it idempotent.

Invariant: one effect per destination is being delivered at a time; the next one waits for it. Not here: the meaning of
an effect (`deliver`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from typing import TYPE_CHECKING

from perdure.core.backoff import exponential_ns
from perdure.core.units import MS_NS, SECOND_NS
from perdure.storage.port import DamageError, StoredEffect, StoreError
from perdure.wire.errors import DataLoss

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from perdure.core.ids import EntityKey
    from perdure.entity.transition import Effect
    from perdure.storage.port import Store

log = logging.getLogger(__name__)

RETRY_NS = 100 * MS_NS
RETRY_MAX_NS = 30 * SECOND_NS


class Outbox:
    """Delivers stored effects, one at a time per destination, until each is known to be durable there.

    Args:
        store: Holds the rows.
        deliver: Applies an effect of a source at its destination durably; raises to have it retried.
        finish: Removes the row of an effect durably.
    """

    def __init__(
        self,
        store: Store,
        deliver: Callable[[EntityKey, Effect], Awaitable[None]],
        finish: Callable[[StoredEffect], Awaitable[object]],
    ) -> None:
        self._store = store
        self.deliver = deliver
        self._finish = finish
        self._lanes: dict[EntityKey, deque[StoredEffect]] = {}
        self._known: set[tuple[EntityKey, int]] = set()
        self._sources: Counter[EntityKey] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def push(self, stored: StoredEffect) -> None:
        """Deliver an effect that is now durable. An effect that is already known is ignored."""
        place = stored.source, stored.sequence
        if place in self._known:
            return
        self._known.add(place)
        self._sources[stored.source] += 1
        destination = stored.effect.destination
        lane = self._lanes.get(destination)
        if lane is not None:
            lane.append(stored)
            return
        self._lanes[destination] = deque([stored])
        task = asyncio.get_running_loop().create_task(self._drive(destination))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def holds(self, source: EntityKey) -> bool:
        """Whether an effect of this entity is not yet delivered."""
        return self._sources[source] > 0

    @property
    def is_delivering(self) -> bool:
        """Whether an effect is being delivered."""
        return bool(self._lanes)

    async def recover(self, shard_ids: list[int]) -> None:
        """Deliver what an earlier owner of these shards left behind. Retries until the database answers.

        Raises:
            DamageError: The rows cannot be read, and never will be.
        """
        failures = 0
        while True:
            try:
                rows = await self._store.outbox(shard_ids)
            except DamageError:
                raise
            except StoreError as error:
                failures += 1
                pause_ns = exponential_ns(RETRY_NS, 2.0, RETRY_MAX_NS, failures)
                log.error("%s; again in %d ms", error, pause_ns // MS_NS)
                await asyncio.sleep(pause_ns / SECOND_NS)
            else:
                break
        for stored in rows:
            self.push(stored)

    def stop(self) -> None:
        """Stop delivering. The rows stay in the store."""
        for task in self._tasks:
            task.cancel()

    async def _drive(self, destination: EntityKey) -> None:
        lane = self._lanes[destination]
        while lane:
            is_done = await self._one(lane[0])
            stored = lane.popleft()
            if not is_done:
                continue  # its row stays, and so does its source
            self._known.discard((stored.source, stored.sequence))
            self._sources[stored.source] -= 1
            if not self._sources[stored.source]:
                del self._sources[stored.source]
        del self._lanes[destination]

    async def _one(self, stored: StoredEffect) -> bool:
        """Deliver an effect. Returns false if damage prevents it: of its source, its destination or its row."""
        failures = 0
        is_delivered = False
        while True:
            try:
                if not is_delivered:
                    await self.deliver(stored.source, stored.effect)
                    is_delivered = True
                await self._finish(stored)
            except (DataLoss, DamageError) as error:
                log.error(
                    "the effect %s of %s cannot be delivered to %s before the database is repaired: %s",
                    stored.effect.kind,
                    stored.source,
                    stored.effect.destination,
                    error,
                )
                return False
            except Exception:
                failures += 1
                pause_ns = exponential_ns(RETRY_NS, 2.0, RETRY_MAX_NS, failures)
                log.warning(
                    "the effect %s of %s was not delivered to %s; again in %d ms",
                    stored.effect.kind,
                    stored.source,
                    stored.effect.destination,
                    pause_ns // MS_NS,
                    exc_info=True,
                )
                await asyncio.sleep(pause_ns / SECOND_NS)
            else:
                return True
