"""Wake-ups: all that is due is fired, however many wait; failures wait for themselves only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from perdure.core.ids import EntityKey, run_key
from perdure.core.limits import DAMAGE_RETRY_NS
from perdure.core.units import MS_NS, SECOND_NS
from perdure.server.shards import wakes
from perdure.server.shards.wakes import Wakes
from perdure.storage.port import CommitBatch, EntityWrite, ShardWrite
from perdure.storage.sqlite import SqliteStore, open_memory
from perdure.wire.errors import Internal


class FixedClock:
    """A clock that is moved by hand."""

    def __init__(self, now_ns: int) -> None:
        self.wall_ns = now_ns

    def now_ns(self) -> int:
        return self.wall_ns

    def monotonic_ns(self) -> int:
        return self.wall_ns


class Entities:
    """Fires wake-ups by removing them from the store, as a transition would."""

    def __init__(self, store: SqliteStore, clock: FixedClock) -> None:
        self.store = store
        self.fired: list[EntityKey] = []
        self.failing: dict[EntityKey, int] = {}
        self.wakes = Wakes(store, clock, lambda: (0,), self.fire)
        self._numbers: dict[EntityKey, int] = {}
        self._range_id = self._sequence = 0
        self._writing = asyncio.Lock()

    async def open(self, wake_at_ns: dict[EntityKey, int]) -> None:
        lease = await self.store.acquire(0)
        self._range_id, self._sequence = lease.range_id, lease.sequence
        self._numbers = {key: number for number, key in enumerate(wake_at_ns, 1)}
        await self.write(
            *(
                EntityWrite(number=self._numbers[k], key=k, shard_id=0, is_new=True, wake_at_ns=at)
                for k, at in wake_at_ns.items()
            )
        )

    async def write(self, *writes: EntityWrite) -> None:
        async with self._writing:
            fence = ShardWrite(0, self._range_id, self._sequence, 0, 0)
            await self.store.commit(CommitBatch((fence,), writes))
            self._sequence += 1

    async def set_wake(self, key: EntityKey, at_ns: int) -> None:
        write = EntityWrite(number=self._numbers[key], key=key, shard_id=0, wake_at_ns=at_ns)
        await self.write(write)
        self.wakes.arm(key, at_ns)

    async def fire(self, key: EntityKey) -> None:
        await asyncio.sleep(0)
        if self.failing.get(key):
            self.failing[key] -= 1
            raise Internal("not yet")
        self.fired.append(key)
        await self.set_wake(key, 0)


NOW_NS = 1_000 * SECOND_NS


async def eventually(entities: Entities, count: int) -> None:
    async with asyncio.timeout(20):
        while len(entities.fired) < count:  # noqa: ASYNC110 -- fired from a loop that announces nothing
            await asyncio.sleep(0.005)


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    opened = open_memory()
    yield opened
    await opened.close()


async def run(
    store: SqliteStore, wake_at_ns: dict[EntityKey, int], clock: FixedClock
) -> tuple[Entities, asyncio.Task[None]]:
    entities = Entities(store, clock)
    await entities.open(wake_at_ns)
    return entities, asyncio.ensure_future(entities.wakes.run())


def key(number: int) -> EntityKey:
    return run_key("n", f"w{number}", "r")


async def test_more_than_one_scan_is_due(store: SqliteStore):
    total = 2 * wakes.SCAN_ROWS + 300
    clock = FixedClock(NOW_NS)
    # Many at the same nanosecond, so that a scan ends in the midst of equals.
    due = {key(n): NOW_NS - 5 + n % 3 for n in range(total)}
    entities, loop = await run(store, due, clock)
    await eventually(entities, total)
    assert sorted(entities.fired) == sorted(due)
    loop.cancel()


async def test_nothing_is_fired_before_its_time_and_the_far_future_is_found_later(
    store: SqliteStore,
):
    clock = FixedClock(NOW_NS)
    near, far = NOW_NS + SECOND_NS, NOW_NS + 5 * wakes.HORIZON_NS
    entities, loop = await run(store, {key(1): near, key(2): far}, clock)
    await asyncio.sleep(0.02)
    assert entities.fired == []
    for at_ns, expected in ((near, [key(1)]), (far, [key(1), key(2)])):
        clock.wall_ns = at_ns - 1
        entities.wakes._poked.set()
        await asyncio.sleep(0.01)
        assert len(entities.fired) == len(expected) - 1
        clock.wall_ns = at_ns
        entities.wakes._poked.set()
        await eventually(entities, len(expected))
        assert entities.fired == expected
    loop.cancel()


async def test_a_later_bound_replaces_the_earlier_one(store: SqliteStore):
    clock = FixedClock(NOW_NS)
    entities, loop = await run(
        store, {key(1): NOW_NS + SECOND_NS, key(2): NOW_NS + SECOND_NS}, clock
    )
    await asyncio.sleep(0.01)
    await entities.set_wake(key(1), NOW_NS + 2 * SECOND_NS)
    clock.wall_ns = NOW_NS + SECOND_NS
    entities.wakes._poked.set()
    await eventually(entities, 1)
    await asyncio.sleep(0.01)
    assert entities.fired == [key(2)]
    loop.cancel()


async def test_a_failing_one_delays_nobody_and_is_tried_again(store: SqliteStore):
    clock = FixedClock(NOW_NS)
    entities = Entities(store, clock)
    entities.failing[key(0)] = 2
    await entities.open({key(n): NOW_NS for n in range(100)})
    loop = asyncio.ensure_future(entities.wakes.run())
    await eventually(entities, 99)
    assert key(0) not in entities.fired
    for _ in range(2):
        clock.wall_ns += 4 * SECOND_NS + MS_NS
        entities.wakes._poked.set()
        await asyncio.sleep(0.02)
    await eventually(entities, 100)
    assert entities.fired[-1] == key(0)
    loop.cancel()


async def test_what_is_out_of_date_does_not_pile_up(store: SqliteStore):
    clock = FixedClock(0)
    wakes_ = Wakes(store, clock, lambda: (0,), lambda _: asyncio.sleep(0))
    await wakes_._scan(0)
    for n in range(5_000):
        key = run_key("n", str(n), "r")
        wakes_.arm(key, 10 * SECOND_NS + n)
        wakes_.arm(key, 0)
    wakes_.arm(run_key("n", "last", "r"), SECOND_NS)
    assert len(wakes_._heap) < 1_000
    assert wakes_._heap[0] == (SECOND_NS, run_key("n", "last", "r"))


async def test_a_table_that_cannot_be_read_is_asked_again_after_minutes():
    store, clock = open_memory(), FixedClock(1_000 * SECOND_NS)
    store.reading.execute("DROP TABLE wakes")
    made = Wakes(store, clock, lambda: (0,), lambda _: asyncio.sleep(0))
    await made._scan(clock.now_ns())
    assert made._horizon_ns == clock.now_ns() + DAMAGE_RETRY_NS
    store.reading.close()
    await made._scan(clock.now_ns())
    assert made._horizon_ns == clock.now_ns() + wakes.RETRY_NS, "any other error may pass"
