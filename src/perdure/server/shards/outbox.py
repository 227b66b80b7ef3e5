"""Delivers effects to other entities (D-9): one lane per destination, in order, at least once.

Role: after the commit that wrote an effect, deliver it, and remove its row once the destination has it durably.
Delivery repeats after a crash or a failure; request ids make it idempotent.

Invariants: one effect per destination is being delivered at a time; the next one waits for it. An effect that cannot be
delivered because of damage is put aside for minutes, together with all later effects from its source to that
destination. So effects of one source arrive in order, and those of other sources do not wait for a damaged one.
Not here: the meaning of an effect (`deliver`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from typing import TYPE_CHECKING

from perdure.core.backoff import exponential_ns
from perdure.core.limits import DAMAGE_RETRY_NS
from perdure.core.units import MS_NS, SECOND_NS
from perdure.storage.port import DamageError, StoredEffect, StoreError
from perdure.wire.errors import DataLoss

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from perdure.core.ids import EntityKey
    from perdure.entity.transition import Effect
    from perdure.storage.port import Store

log = logging.getLogger(__name__)

Route = tuple["EntityKey", "EntityKey"]
"""Source and destination."""

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
        self._aside: dict[Route, list[StoredEffect]] = {}
        """Effects that damage prevents, in order. The damage is in their source, their destination or their row."""
        self._damaged: set[Route] = set()
        """Routes whose last effect was not delivered because of damage. Each has been logged."""
        self._pauses: set[asyncio.TimerHandle] = set()

    def push(self, stored: StoredEffect) -> None:
        """Deliver an effect that is now durable. An effect that is already known is ignored."""
        place = stored.source, stored.sequence
        if place in self._known:
            return
        self._known.add(place)
        self._sources[stored.source] += 1
        self._queue(stored)

    def _queue(self, stored: StoredEffect) -> None:
        destination = stored.effect.destination
        if (aside := self._aside.get((stored.source, destination))) is not None:
            aside.append(stored)
            return
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
        """Whether an effect is being delivered. Effects that are put aside do not count."""
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
        for pause in self._pauses:
            pause.cancel()

    async def _drive(self, destination: EntityKey) -> None:
        lane = self._lanes[destination]
        while lane:
            stored = lane[0]
            error = await self._one(stored)
            if error is not None:
                self._put_aside(lane, stored, error)
                continue
            lane.popleft()
            if (route := (stored.source, destination)) in self._damaged:
                self._damaged.discard(route)
                log.info("the effects of %s are delivered to %s again", *route)
            self._known.discard((stored.source, stored.sequence))
            self._sources[stored.source] -= 1
            if not self._sources[stored.source]:
                del self._sources[stored.source]
        del self._lanes[destination]

    def _put_aside(self, lane: deque[StoredEffect], stored: StoredEffect, error: Exception) -> None:
        """Keep an effect and all later ones from its source out of the lane for a while. Their rows stay."""
        route = stored.source, stored.effect.destination
        self._aside[route] = [each for each in lane if each.source == stored.source]
        others = [each for each in lane if each.source != stored.source]
        lane.clear()
        lane.extend(others)
        log.log(
            logging.DEBUG if route in self._damaged else logging.ERROR,
            "the effect %s of %s cannot be delivered to %s before the database is repaired; tried again every %d s: %s",
            stored.effect.kind,
            *route,
            DAMAGE_RETRY_NS // SECOND_NS,
            error,
        )
        self._damaged.add(route)

        def resume() -> None:
            self._pauses.discard(pause)
            for each in self._aside.pop(route):
                self._queue(each)

        pause = asyncio.get_running_loop().call_later(DAMAGE_RETRY_NS / SECOND_NS, resume)
        self._pauses.add(pause)

    async def _one(self, stored: StoredEffect) -> Exception | None:
        """Deliver an effect. Returns the error if its source, its destination or its row is damaged."""
        failures = 0
        is_delivered = False
        while True:
            try:
                if not is_delivered:
                    await self.deliver(stored.source, stored.effect)
                    is_delivered = True
                await self._finish(stored)
            except (DataLoss, DamageError) as error:
                return error
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
                return None
