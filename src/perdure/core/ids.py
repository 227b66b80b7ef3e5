"""Ids as types: entities, task queues, rows.

An *entity* is whatever the shards own and commit: a workflow run, the pointer from a workflow id to its current run,
a namespace. Its shard depends on (namespace, name) alone, never on the run id, so a run and its pointer live together.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from enum import IntEnum
from functools import lru_cache
from os import urandom
from time import time_ns
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from perdure.core.units import MS_NS

if TYPE_CHECKING:
    from random import Random


class EntityKind(IntEnum):
    """The kinds of entities that every server has. Numbers are stored: never reuse one.

    Others may be registered (`perdure.entity.entity_type`).
    """

    RUN = 1
    WORKFLOW_ID = 2
    NAMESPACE = 3


class EntityKey(NamedTuple):
    """The durable name of an entity. `run_id` is empty for every kind but RUN."""

    kind: int
    """An `EntityKind`, or the number of another registered kind."""
    namespace_id: str
    name: str
    run_id: str = ""


# A workflow asks for the same two keys some twenty times within milliseconds, and finding one costs a third of making
# it. As many are kept as workflows may well be in progress at a time.
_KEYS_KEPT = 1_024


@lru_cache(_KEYS_KEPT)
def run_key(namespace_id: str, workflow_id: str, run_id: str) -> EntityKey:
    """One run of a workflow id."""
    return EntityKey(EntityKind.RUN, namespace_id, workflow_id, run_id)


@lru_cache(_KEYS_KEPT)
def workflow_id_key(namespace_id: str, workflow_id: str) -> EntityKey:
    """The pointer to the current run of a workflow id."""
    return EntityKey(EntityKind.WORKFLOW_ID, namespace_id, workflow_id)


def shard_of(key: EntityKey, shard_count: int) -> int:
    return crc32(f"{key.namespace_id}\x00{key.name}".encode()) % shard_count


ENTITY_BITS = 40
"""The number of an entity has the id of its shard above these bits, and below a count that the shard stores."""
TASK_BITS = 36
"""The sequence of a task or outbox row has the shard's range id above these bits, and below a count of that owner."""


RESERVED_QUEUES = "/_sys/"
"""Task queues whose names begin so are partitions: no task may be sent to them, and none polled from them."""


class QueueKind(IntEnum):
    """Which kind of task a queue holds. Numbers are stored: never reuse one."""

    WORKFLOW = 1
    ACTIVITY = 2
    NEXUS = 3
    """Polled and shut down like the others; there are no tasks of this kind yet."""


class QueueKey(NamedTuple):
    """A task queue. Sticky queues have a name of their own, so they need no further field."""

    namespace_id: str
    name: str
    kind: QueueKind


class TaskRowId(NamedTuple):
    """Where a task row lies: queues are read per (queue, shard) in the shard's commit order."""

    queue: QueueKey
    shard_id: int
    sequence: int


_ENTROPY_BYTES = 10
_POOL_BYTES = 256 * _ENTROPY_BYTES
KEY_BYTES = 32


class _IdSource:
    """The one home of random ids. A simulation replaces the source by a seeded one."""

    random: Random | None = None
    pool: Iterator[bytes] = iter(())
    """Entropy drawn from the system and not used yet: one draw per id would be most of its price."""


def _entropy() -> bytes:
    """Random bytes for one id. Each is handed out once, whichever threads ask: `next` on an iterator is atomic."""
    found = next(_IdSource.pool, None)
    if found is None:
        drawn = urandom(_POOL_BYTES)
        # A list iterator: it runs in C, so that no other thread comes between.
        pool = iter(
            [drawn[at : at + _ENTROPY_BYTES] for at in range(0, len(drawn), _ENTROPY_BYTES)]
        )
        found = next(pool)
        _IdSource.pool = pool
    return found


def _forget_entropy() -> None:
    """In a forked child: parent and child would draw the same ids."""
    _IdSource.pool = iter(())


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_entropy)


def new_id() -> str:
    """A fresh UUID as text: run ids, request ids, instance keys.

    Version 7, as the reference server's run ids: they begin with the time, so that new rows lie together.
    """
    source = _IdSource.random
    if source is None:
        high, low = time_ns() // MS_NS, int.from_bytes(_entropy(), "big")
    else:
        high, low = source.getrandbits(48), source.getrandbits(80)
    # The five groups one by one, with version 7 and the variant 0b10 in their places: slicing 32 digits takes longer.
    return (
        f"{high >> 16:08x}-{high & 0xFFFF:04x}-7{low >> 64 & 0xFFF:03x}"
        f"-{low >> 48 & 0x3FFF | 0x8000:04x}-{low & 0xFFFF_FFFF_FFFF:012x}"
    )


def new_key() -> bytes:
    """A secret of 256 bits."""
    source = _IdSource.random
    return urandom(KEY_BYTES) if source is None else source.randbytes(KEY_BYTES)


@contextmanager
def seeded_ids(random: Random) -> Generator[None]:
    """Draw every id from `random` inside the block, in the whole process: for simulations."""
    before, _IdSource.random = _IdSource.random, random
    try:
        yield
    finally:
        _IdSource.random = before
