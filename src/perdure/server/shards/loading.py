"""Loads entities from the store into the cache: one load at a time per entity, and only within its shard's epoch."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from perdure.core.units import MS_NS
from perdure.entity.entity_type import DamagedEntityError, UnknownRowError
from perdure.server.common.codec import decode_fact
from perdure.server.shards.group import Entry
from perdure.storage.port import DamageError, StoreError
from perdure.wire import errors

if TYPE_CHECKING:
    from perdure.core.clock import Clock
    from perdure.core.ids import EntityKey
    from perdure.entity.entity_type import Registry
    from perdure.server.shards.cache import EntityCache
    from perdure.server.shards.shard import Shard
    from perdure.storage.port import Store, StoredEntity

log = logging.getLogger(__name__)

SLICE_NS = 4 * MS_NS
"""Folding a long history yields to the loop this often, so that one slice plus one step stays below 5 ms."""


def read_failed(error: StoreError) -> errors.RpcError:
    """The answer to a call whose read of the store failed, which is logged. Damage is no reason to try again."""
    log.error("%s", error)
    if isinstance(error, DamageError):
        return errors.DataLoss(f"{error}.")
    return errors.Unavailable("The database could not be read; try again.")


def _check_end(stored: StoredEntity) -> None:
    """Without its latest events a run looks sound, and would go on from an earlier time."""
    last = stored.events[-1] if stored.events else None
    last_event_id = last.first_event_id + last.count - 1 if last else 0
    if last_event_id < stored.shown_events:
        raise DamagedEntityError(
            f"its events end with number {last_event_id}, and there were {stored.shown_events}"
        )


class Loader:
    """Loads missing entities. Many concurrent requests for one entity cost a single read."""

    def __init__(self, store: Store, cache: EntityCache, clock: Clock, types: Registry) -> None:
        self._store = store
        self._clock = clock
        self._types = types
        self._cache = cache
        self._loading: dict[tuple[EntityKey, int], asyncio.Task[None]] = {}

    async def load(self, key: EntityKey, shard: Shard) -> None:
        """Try to bring `key` into the cache. The caller checks the cache afterwards and calls again if necessary.

        Raises:
            RpcError: The entity cannot be read or decoded.
        """
        await shard.answers.wait()
        if shard.is_closed:
            raise errors.Unavailable("The engine is shutting down.")
        if shard.damage is not None:
            raise errors.DataLoss(f"{shard.damage}.")
        if shard.is_suspended and not shard.is_readable:
            raise errors.Unavailable(
                "The database cannot be written, and another node may own this shard."
            )
        if key in self._cache:
            return
        place = key, shard.epoch
        task = self._loading.get(place)
        if task is None:
            # A separate task: if the first caller is cancelled, the others still need the entity.
            task = asyncio.get_running_loop().create_task(self._load(key, shard, shard.epoch))
            self._loading[place] = task
            task.add_done_callback(lambda _: self._loading.pop(place))
        await asyncio.shield(task)

    async def _load(self, key: EntityKey, shard: Shard, epoch: int) -> None:
        if shard.epoch != epoch:
            return  # the shard was dropped before this load began
        try:
            stored = await self._store.load(key)
        except StoreError as error:
            raise read_failed(error) from None
        if shard.epoch != epoch:
            return  # the shard was dropped meanwhile: its next owner may have written since this read
        entry = Entry(key, shard, self._types.of(key))
        if stored is not None:
            await self._fill(entry, stored)
        if shard.epoch == epoch and key not in self._cache:
            self._cache.add(entry)
            self._cache.shrink()

    async def _fill(self, entry: Entry, stored: StoredEntity) -> None:
        entry.number = stored.number
        entry.wake_at_ns = stored.wake_at_ns
        entry.has_task_in_flight = stored.has_task_in_flight
        try:
            if entry.type.has_log:
                for row in stored.events:
                    entry.tail.append(row)
            _check_end(stored)
            entry.state = await self._state(entry.key, stored)
        except UnknownRowError as error:
            raise errors.FailedPrecondition(str(error)) from error
        except (DamagedEntityError, errors.DataLoss) as error:
            log.error("%s cannot be read back: %s", entry.key, error, exc_info=error.__cause__)
            raise errors.DataLoss(
                f"{entry.key.name} cannot be read back from the database: {error}"
            ) from None
        except MemoryError:
            # No sign of damage: nothing retries what is damaged.
            raise errors.Unavailable("The server has no memory left to read this.") from None
        except Exception as error:
            log.exception("%s cannot be read back", entry.key)
            raise errors.DataLoss(
                f"{errors.shown(entry.key.name)} cannot be read back from the database; the server's log says why."
            ) from error
        if stored.events:
            last = stored.events[-1]
            entry.durable_event_id = last.first_event_id + last.count - 1

    async def peek(self, key: EntityKey) -> Any:
        """The state of an entity as it is stored, also of another owner; None if there is none. It is not kept.

        Raises:
            StoreError: The database does not answer.
        """
        stored = await self._store.load(key)
        return None if stored is None else await self._state(key, stored)

    async def _state(self, key: EntityKey, stored: StoredEntity) -> Any:
        entity_type = self._types.of(key)
        facts = [decode_fact(entity_type, row) for row in stored.facts]
        rows = (row.data for row in stored.events)
        steps = entity_type.fold(key, rows, facts, self._clock.now_ns())
        slice_ends_ns = self._clock.monotonic_ns() + SLICE_NS
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value
            if self._clock.monotonic_ns() > slice_ends_ns:
                await asyncio.sleep(0)
                slice_ends_ns = self._clock.monotonic_ns() + SLICE_NS
