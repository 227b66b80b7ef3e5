"""Wake-ups on virtual time: each at its moment, however many there are, and what failed again after a pause."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import pytest

from perdure.core.ids import EntityKey, run_key
from perdure.core.limits import DAMAGE_RETRY_NS
from perdure.core.units import MINUTE_NS, SECOND_NS
from perdure.server.shards import wakes as module
from perdure.server.shards.wakes import Wakes
from perdure.storage.port import Store, StoreError, WakeRow
from perdure.testing.simulation.loop import EPOCH_NS, SimClock
from perdure.wire.errors import DataLoss, Internal, NotFound, ResourceExhausted, Unavailable
from tests.unit.server.virtual import on_virtual_time, virtual_clock


def key(number: int) -> EntityKey:
    return run_key("n", f"w{number}", "r")


class Table:
    """The wake-up table of some shards, the entities in it, and what happens when one is woken."""

    def __init__(self, clock: SimClock | None = None) -> None:
        self.clock = clock or virtual_clock()
        self.rows: dict[EntityKey, int] = {}
        self.shard_of: dict[EntityKey, int] = {}
        self.owned = [0]
        self.scans: list[tuple[float, Sequence[int]]] = []
        self.scan_errors: list[Exception] = []
        self.scan_gate = asyncio.Event()
        self.scan_gate.set()
        self.fired: list[tuple[float, EntityKey]] = []
        self.errors: dict[EntityKey, list[Exception]] = {}
        self.busy_s = 0.0
        self.at_once = self.at_once_max = 0
        self.next_ns: dict[EntityKey, int] = {}
        self.broken: list[object] = []
        """Errors that nobody dealt with."""
        self.silent: set[EntityKey] = set()
        """Those whose change says nothing of their wake-up, though another owner's does."""
        self.subject = Wakes(cast("Store", self), self.clock, lambda: tuple(self.owned), self.fire)

    def start(self) -> asyncio.Task[None]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.broken.append(context))
        return asyncio.ensure_future(self.subject.run())

    @property
    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def set(self, each: EntityKey, after_s: float, shard: int = 0) -> None:
        """Only the row: as an earlier owner left it."""
        self.rows[each] = EPOCH_NS + int(after_s * SECOND_NS)
        self.shard_of[each] = shard

    def arm(self, each: EntityKey, after_s: float) -> None:
        """The row, and the news of it."""
        self.set(each, after_s)
        self.subject.arm(each, self.rows[each])

    async def wakes(self, shards: Sequence[int], until_ns: int, limit: int) -> list[WakeRow]:
        self.scans.append((self.now_s, tuple(shards)))
        found = sorted(
            WakeRow(at, each)
            for each, at in self.rows.items()
            if self.shard_of[each] in shards and at < until_ns
        )
        await self.scan_gate.wait()
        if self.scan_errors:
            raise self.scan_errors.pop(0)
        return found[:limit]

    async def fire(self, each: EntityKey) -> None:
        self.fired.append((round(self.now_s, 6), each))
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            await asyncio.sleep(self.busy_s)
        finally:
            self.at_once -= 1
        if self.errors.get(each):
            raise self.errors[each].pop(0)
        if each in self.silent:
            return
        self.rows.pop(each)
        next_ns = self.next_ns.pop(each, 0)
        if next_ns:
            self.rows[each] = next_ns
        self.subject.arm(each, next_ns)

    def times(self, each: EntityKey) -> list[float]:
        return [at for at, fired in self.fired if fired == each]


@on_virtual_time
async def test_each_fires_at_its_moment_whether_it_is_near_or_far():
    table = Table()
    moments = (0.0, 0.5, 10.0, 59.999, 60.0, 60.001, 119.5, 180.0, 3_600.0, 7_200.0)
    for number, at_s in enumerate(moments):
        table.set(key(number), at_s)
    table.start()
    await asyncio.sleep(8_000)
    assert table.fired == [(at_s, key(n)) for n, at_s in enumerate(moments)]
    assert not table.rows
    gc.collect()
    assert table.broken == []


