"""A committer over a database of which only the outcome of each commit is known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from perdure.core.ids import run_key
from perdure.history.entity_types import RUNS
from perdure.server.shards.committer import Committer
from perdure.server.shards.group import Entry, Group
from perdure.server.shards.shard import Shard
from perdure.storage.port import CommitBatch, GuiltyWrite, ShardLease, Store
from perdure.wire import errors
from tests.unit.server.virtual import virtual_clock


class Bench:
    """A committer over a database of which only the outcome of each commit is known, and its host."""

    def __init__(self) -> None:
        self.clock = virtual_clock()
        self.shards = [Shard(n) for n in range(3)]
        for shard in self.shards:
            shard.install(ShardLease(shard.shard_id, 1, 10, 0, 0, 0))
        self.committer = Committer(cast("Store", self), self.clock, self.dropped, self.settle)
        self.outcomes: list[Exception] = []
        self.batches: list[CommitBatch] = []
        self.tried: list[list[str]] = []
        self.told: list[tuple[str, type[errors.RpcError] | None]] = []
        self.messages: dict[str, str] = {}
        self.drops: list[tuple[int, bool]] = []
        self.batches_announced = 0
        self.has_landed: bool | Exception = True
        self.take_over_failures: list[Exception] = []
        self.suspended = asyncio.Event()
        self.take_over_gate = asyncio.Event()
        """Attempts to take shards over wait here after a failure."""
        self.gate = asyncio.Event()
        self.gate.set()
        self.broken_hosts: set[str] = set()
        self.names: dict[Group, str] = {}
        self.entries: dict[str, Entry] = {}
        self.loop = asyncio.ensure_future(self.committer.run())

    # The store.

    async def commit(self, batch: CommitBatch) -> None:
        self.tried.append([write.key.name for write in batch.writes])
        await self.gate.wait()
        if self.outcomes:
            raise self.outcomes.pop(0)
        self.batches.append(batch)

    # The host of groups.

    def batch_written(self) -> None:
        self.batches_announced += 1

    def durable(self, group: Group) -> None:
        self._tell(group, None)

    def failed(self, group: Group, error: errors.RpcError) -> None:
        self._tell(group, error)

    def _tell(self, group: Group, error: errors.RpcError | None) -> None:
        name = self.names[group]
        self.told.append((name, type(error) if error else None))
        self.messages[name] = error.message if error else ""
        group.settle(error)
        if name in self.broken_hosts:
            raise AssertionError("a bug in what follows a commit")

    # The shards.

    def dropped(self, shard: Shard, take_again: bool) -> None:
        self.drops.append((shard.shard_id, take_again))

    async def settle(self, shards: list[Shard], failed: Callable[[Exception], None]) -> bool:
        self.settled = [shard.shard_id for shard in shards]
        while self.take_over_failures:
            failed(self.take_over_failures.pop(0))
            self.suspended.set()
            await self.take_over_gate.wait()
        if isinstance(self.has_landed, Exception):
            raise self.has_landed
        return self.has_landed

    # Groups.

    def entry(self, name: str, shard: int = 0) -> Entry:
        if name not in self.entries:
            made = Entry(run_key("n", name, "r"), self.shards[shard], RUNS)
            made.number = len(self.entries) + 1
            self.entries[name] = made
        return self.entries[name]

    def group(
        self,
        name: str,
        writes: str,
        reads: str = "",
        *,
        shard: int = 0,
        size_bytes: int = 0,
        is_broken: bool = False,
    ) -> Group:
        """A group named `name` that writes and reads the entities of these letters, appended."""
        made = Group(self.shards[shard], cast("Any", self), [self.entry(x, shard) for x in reads])
        for letter in writes:
            made.write_of(self.entry(letter, shard))
        made.seal()
        made.size_bytes = size_bytes or made.size_bytes
        made.is_broken = is_broken
        self.names[made] = name
        self.committer.append(made)
        return made

    async def done(self) -> dict[str, type[errors.RpcError] | None]:
        await self.committer.flush()
        return dict(self.told)

    def guilty(self, *names: str) -> GuiltyWrite:
        return GuiltyWrite(frozenset(self.entries[n].number for n in names), "bad row (test)")
