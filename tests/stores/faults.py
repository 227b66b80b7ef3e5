"""A store that really stores, and fails when told to: full disk, poison rows, unknown outcomes, slow commits."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from perdure.core.ids import EntityKey
from perdure.storage.port import (
    CommitBatch,
    DamagedWrite,
    EntityWrite,
    FactRow,
    NotWritten,
    ShardLease,
    Store,
    StoredEntity,
    StoreFull,
    UnknownOutcome,
)


class FaultyStore:
    """Wraps a store; everything not named here goes straight through."""

    def __init__(self, store: Store) -> None:
        self.inner: Any = store
        self.is_full = False
        self.is_unwritable = False
        """Nothing can be written, neither a commit nor a take-over; of a commit the outcome is unknown."""
        self.damaged_shards: set[int] = set()
        """Shards whose rows are damaged: they cannot be taken over."""
        self.takeovers = 0
        self.poisoned: set[str] = set()
        """Names of entities whose facts the database will refuse."""
        self.unknown: str = ""
        """`landed` or `lost`: what becomes of the next batch, whose outcome nobody is told."""
        self.gate = asyncio.Event()
        """Commits wait here before they reach the store."""
        self.gate.set()
        self.waiting = asyncio.Event()
        """Set when a commit waits at the gate."""
        self.load_gate = asyncio.Event()
        self.load_gate.set()
        self.batches: list[CommitBatch] = []
        self.loads: list[EntityKey] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def load(self, key: EntityKey) -> StoredEntity | None:
        self.loads.append(key)
        found = await self.inner.load(key)
        await self.load_gate.wait()
        return found

    async def acquire(self, shard_id: int) -> ShardLease:
        self.takeovers += 1
        if shard_id in self.damaged_shards:
            raise DamagedWrite(f"the row of shard {shard_id} is missing (test)")
        if self.is_unwritable:
            raise NotWritten("disk I/O error (test)")
        return await self.inner.acquire(shard_id)

    async def commit(self, batch: CommitBatch) -> None:
        self.waiting.set()
        await self.gate.wait()
        self.waiting.clear()
        if self.is_full:
            raise StoreFull("no space left (test)")
        unknown, self.unknown = self.unknown, ""
        if unknown == "lost" or (self.is_unwritable and not unknown):
            raise UnknownOutcome("nobody knows (test)")
        writes = tuple(self._poison(write) for write in batch.writes)
        await self.inner.commit(CommitBatch(batch.shards, writes))
        self.batches.append(batch)
        if unknown:
            raise UnknownOutcome("nobody knows (test)")

    def _poison(self, write: EntityWrite) -> EntityWrite:
        if write.key.name not in self.poisoned:
            return write
        bad: Any = object()  # no database knows how to store this
        return msgspec.structs.replace(write, facts=(*write.facts, FactRow(99, "poison", bad)))