@on_virtual_time
async def test_each_of_thousands_fires_at_its_moment():
    table = Table()
    count = 3 * module.SCAN_ROWS
    for number in range(count):
        table.set(key(number), 0.02 * number, shard=number % 2)
    table.owned = [0, 1]
    table.start()
    await asyncio.sleep(0.02 * count)
    assert [each for _, each in table.fired] == [key(n) for n in range(count)]
    late_s = [at_s - 0.02 * number for number, (at_s, _) in enumerate(table.fired)]
    assert max(late_s) < 0.001


@on_virtual_time
async def test_what_is_armed_while_it_runs_fires_at_its_moment():
    table = Table()
    table.start()
    await asyncio.sleep(1)
    table.arm(key(1), 30.0)
    table.arm(key(2), 20.0)  # earlier than what is known
    table.arm(key(3), 100.0)  # beyond what is kept in memory
    table.arm(key(4), 25.0)
    table.arm(key(4), 26.0)
    table.arm(key(5), 27.0)
    table.rows.pop(key(5))
    table.subject.arm(key(5), 0)
    assert set(table.subject._armed) == {key(1), key(2), key(4)}, "the far future is left to rows"
    await asyncio.sleep(200)
    assert table.fired == [(20.0, key(2)), (26.0, key(4)), (30.0, key(1)), (100.0, key(3))]


@on_virtual_time
async def test_a_scan_that_failed_is_repeated_after_a_second():
    table = Table()
    table.scan_errors = [StoreError("no answer (test)"), AssertionError("a bug")]
    table.set(key(1), 1.0)
    table.set(key(2), 2.5)
    table.start()
    await asyncio.sleep(30)
    assert table.fired == [(2.0, key(1)), (2.5, key(2))]
    assert [at_s for at_s, _ in table.scans] == [0, 1, 2]


@on_virtual_time
async def test_a_shard_that_is_taken_over_during_a_scan_is_read_at_once():
    table = Table()
    table.set(key(0), 5.0)
    table.set(key(1), 6.0, shard=1)
    table.scan_gate.clear()
    table.start()
    await asyncio.sleep(1)
    table.owned.append(1)
    table.subject.rescan()
    table.scan_gate.set()
    await asyncio.sleep(30)
    assert table.fired == [(5.0, key(0)), (6.0, key(1))]
    assert [shards for _, shards in table.scans[:2]] == [(0,), (0, 1)]


@on_virtual_time
async def test_a_shard_that_is_taken_over_later_is_read_at_once_too():
    table = Table()
    table.start()
    await asyncio.sleep(3)
    table.set(key(1), 4.0, shard=1)
    table.owned.append(1)
    table.subject.rescan()
    await asyncio.sleep(30)
    assert table.fired == [(4.0, key(1))]


@pytest.mark.parametrize(
    ("error", "pauses_s"),
    [
        (Internal("a bug"), [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]),
        (AssertionError("a bug"), [1, 2, 4, 8]),
        (Unavailable("no disk"), [1, 2, 4, 5, 5]),
        (ResourceExhausted("full"), [1, 2, 4, 5, 5]),
    ],
)
@on_virtual_time
async def test_a_wake_up_that_fails_comes_again_after_pauses_that_grow_to_a_bound(
    error: Exception, pauses_s: list[int]
):
    table = Table()
    table.set(key(1), 10.0)
    table.errors[key(1)] = [error] * len(pauses_s)
    table.start()
    await asyncio.sleep(3_000)
    times = table.times(key(1))
    assert times[0] == 10
    assert [b - a for a, b in pairwise(times)] == pytest.approx(pauses_s)
    table.errors[key(1)] = [error]
    table.arm(key(1), 4_000.0)
    await asyncio.sleep(2_000)
    assert table.times(key(1))[-2:] == [4_000, 4_001], "after a success it begins anew"


