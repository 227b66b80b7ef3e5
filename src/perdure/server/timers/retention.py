"""Deletes closed runs when their retention ends, in small chunks, without using the hot wake table."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from perdure.core.units import MINUTE_NS, SECOND_NS
from perdure.storage.port import StoreError
from perdure.wire.errors import RpcError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from perdure.core.clock import Clock
    from perdure.core.ids import EntityKey
    from perdure.storage.port import Store

log = logging.getLogger(__name__)

PAUSE_NS = MINUTE_NS
CHUNK_RUNS = 50


class Retention:
    """Deletes closed runs once their retention has expired.

    Args:
        store: Lists the expired runs.
        clock: Source of the current time.
        owned: The shards of this node that are ready.
        delete: Deletes one run durably, or gives it the later time that its namespace has by now. Returns false if it
            must stay for now.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        owned: Callable[[], Sequence[int]],
        delete: Callable[[EntityKey], Awaitable[bool]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._owned = owned
        self._delete = delete

    async def run(self) -> None:
        """Delete expired runs until cancelled."""
        while True:
            if not await self.sweep():
                await asyncio.sleep(PAUSE_NS / SECOND_NS)

    async def sweep(self) -> bool:
        """Delete one chunk. Returns true if more may be left."""
        deleted = 0
        try:
            keys = await self._store.expired(self._owned(), self._clock.now_ns(), CHUNK_RUNS)
        except StoreError as error:
            log.warning("closed runs could not be deleted (%s); again in a minute", error)
            return False
        for key in keys:
            try:
                deleted += await self._delete(key)
            except RpcError as error:
                # A damaged run stays, but it must not block the others.
                log.warning("%s could not be deleted (%s); again in a minute", key, error.message)
        return deleted == CHUNK_RUNS
