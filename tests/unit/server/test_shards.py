"""Shards: numbers that are never used twice, a clock that never goes back, and the way back after a loss."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from perdure.core.ids import EntityKey, run_key, shard_of
from perdure.history.entity_types import RUNS
from perdure.server.shards import node_shards as module
from perdure.server.shards.cache import EntityCache
from perdure.server.shards.group import Entry
from perdure.server.shards.node_shards import NodeShards
from perdure.server.shards.shard import Shard
from perdure.storage.port import DamagedWrite, NotWritten, ShardLease, Store
from tests.unit.server.virtual import on_virtual_time
from tests.unit.server.world import settle


def lease(range_id: int = 1, **changes: int) -> ShardLease:
    fields = {"sequence": 5, "clock_ns": 100, "last_entity": 7, "previous_range_id": range_id - 1}
    return ShardLease(shard_id=0, range_id=range_id, **(fields | changes))


async def test_task_rows_of_a_later_owner_come_after_all_of_an_earlier_one():
    shard = Shard(0)
    shard.install(lease(1))
    first = [shard.next_row() for _ in range(1_000)]
    assert first == sorted(set(first))
    shard.drop()
    shard.install(lease(2))
    assert shard.next_row() > first[-1]
    shard.install(lease(3))
    assert shard.next_row() > first[-1] + 2**35, "however many rows an owner makes"
    assert shard.next_row() < 2**63, "a row id is a 64-bit integer"


async def test_numbers_of_entities_are_unique_over_shards_and_owners():
    shards = [Shard(0), Shard(1)]
    seen: list[int] = []
    for shard in shards:
        shard.install(lease(last_entity=7))
        seen += [shard.next_entity() for _ in range(100)]
    assert len(set(seen)) == 200
    assert seen[0] == 8, "it goes on after the last one"
    shards[0].install(lease(2, last_entity=3))
    assert shards[0].next_entity() == 108, "what an owner gave out counts, though it was not stored"
    shards[0].install(lease(3, last_entity=500))
    assert shards[0].next_entity() == 501, "and what another owner stored"
    assert shards[0].fence().last_entity == 501
    assert shards[1].next_entity() == (1 << 40) + 108


async def test_the_clock_of_a_shard_never_goes_back():
    shard = Shard(0)
    shard.install(lease(clock_ns=100))
    assert shard.now_ns(50) == 100
    assert shard.now_ns(150) == 150
    assert shard.now_ns(120) == 150
    shard.install(lease(2, clock_ns=90))
    assert shard.now_ns(0) == 150
    shard.install(lease(3, clock_ns=200))
    assert shard.now_ns(0) == 200
    assert shard.fence().clock_ns == 200


async def test_the_fence_is_that_of_the_lease_and_a_drop_ends_the_epoch():
    shard = Shard(0)
    assert not shard.ready.is_set()
    shard.install(lease(4, sequence=9))
    assert shard.ready.is_set()
    fence = shard.fence()
    assert (fence.shard_id, fence.range_id, fence.sequence) == (0, 4, 9)
    epochs = [shard.epoch]
    for _ in range(3):
        shard.drop()
        epochs.append(shard.epoch)
        assert not shard.ready.is_set()
    assert epochs == sorted(set(epochs))
    shard.close()
    assert shard.ready.is_set(), "who waits is to look again"
    assert shard.is_closed


def ignore(_: Exception) -> None:
    """Take no notice of a failed attempt."""


class Leases:
    """A store of which only the leases count."""

    def __init__(self) -> None:
        self.shard_count = 3
        self.range_ids = [0, 0, 0]
        self.sequences = [0, 0, 0]
        self.failures: list[Exception] = []
        self.acquired: list[int] = []
        self.tries = 0
        self.cache = EntityCache(10**9)
        self.shards = NodeShards(cast("Store", self), self.cache, self.on_acquired)

    async def acquire(self, shard_id: int) -> ShardLease:
        self.tries += 1
        if self.failures:
            raise self.failures.pop(0)
        previous = self.range_ids[shard_id]
        self.range_ids[shard_id] += 1
        return ShardLease(shard_id, previous + 1, self.sequences[shard_id], 0, 0, previous)

    def on_acquired(self, shard: Shard) -> None:
        self.acquired.append(shard.shard_id)

    def shard(self, shard_id: int) -> Shard:
        return self.shards._shards[shard_id]

    def key_of(self, shard_id: int) -> EntityKey:
        keys = (run_key("n", str(n), "r") for n in range(1_000))
        return next(key for key in keys if shard_of(key, 3) == shard_id)


@on_virtual_time
async def test_all_shards_are_taken_over_at_the_start_and_announced():
    leases = Leases()
    assert leases.shards.ready_ids() == ()
    await leases.shards.acquire_all()
    assert leases.shards.ready_ids() == (0, 1, 2)
    assert leases.acquired == [0, 1, 2]
    assert [leases.shards.of(leases.key_of(n)).shard_id for n in range(3)] == [0, 1, 2]


@on_virtual_time
async def test_a_dropped_shard_loses_its_entities_and_comes_back_later_each_time():
    leases = Leases()
    await leases.shards.acquire_all()
    for shard_id in (0, 1):
        leases.cache.add(Entry(leases.key_of(shard_id), leases.shard(shard_id), RUNS))
    loop = asyncio.get_running_loop()
    pauses: list[float] = []
    for _ in range(6):
        began_s = loop.time()
        leases.shards.drop(leases.shard(0), True)
        assert leases.shards.ready_ids() == (1, 2)
        await leases.shard(0).ready.wait()
        pauses.append(round(loop.time() - began_s, 3))
    assert pauses == [0.1, 0.4, 1.6, 6.4, 25.6, 30], "two owners must not fight forever"
    assert leases.key_of(0) not in leases.cache
    assert leases.key_of(1) in leases.cache
    assert leases.acquired == [0, 1, 2, *[0] * 6]
    await asyncio.sleep(module.HELD_S + 1)
    began_s = loop.time()
    leases.shards.drop(leases.shard(0), True)
    await leases.shard(0).ready.wait()
    assert loop.time() - began_s == pytest.approx(0.1), "who held it for long is in no fight"


@on_virtual_time
async def test_a_shard_that_is_settled_later_is_not_taken_over_twice():
    leases = Leases()
    await leases.shards.acquire_all()
    leases.shards.drop(leases.shard(0), False)
    await asyncio.sleep(100)
    assert leases.tries == 3


@on_virtual_time
async def test_a_take_over_that_fails_is_repeated_with_pauses_that_grow_to_a_bound():
    leases = Leases()
    await leases.shards.acquire_all()
    loop = asyncio.get_running_loop()
    leases.failures = [*[NotWritten("no disk (test)")] * 8, AssertionError("a bug")]
    leases.shards.drop(leases.shard(0), True)
    await leases.shard(0).ready.wait()
    assert leases.tries == 3 + 10
    pauses_s = 0.1 + sum((0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5))
    assert loop.time() == pytest.approx(pauses_s)


@on_virtual_time
async def test_a_shard_in_doubt_can_be_read_once_a_take_over_has_failed():
    leases = Leases()
    await leases.shards.acquire_all()
    in_doubt = [leases.shard(0), leases.shard(1)]
    for shard in in_doubt:
        leases.shards.drop(shard, False)
    leases.failures = [NotWritten("no disk (test)"), AssertionError("a bug")]
    failures: list[Exception] = []

    def failed(error: Exception) -> None:
        failures.append(error)
        assert leases.shards.ready_ids() == (2,)
        for shard in in_doubt:
            assert shard.answers.is_set(), "nobody waits for it"
            assert (shard.is_suspended, shard.is_readable) == (True, True)
        if len(failures) == 1:
            leases.cache.add(Entry(leases.key_of(0), leases.shard(0), RUNS))
            leases.cache.add(Entry(leases.key_of(1), leases.shard(1), RUNS))
            leases.cache.add(Entry(leases.key_of(2), leases.shard(2), RUNS))

    epochs = [shard.epoch for shard in in_doubt]
    await leases.shards.settle(in_doubt, failed)
    assert [type(error) for error in failures] == [NotWritten, AssertionError]
    assert leases.shards.ready_ids() == (0, 1, 2)
    assert not any(shard.is_suspended or shard.is_readable for shard in in_doubt)
    assert [shard.epoch for shard in in_doubt] > epochs, "loads that began before are not taken"
    assert [leases.key_of(n) in leases.cache for n in range(3)] == [False, False, True]


@on_virtual_time
async def test_what_was_read_of_a_shard_in_doubt_is_not_served_once_its_row_is_damaged():
    leases = Leases()
    await leases.shards.acquire_all()
    shard = leases.shard(0)
    leases.shards.drop(shard, False)
    leases.failures = [NotWritten("no disk (test)"), DamagedWrite("no row (test)")]

    def failed(_: Exception) -> None:
        leases.cache.add(Entry(leases.key_of(0), shard, RUNS))

    with pytest.raises(DamagedWrite):
        await leases.shards.settle([shard], failed)
    assert leases.key_of(0) not in leases.cache
    assert shard.answers.is_set()


@on_virtual_time
async def test_a_shard_that_is_taken_over_at_once_is_not_read_before():
    leases = Leases()
    await leases.shards.acquire_all()
    leases.shards.drop(leases.shard(0), False)
    assert not leases.shard(0).answers.is_set()
    epoch = leases.shard(0).epoch
    await leases.shards.settle([leases.shard(0)], ignore)
    assert leases.shard(0).answers.is_set()
    assert leases.shard(0).epoch == epoch


@on_virtual_time
async def test_a_shard_that_another_node_may_own_is_refused_and_not_read_while_its_take_over_fails():
    leases = Leases()
    await leases.shards.acquire_all()
    leases.failures = [NotWritten("no disk (test)")] * 2
    shard = leases.shard(0)
    leases.shards.drop(shard, True)
    await shard.answers.wait()
    assert (shard.is_suspended, shard.is_readable, shard.ready.is_set()) == (True, False, False)
    await shard.ready.wait()
    assert not shard.is_suspended


@pytest.mark.parametrize(
    ("sequences", "intruder", "landed"),
    [
        ((1, 1), None, True),
        ((0, 0), None, False),
        ((1, 0), None, False),
        ((0, 1), None, False),
        ((1, 1), 0, False),
        ((1, 1), 1, False),
        ((2, 1), None, False),
    ],
)
@on_virtual_time
async def test_a_batch_has_landed_when_every_fence_is_one_further_and_no_owner_came_between(
    sequences: tuple[int, int], intruder: int | None, landed: bool
):
    leases = Leases()
    await leases.shards.acquire_all()
    shards = [leases.shard(0), leases.shard(1)]
    for shard, sequence in zip(shards, sequences, strict=True):
        leases.sequences[shard.shard_id] = sequence
    if intruder is not None:
        leases.range_ids[intruder] += 1
    for shard in shards:
        leases.shards.drop(shard, False)
    assert await leases.shards.settle(shards, ignore) is landed
    assert leases.shards.ready_ids() == (0, 1, 2), "each is ours again, whatever the outcome"
    assert [shard.sequence for shard in shards] == list(sequences)


@on_virtual_time
async def test_after_the_end_nothing_is_taken_over_and_who_waits_is_told():
    leases = Leases()
    await leases.shards.acquire_all()
    leases.shards.drop(leases.shard(0), True)
    waiting = asyncio.ensure_future(leases.shard(0).ready.wait())
    await settle()
    assert not waiting.done()
    leases.shards.stop()
    await waiting
    assert leases.shard(0).is_closed
    await asyncio.sleep(100)
    assert leases.tries == 3