@on_virtual_time
async def test_a_run_that_is_gone_is_not_woken_again():
    table = Table()
    table.set(key(1), 1.0)
    table.set(key(2), 1.0)
    table.errors[key(1)] = [NotFound("no such run")] * 5
    table.errors[key(2)] = [Internal("a bug"), NotFound("no such run")]
    table.start()
    await asyncio.sleep(0.5)
    for each in (key(1), key(2)):
        table.rows.pop(each)
    await asyncio.sleep(600)
    assert table.times(key(1)) == [1.0]
    assert table.times(key(2)) == [1.0, 2.0]
    assert not table.subject._failures
    gc.collect()
    assert table.broken == []


@on_virtual_time
async def test_a_new_bound_ends_the_pauses_of_a_wake_up_that_failed():
    table = Table()
    table.set(key(1), 0.0)
    table.errors[key(1)] = [Internal("a bug")] * 6
    table.start()
    await asyncio.sleep(31.5)  # it failed at 0, 1, 3, 7, 15 and 31
    assert len(table.times(key(1))) == 6
    table.errors[key(1)] = [Internal("a bug")]
    table.arm(key(1), 32.0)
    await asyncio.sleep(10)
    assert table.times(key(1))[6:] == [32.0, 33.0]


@on_virtual_time
async def test_a_run_that_asks_again_while_it_is_woken_is_woken_again():
    table = Table()
    table.busy_s = 2.0
    table.set(key(1), 1.0)
    table.start()
    table.next_ns[key(1)] = EPOCH_NS + 2 * SECOND_NS  # past when the first one ends
    await asyncio.sleep(60)
    assert table.times(key(1)) == [1.0, 3.0]
    assert table.at_once_max == 1, "never twice at once"


@on_virtual_time
async def test_no_more_than_a_few_are_woken_at_once_and_the_next_as_soon_as_one_is_done():
    table = Table()
    table.busy_s = 1.0
    count = 3 * module.FIRING_MAX
    for number in range(count):
        table.set(key(number), 5.0)
    table.start()
    await asyncio.sleep(30)
    assert table.at_once_max == module.FIRING_MAX
    assert Counter(at_s for at_s, _ in table.fired) == {5.0: 64, 6.0: 64, 7.0: 64}


@on_virtual_time
async def test_many_that_fail_hinder_none_behind_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "SCAN_ROWS", 200)
    table = Table()
    for number in range(module.SCAN_ROWS + 100):
        table.set(key(number), 0.001 * number)
        if number < module.SCAN_ROWS:
            table.errors[key(number)] = [Internal("a bug")] * 100
    table.start()
    await asyncio.sleep(120)
    first = {each: at_s for at_s, each in reversed(table.fired)}
    assert set(first) == {key(n) for n in range(module.SCAN_ROWS + 100)}
    behind = range(module.SCAN_ROWS, module.SCAN_ROWS + 100)
    assert all(first[key(n)] < 5 for n in behind)
    table.owned.append(1)
    table.set(key(9_999), 130.0, shard=1)
    table.subject.rescan()
    await asyncio.sleep(15)
    assert len(table.scans) < 1_000, "without progress it pauses"


@on_virtual_time
async def test_a_wall_clock_that_jumps_is_noticed_within_ten_seconds():
    clock = virtual_clock()
    table = Table(clock)
    table.set(key(1), 40.0)
    table.set(key(2), 1_000.0)
    table.start()
    await asyncio.sleep(1)
    clock.skew_ns = 2 * MINUTE_NS
    await asyncio.sleep(10)
    assert [each for _, each in table.fired] == [key(1)]
    clock.skew_ns = 1_000 * SECOND_NS
    table.subject.poke()
    await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    assert [each for _, each in table.fired] == [key(1), key(2)], "at once when it is told"


