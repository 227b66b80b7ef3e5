"""The shards of this node: acquired at start-up, dropped when their fence is lost, then acquired again.

Invariant: a caller waits for a shard no longer than one failed attempt to acquire it takes. After that the shard is
suspended: changes are refused, and what is stored can be read if no other node can write it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from perdure.core.backoff import exponential_ns
from perdure.core.ids import shard_of
from perdure.core.units import MS_NS, SECOND_NS
from perdure.server.owners.owners import elsewhere
from perdure.server.shards.shard import Shard
from perdure.storage.port import DamageError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from perdure.core.ids import EntityKey
    from perdure.server.shards.cache import EntityCache
    from perdure.storage.port import ShardLease, Store

log = logging.getLogger(__name__)

RETRY_NS = 100 * MS_NS
RETRY_MAX_NS = 5 * SECOND_NS
RETAKE_MAX_NS = 30 * SECOND_NS
"""Back off so that two nodes claiming a shard do not steal it from each other indefinitely."""
HELD_S = 60
"""A shard that was held for this long is not contested, so the back-off starts again."""


class NodeShards:
    """Acquires the shards of this node, and acquires a shard again after its fence was lost.

    Args:
        store: Holds the shards' rows.
        cache: Entries of a dropped shard are removed from it.
        acquired: Called after a shard was acquired.
        shard_ids: The shards that this node owns; None: all.
    """

    def __init__(
        self,
        store: Store,
        cache: EntityCache,
        acquired: Callable[[Shard], None],
        shard_ids: Iterable[int] | None = None,
    ) -> None:
        self._store = store
        self._cache = cache
        self._acquired = acquired
        owned = range(store.shard_count) if shard_ids is None else shard_ids
        self._shards = {n: Shard(n) for n in owned}
        self._shard_count = store.shard_count
        self._tasks: set[asyncio.Task[object]] = set()
        self._losses: dict[int, tuple[int, float]] = {}
        """Shard -> number of recent fence losses, and the loop time of its last acquisition."""

    def of(self, key: EntityKey) -> Shard:
        """The shard of an entity. Raises Unavailable if another node owns it."""
        shard = self._shards.get(shard_of(key, self._shard_count))
        if shard is None:
            raise elsewhere()
        return shard

    def ready_ids(self) -> tuple[int, ...]:
        return tuple(s.shard_id for s in self._shards.values() if s.ready.is_set())

    async def acquire_all(self) -> None:
        """Acquire every shard.

        Raises:
            StoreError: The database cannot be written.
        """
        for shard in self._shards.values():
            shard.install(await self._store.acquire(shard.shard_id))
            self._acquired(shard)

    def drop(self, shard: Shard, take_again: bool) -> None:
        """Discard everything computed under this ownership. Its groups have already been settled as failed."""
        shard.drop()
        self._cache.drop_shard(shard)
        if take_again:
            task = asyncio.get_running_loop().create_task(self._take_again(shard))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def settle(self, shards: list[Shard], failed: Callable[[Exception], None]) -> bool:
        """After an unknown outcome, acquire these shards. Returns whether their last batch was written.

        Args:
            shards: Those of the batch. No other node owns them, or the outcome would be a lost fence.
            failed: Called after each failed attempt.

        Raises:
            DamageError: None of the shards can be acquired again, so nothing can tell.
        """
        fences: list[bool] = []

        def suspend(error: Exception) -> None:
            for one in shards:
                if not one.ready.is_set():
                    one.suspend(is_readable=True)
            failed(error)

        for shard in shards:
            before = shard.range_id, shard.sequence + 1
            lease = await self._take(shard, suspend)
            if lease is not None:
                fences.append((lease.previous_range_id, lease.sequence) == before)
        if not fences:
            damage = shards[0].damage
            assert damage is not None, "otherwise it was acquired"
            raise damage
        landed = all(fences)
        log.warning("the batch of unknown outcome was %s", "written" if landed else "not written")
        return landed

    def stop(self) -> None:
        """Stop acquiring shards, and wake everything that waits for one."""
        for task in self._tasks:
            task.cancel()
        for shard in self._shards.values():
            shard.close()

    async def _take_again(self, shard: Shard) -> None:
        loop = asyncio.get_running_loop()
        losses, taken = self._losses.get(shard.shard_id, (0, 0.0))
        losses = 1 if loop.time() - taken > HELD_S else losses + 1
        pause_ns = exponential_ns(RETRY_NS, 4.0, RETAKE_MAX_NS, losses)
        await asyncio.sleep(pause_ns / SECOND_NS)
        if await self._take(shard, lambda _: shard.suspend(is_readable=False)) is None:
            return
        self._losses[shard.shard_id] = losses, loop.time()

    async def _take(self, shard: Shard, failed: Callable[[Exception], None]) -> ShardLease | None:
        """The lease of a shard, as soon as it can be acquired; None: it is damaged, and refused from now on."""
        failures = 0
        while True:
            try:
                lease = await self._store.acquire(shard.shard_id)
            except DamageError as damage:
                log.error("%s; calls of shard %d are refused from now on", damage, shard.shard_id)
                if shard.is_suspended:
                    self.drop(shard, False)  # what was read meanwhile would still be served
                shard.refuse(damage)
                return None
            except Exception as error:
                # Retry after any other error: the node needs the shard, and the committer may be waiting for it.
                failures += 1
                pause_ns = exponential_ns(RETRY_NS, 2.0, RETRY_MAX_NS, failures)
                log.error(
                    "%s; again in %d ms",
                    error,
                    pause_ns // MS_NS,
                    exc_info=not isinstance(error, StoreError),
                )
                failed(error)
                await asyncio.sleep(pause_ns / SECOND_NS)
            else:
                if shard.is_suspended:
                    # What was read meanwhile may miss the batch in doubt. Nothing of it is pending.
                    self.drop(shard, False)
                shard.install(lease)
                self._acquired(shard)
                return lease
