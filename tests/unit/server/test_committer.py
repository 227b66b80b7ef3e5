"""The committer alone: the fence of a batch, what a failure takes along, and how long it pauses."""

from __future__ import annotations

import asyncio
import re

import pytest

from perdure.storage.port import (
    DamagedRows,
    DamagedWrite,
    FenceLost,
    GuiltyWrite,
    NotWritten,
    StoreFull,
    UnknownOutcome,
)
from perdure.wire import errors
from tests.unit.server.bench import Bench
from tests.unit.server.virtual import on_virtual_time
from tests.unit.server.world import settle

OK, INTERNAL, UNAVAILABLE = None, errors.Internal, errors.Unavailable


@on_virtual_time
async def test_groups_of_one_moment_are_one_batch_in_order():
    bench = Bench()
    for name in ("1", "2", "3"):
        bench.group(name, name)
    await bench.done()
    assert bench.tried == [["1", "2", "3"]]
    assert bench.told == [("1", OK), ("2", OK), ("3", OK)]
    assert (bench.committer.batches, bench.committer.groups, bench.batches_announced) == (1, 3, 1)


@on_virtual_time
async def test_a_batch_carries_the_fence_of_each_of_its_shards_once_and_the_sequence_grows_by_one():
    bench = Bench()
    bench.group("1", "a")
    bench.group("2", "b")
    bench.group("3", "c", shard=2)
    await bench.done()
    fences = [(s.shard_id, s.range_id, s.sequence) for s in bench.batches[0].shards]
    assert fences == [(0, 1, 10), (2, 1, 10)]
    assert [shard.sequence for shard in bench.shards] == [11, 10, 11]
    bench.group("4", "a")
    await bench.done()
    assert [s.sequence for s in bench.batches[1].shards] == [11]


@on_virtual_time
async def test_damaged_rows_are_data_loss_for_their_group_alone():
    bench = Bench()
    for writes in ("ab", "bc", "xy"):
        bench.group(writes, writes)
    number = bench.entry("a").number
    bench.outcomes = [DamagedRows(frozenset({number}), "the rows are damaged (test)")]
    assert await bench.done() == {"ab": errors.DataLoss, "bc": UNAVAILABLE, "xy": OK}
    assert "damaged (test)" in bench.messages["ab"]


@on_virtual_time
async def test_damage_without_a_guilty_row_fails_its_batch_and_refuses_no_other():
    bench = Bench()
    bench.gate.clear()
    bench.group("1", "a")
    bench.group("2", "b")
    await settle()  # these are in flight, the following one waits
    bench.group("3", "c")
    bench.outcomes = [DamagedWrite("the pages are damaged (test)")]
    bench.gate.set()
    assert await bench.done() == {"1": errors.DataLoss, "2": errors.DataLoss, "3": OK}
    bench.group("4", "a")
    assert (await bench.done())["4"] is OK, "nothing is refused for a while"


@pytest.mark.parametrize("order", ["forward", "backward"])
@on_virtual_time
async def test_a_guilty_row_takes_along_all_that_is_linked_to_it_however_far_and_nothing_else(
    order: str,
):
    bench = Bench()
    chain = ["ab", "bc", "cd", "de"] if order == "forward" else ["de", "cd", "bc", "ab"]
    for writes in chain:
        bench.group(writes, writes)
    bench.group("xy", "xy")
    bench.outcomes = [bench.guilty("a")]
    told = await bench.done()
    assert told == {
        "ab": INTERNAL,
        "bc": UNAVAILABLE,
        "cd": UNAVAILABLE,
        "de": UNAVAILABLE,
        "xy": OK,
    }
    assert bench.tried[1:] == [["x", "y"]]
    assert "related change" in bench.messages["de"]