@on_virtual_time
async def test_the_earliest_is_told_however_far_it_is_and_whether_one_is_under_way():
    table = Table()
    assert await table.subject.earliest() is None
    table.set(key(1), 10.0**8)
    table.set(key(2), 10.0**8 + 1, shard=1)
    earliest = await table.subject.earliest()
    assert earliest == WakeRow(table.rows[key(1)], key(1))
    table.set(key(3), 1.0)
    table.busy_s = 3.0
    table.start()
    await asyncio.sleep(0.9)
    assert not table.subject.is_firing
    await asyncio.sleep(0.2)
    assert table.subject.is_firing
    stopping = asyncio.ensure_future(table.subject.stop())
    await asyncio.sleep(2.8)
    assert not stopping.done()
    await stopping
    assert not table.subject.is_firing


@on_virtual_time
async def test_an_idle_table_is_read_once_a_minute():
    table = Table()
    table.start()
    await asyncio.sleep(600)
    assert [at_s for at_s, _ in table.scans] == [60.0 * n for n in range(11)][: len(table.scans)]
    assert len(table.scans) >= 10


@on_virtual_time
async def test_a_run_that_is_being_woken_is_not_woken_besides_by_a_scan_or_a_new_bound():
    table = Table()
    table.busy_s = 2.0
    table.set(key(1), 1.0)
    table.set(key(2), 1.0)
    table.set(key(3), 1.0)
    table.silent = {key(3)}
    table.start()
    await asyncio.sleep(1.5)
    table.subject.rescan()
    await asyncio.sleep(0.1)
    for each in (key(2), key(3)):
        table.subject.arm(each, EPOCH_NS + int(1.7 * SECOND_NS))
    await asyncio.sleep(30)
    assert table.times(key(1)) == [1.0], "the scan found its row, which was about to go"
    assert table.times(key(2)) == [1.0], "the change that ended then asked for nothing more"
    assert table.times(key(3)) == [1.0, 3.0], "its bound came while it was woken, and holds"
    assert table.at_once_max == 3


@on_virtual_time
async def test_a_wake_up_that_failed_once_is_found_by_later_scans_again():
    table = Table()
    table.set(key(1), 1.0)
    table.errors[key(1)] = [Internal("a bug")]
    table.silent = {key(1)}
    table.start()
    await asyncio.sleep(1.5)
    table.set(key(1), 200.0)
    await asyncio.sleep(300)
    assert table.times(key(1))[:3] == [1.0, 2.0, 200.0]


@on_virtual_time
async def test_what_damage_prevents_is_tried_again_after_minutes_and_logged_once(
    caplog: pytest.LogCaptureFixture,
):
    table = Table()
    table.errors = {key(0): [DataLoss("cannot be read back") for _ in range(3)]}
    table.set(key(0), 1.0)
    table.set(key(1), 2.0)
    table.start()
    pause_s = DAMAGE_RETRY_NS / SECOND_NS
    assert pause_s >= 60
    with caplog.at_level("INFO"):
        await asyncio.sleep(5 * pause_s)
    tries = [1.0 + number * pause_s for number in range(4)]
    assert table.times(key(0)) == tries
    assert table.times(key(1)) == [2.0], "it holds up no other"
    assert [r.levelname for r in caplog.records] == ["ERROR", "INFO"]
    assert "cannot be woken before the database is repaired" in caplog.messages[0]
    assert "can be woken again" in caplog.messages[1]
    table.errors = {key(0): [DataLoss("damaged again")]}
    table.arm(key(0), 6 * pause_s)
    await asyncio.sleep(3 * pause_s)
    assert table.times(key(0))[4:] == [6 * pause_s, 7 * pause_s]
    assert "damaged again" in caplog.messages[2], "the next outage is logged too"
    assert table.broken == []


@on_virtual_time
async def test_a_change_of_a_damaged_entity_makes_its_wake_up_ordinary_again():
    table = Table()
    table.errors = {key(0): [DataLoss("cannot be read back")]}
    table.arm(key(0), 1.0)
    table.start()
    await asyncio.sleep(2)
    table.arm(key(0), 5.0)
    await asyncio.sleep(10)
    assert table.times(key(0)) == [1.0, 5.0]
