"""A shard from its owner's point of view: the lease, the epoch, and the counters that its commits carry.

Invariants: `epoch` grows whenever the shard is dropped, so that a load that began earlier is never installed; task
sequences start with the range id, so that no owner reuses a number of an earlier one; `clock_ns` never goes back and is
stored with every commit.
"""

from __future__ import annotations

import asyncio

from perdure.core.ids import ENTITY_BITS, TASK_BITS
from perdure.storage.port import DamageError, ShardLease, ShardWrite


class Shard:
    """One shard of this node. Not ready until `install`, and again after `drop`.

    When it cannot be acquired, `suspend` ends the waiting of callers: they are refused, or read what is stored.
    """

    def __init__(self, shard_id: int) -> None:
        self.shard_id = shard_id
        self.epoch = 0
        self.ready = asyncio.Event()
        """Set while this node owns the shard, and when the node has closed."""
        self.answers = asyncio.Event()
        """Set unless callers should wait, because the shard will soon be ready."""
        self.is_suspended = False
        self.is_readable = False
        """Whether, while it is suspended, what is stored may be read: no other node can write it."""
        self.damage: DamageError | None = None
        """Why it will never be acquired again."""
        self.is_closed = False
        self.range_id = 0
        self.sequence = 0
        self.clock_ns = 0
        self._last_entity = 0
        self._last_task = 0

    def install(self, lease: ShardLease) -> None:
        """Become the owner of the shard under this lease."""
        self.range_id = lease.range_id
        self.sequence = lease.sequence
        self.clock_ns = max(self.clock_ns, lease.clock_ns)
        self._last_entity = max(self._last_entity, lease.last_entity)
        self._last_task = lease.range_id << TASK_BITS
        self.is_suspended = self.is_readable = False
        self.ready.set()
        self.answers.set()

    def drop(self) -> None:
        """Invalidate everything computed under this ownership."""
        self.epoch += 1
        self.is_suspended = self.is_readable = False
        self.ready.clear()
        self.answers.clear()

    def suspend(self, *, is_readable: bool) -> None:
        """End the waiting of callers, because the shard cannot be acquired for now."""
        self.is_suspended, self.is_readable = True, is_readable
        self.answers.set()

    def refuse(self, damage: DamageError) -> None:
        """Give the shard up: its row is damaged, and trying again does not help."""
        self.damage = damage
        self.answers.set()

    def close(self) -> None:
        """Wake everything that waits for the shard; it then finds that the node has closed."""
        self.is_closed = True
        self.ready.set()
        self.answers.set()

    def now_ns(self, node_ns: int) -> int:
        """The time of a transition: that of the node's clock, but never before what this shard has stored."""
        if node_ns > self.clock_ns:  # noqa: PLR1730  # a call for each change
            self.clock_ns = node_ns
        return self.clock_ns

    def next_entity(self) -> int:
        """A number for a new entity, unique across all shards."""
        self._last_entity += 1
        return self.shard_id << ENTITY_BITS | self._last_entity

    def next_row(self) -> int:
        """The sequence of a new task or outbox row. Sequences grow in commit order."""
        self._last_task += 1
        return self._last_task

    def fence(self) -> ShardWrite:
        return ShardWrite(
            self.shard_id, self.range_id, self.sequence, self.clock_ns, self._last_entity
        )