@on_virtual_time
async def test_a_link_by_what_was_read_counts_as_well_and_one_to_a_waiting_group_too():
    bench = Bench()
    bench.gate.clear()
    bench.group("writes a", "a")
    bench.group("other", "z")
    await settle()  # these are in flight, the following ones wait
    bench.group("reads a", "b", reads="a")
    bench.group("reads b", "c", reads="b")
    bench.group("reads z", "d", reads="z")
    bench.outcomes = [bench.guilty("a")]
    bench.gate.set()
    told = await bench.done()
    assert told == {
        "writes a": INTERNAL,
        "reads a": UNAVAILABLE,
        "reads b": UNAVAILABLE,
        "other": OK,
        "reads z": OK,
    }


@on_virtual_time
async def test_a_guilty_row_that_is_in_no_group_refuses_the_batch():
    bench = Bench()
    bench.group("1", "a")
    bench.outcomes = [GuiltyWrite(frozenset({999}), "bad row (test)")]
    assert await bench.done() == {"1": UNAVAILABLE}
    assert len(bench.tried) == 1


@on_virtual_time
async def test_a_group_without_encoding_is_dropped_with_its_links_before_anything_is_written():
    bench = Bench()
    bench.group("fine", "x")
    bench.group("broken", "a", is_broken=True)
    bench.group("later", "ab")
    told = await bench.done()
    assert told == {"fine": OK, "broken": INTERNAL, "later": INTERNAL}
    assert bench.tried == [["x"]]
    bench.group("alone", "a", is_broken=True)
    assert (await bench.done())["alone"] is INTERNAL
    assert len(bench.tried) == 1, "a batch of nothing is not written"


@on_virtual_time
async def test_a_lost_fence_fails_the_groups_of_its_shard_only():
    bench = Bench()
    bench.gate.clear()
    bench.group("0", "a", shard=0)
    bench.group("1", "b", shard=1)
    await settle()
    bench.group("0 waits", "c", shard=0)
    bench.group("1 waits", "d", shard=1)
    bench.outcomes = [FenceLost(frozenset({1}))]
    bench.gate.set()
    told = await bench.done()
    assert told == {"1": UNAVAILABLE, "1 waits": UNAVAILABLE, "0": OK, "0 waits": OK}
    assert "Shard 1 has moved" in bench.messages["1"]
    assert bench.drops == [(1, True)]
    assert [shard.sequence for shard in bench.shards] == [12, 10, 10]


@on_virtual_time
async def test_a_lost_fence_of_no_shard_of_the_batch_drops_them_all():
    bench = Bench()
    bench.group("0", "a", shard=0)
    bench.group("1", "b", shard=1)
    bench.outcomes = [FenceLost(frozenset({7}))]
    assert await bench.done() == {"0": UNAVAILABLE, "1": UNAVAILABLE}
    assert bench.drops == [(0, True), (1, True)]


@pytest.mark.parametrize("has_landed", [True, False])
@on_virtual_time
async def test_after_an_unknown_outcome_the_fence_decides_over_the_batch_and_what_waits_fails(
    has_landed: bool,
):
    bench = Bench()
    bench.has_landed = has_landed
    bench.gate.clear()
    bench.group("0", "a", shard=0)
    bench.group("1", "b", shard=1)
    await settle()
    bench.group("0 waits", "c", shard=0)
    bench.group("2 waits", "d", shard=2)
    bench.outcomes = [UnknownOutcome("no answer (test)")]
    bench.gate.set()
    told = await bench.done()
    fate = OK if has_landed else UNAVAILABLE
    assert told == {"0": fate, "1": fate, "0 waits": UNAVAILABLE, "2 waits": OK}
    assert bench.drops == [(0, False), (1, False)]
    assert bench.settled == [0, 1]
    assert bench.tried[1:] == [["d"]]


@on_virtual_time
async def test_a_batch_whose_fate_cannot_be_found_out_is_told_as_failed_once():
    bench = Bench()
    bench.has_landed = AssertionError("a bug")
    bench.gate.clear()
    bench.group("1", "a")
    await settle()
    bench.group("waits", "d", shard=2)
    bench.outcomes = [UnknownOutcome("no answer (test)")]
    bench.gate.set()
    assert await bench.done() == {"1": UNAVAILABLE, "waits": INTERNAL}
    assert len(bench.told) == 2
    bench.group("2", "a")
    assert (await bench.done())["2"] is OK


