"""When a batch closes, and which groups are in it."""

from __future__ import annotations

import asyncio

import pytest

from perdure.core.units import SECOND_NS
from perdure.server.shards import committer as module
from perdure.server.shards.committer import CallsUnderWay
from tests.unit.server.bench import Bench
from tests.unit.server.virtual import on_virtual_time
from tests.unit.server.world import settle


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ((10, 10, 80), [3]),
        ((10, 10, 81), [2, 1]),
        ((200, 10, 10), [1, 2]),
        ((60, 60, 40, 1), [1, 2, 1]),
    ],
)
@on_virtual_time
async def test_a_batch_is_bounded_in_bytes_and_holds_one_group_at_least(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...], batches: list[int]
):
    monkeypatch.setattr(module, "BATCH_BYTES_MAX", 100)
    bench = Bench()
    for number, size_bytes in enumerate(sizes):
        bench.group(str(number), str(number), size_bytes=size_bytes)
    await bench.done()
    assert [len(batch) for batch in bench.tried] == batches
    assert [name for name, _ in bench.told] == [str(n) for n in range(len(sizes))]


@on_virtual_time
async def test_what_joins_in_the_following_turns_of_the_loop_is_in_the_batch():
    bench = Bench()
    for number in range(20):
        name = chr(ord("a") + number)
        bench.group(name, name)
        for _ in range(module.QUIET_ROUNDS - 1):
            await asyncio.sleep(0)
    await bench.done()
    first, second = bench.tried
    assert len(first) == pytest.approx(module.ROUNDS_MAX / (module.QUIET_ROUNDS - 1), abs=2)
    assert len(first) + len(second) == 20


@on_virtual_time
async def test_a_batch_closes_after_a_few_quiet_turns():
    bench = Bench()
    bench.group("1", "a")
    for _ in range(module.QUIET_ROUNDS + 4):
        await asyncio.sleep(0)
    assert bench.tried == [["a"]]


@on_virtual_time
async def test_a_batch_waits_for_calls_under_way_and_no_longer_than_its_window():
    bench = Bench()
    loop = asyncio.get_running_loop()
    with bench.committer.under_way():
        bench.group("1", "a")
        await asyncio.sleep(0.0005)
        assert bench.tried == []
        bench.group("2", "b")
    await bench.done()
    assert bench.tried == [["a", "b"]], "the batch closes when the last call has come"
    assert loop.time() == pytest.approx(0.0005)
    with bench.committer.under_way():
        bench.group("3", "c")
        assert (await bench.done())["3"] is None
    assert loop.time() == pytest.approx(0.0005 + module.WINDOW_NS / SECOND_NS)


@on_virtual_time
async def test_without_calls_under_way_no_time_passes():
    bench = Bench()
    for number in range(5):
        bench.group(str(number), "a")
        await bench.done()
    assert asyncio.get_running_loop().time() == 0


@on_virtual_time
async def test_many_remote_callers_are_waited_for():
    bench = Bench()
    loop = asyncio.get_running_loop()
    for _ in range(40):
        for letter in "abc":
            bench.group(letter, letter)
        await asyncio.sleep(module.BATCHING_DELAY_NS / SECOND_NS / 2)
        for letter in "def":  # they come late each time
            bench.group(letter, letter)
        await bench.done()
    assert bench.tried[-1] == ["a", "b", "c", "d", "e", "f"]
    assert loop.time() < 1


def test_calls_under_way_are_counted_and_the_last_one_wakes_who_waits():
    async def main() -> None:
        calls = CallsUnderWay()
        waiting = asyncio.ensure_future(calls.idle.wait())
        with calls:
            with calls:
                assert calls.count == 2
            await settle()
            assert (calls.count, waiting.done()) == (1, False)
        await settle()
        assert (calls.count, waiting.done()) == (0, True)
        again = asyncio.ensure_future(calls.idle.wait())
        await settle()
        assert not again.done(), "it is told each time, not kept"
        again.cancel()

    asyncio.run(main())


@on_virtual_time
async def test_a_flush_waits_until_all_is_settled():
    bench = Bench()
    bench.gate.clear()
    bench.group("1", "a")
    await settle()
    bench.group("2", "b")
    flush = asyncio.ensure_future(bench.committer.flush())
    await settle()
    assert not flush.done()
    bench.gate.set()
    await flush
    assert bench.told == [("1", None), ("2", None)]