@pytest.mark.parametrize("has_landed", [True, False])
@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (
            NotWritten("I/O error (test)"),
            errors.Unavailable,
            "cannot be written.*nothing was written",
        ),
        (AssertionError("a bug (test)"), errors.Unavailable, "cannot be written"),
        (StoreFull("full (test)"), errors.ResourceExhausted, "no space left"),
        (DamagedWrite("damaged (test)"), errors.DataLoss, "Nothing was written: damaged"),
    ],
)
@on_virtual_time
async def test_while_nothing_can_be_written_only_the_batch_in_doubt_waits(
    error: Exception, kind: type[errors.RpcError], text: str, *, has_landed: bool
):
    bench = Bench()
    bench.has_landed = has_landed
    bench.gate.clear()
    bench.group("in doubt", "a")
    await settle()
    bench.group("waits", "d", shard=2)
    bench.outcomes = [UnknownOutcome("no answer (test)")]
    bench.take_over_failures = [error]
    bench.gate.set()
    await bench.suspended.wait()
    assert dict(bench.told) == {"waits": kind}
    await asyncio.sleep(3600)
    bench.group("new", "e", shard=1)
    assert dict(bench.told) == {"waits": kind, "new": kind}, "at once, however long it takes"
    assert re.search(text, bench.messages["waits"])
    assert bench.messages["new"] == bench.messages["waits"]
    bench.take_over_gate.set()
    assert (await bench.done())["in doubt"] is (OK if has_landed else UNAVAILABLE)
    bench.group("after", "e", shard=1)
    assert (await bench.done())["after"] is OK


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (StoreFull("full (test)"), errors.ResourceExhausted, "no space left"),
        (NotWritten("read-only (test)"), errors.Unavailable, "cannot be written"),
    ],
)
@on_virtual_time
async def test_refused_writes_pause_longer_each_time_and_no_longer_after_a_success(
    error: NotWritten, kind: type[errors.RpcError], text: str
):
    bench = Bench()
    for pause_ms in (250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000):
        bench.outcomes = [error]
        bench.group("refused", "a")
        await bench.done()
        assert bench.told.pop() == ("refused", kind)
        assert text in bench.messages["refused"]
        tries = len(bench.tried)
        await asyncio.sleep(pause_ms / 1_000 - 0.05)
        bench.group("early", "a")
        assert bench.told.pop() == ("early", kind), "at once, without asking the disk"
        await asyncio.sleep(0.06)
        assert len(bench.tried) == tries
    bench.group("well", "a")
    assert (await bench.done())["well"] is OK
    bench.outcomes = [error]
    bench.group("refused", "a")
    await bench.done()
    await asyncio.sleep(0.26)
    bench.group("again", "a")
    assert (await bench.done())["again"] is OK, "the first pause is short again"


@on_virtual_time
async def test_refused_writes_fail_everything_that_waits():
    bench = Bench()
    bench.gate.clear()
    bench.group("1", "a")
    await settle()
    bench.group("2", "b", shard=1)
    bench.outcomes = [StoreFull("full (test)")]
    bench.gate.set()
    assert await bench.done() == {"1": errors.ResourceExhausted, "2": errors.ResourceExhausted}


@on_virtual_time
async def test_a_bug_in_what_follows_a_commit_stops_neither_its_neighbours_nor_the_next_batch():
    bench = Bench()
    bench.broken_hosts = {"1"}
    bench.group("1", "a")
    bench.group("2", "b")
    assert await bench.done() == {"1": OK, "2": OK}
    bench.group("3", "a")
    assert (await bench.done())["3"] is OK


@on_virtual_time
async def test_whoever_waits_when_the_committer_is_abandoned_is_told():
    bench = Bench()
    bench.gate.clear()
    bench.group("in flight", "a")
    await settle()
    bench.group("waits", "b")
    bench.committer.abandon()
    assert bench.told == [("in flight", UNAVAILABLE), ("waits", UNAVAILABLE)]
    assert "closed before" in bench.messages["waits"]
