"""Ids: fresh, and seeded for simulations."""

from __future__ import annotations

import os
from random import Random
from uuid import RFC_4122, UUID

import pytest

from perdure.core.clock import SystemClock
from perdure.core.ids import (
    EntityKey,
    EntityKind,
    QueueKind,
    new_id,
    new_key,
    run_key,
    seeded_ids,
    shard_of,
    workflow_id_key,
)
from perdure.core.units import MS_NS

SHARDS_OF_4 = {"wf-0": 1, "wf-1": 3, "wf-2": 1, "wf-3": 3, "wf-4": 0, "wf-5": 2}


def test_ids_are_fresh_and_a_seed_repeats_them() -> None:
    assert new_id() != new_id()
    with seeded_ids(Random(7)):
        first = [new_id(), new_id()]
    with seeded_ids(Random(7)):
        again = [new_id(), new_id()]
    assert first == again
    assert len(set(first)) == 2
    assert new_id() not in first


def test_entropy_is_used_once() -> None:
    drawn = {new_id()[-12:] for _ in range(2_000)}
    assert len(drawn) == 2_000


def test_a_forked_child_draws_other_ids() -> None:
    new_id()  # the pool is filled
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 36).decode()
    for end in (reading, writing):
        os.close(end)
    # Without their first halves, which are the time.
    assert theirs[-12:] != new_id()[-12:]


def test_a_run_and_the_pointer_of_its_workflow_id_share_a_shard() -> None:
    for number in range(50):
        run = run_key("ns", f"wf-{number}", f"run-{number}")
        pointer = workflow_id_key("ns", f"wf-{number}")
        assert run.kind == EntityKind.RUN
        assert shard_of(run, 7) == shard_of(pointer, 7)


def test_ids_are_of_version_7_and_later_ones_do_not_sort_before_earlier_milliseconds() -> None:
    with seeded_ids(Random(3)):
        seeded = UUID(new_id())
    fresh = UUID(new_id())
    for value in (seeded, fresh):
        assert (value.version, value.variant) == (7, RFC_4122)
    assert fresh.int >> 80 <= UUID(new_id()).int >> 80


class Bits(Random):
    """All ones or all zeros, as many as are asked for."""

    def __init__(self, *, ones: bool) -> None:
        super().__init__(0)
        self.ones = ones

    def getrandbits(self, k: int, /) -> int:
        return (1 << k) - 1 if self.ones else 0


@pytest.mark.parametrize(
    ("ones", "expected"),
    [
        (True, "ffffffff-ffff-7fff-bfff-ffffffffffff"),
        (False, "00000000-0000-7000-8000-000000000000"),
    ],
)
def test_all_bits_of_an_id_but_version_and_variant_are_drawn(*, ones: bool, expected: str) -> None:
    with seeded_ids(Bits(ones=ones)):
        assert new_id() == expected


def test_a_fresh_id_begins_with_the_milliseconds_of_its_time() -> None:
    before = SystemClock().now_ns() // MS_NS
    made = UUID(new_id()).int >> 80
    assert before <= made <= SystemClock().now_ns() // MS_NS


def test_the_source_comes_back_after_an_error_and_after_another_seed() -> None:
    with seeded_ids(Random(1)):
        first = new_id()
    with seeded_ids(Random(1)):
        with pytest.raises(ValueError, match="inside"), seeded_ids(Random(2)):
            raise ValueError("inside")
        assert new_id() == first
    with seeded_ids(Random(1)):
        assert new_id() == first
    assert new_id() != first
    assert UUID(new_id()).int >> 80 >= 1_600_000_000_000, "fresh ids again"


def test_a_key_is_drawn_like_an_id() -> None:
    with seeded_ids(Random(1)):
        first = new_key()
    with seeded_ids(Random(1)):
        assert new_key() == first
    fresh = new_key()
    assert len(first) == len(fresh) == 32
    assert len({first, fresh, new_key()}) == 3


def test_a_shard_is_stable_and_is_one_of_those_that_there_are() -> None:
    """Stored rows are found by it: these numbers must never change."""
    keys = [run_key("ns", f"wf-{number}", "r") for number in range(6)]
    assert [shard_of(key, 4) for key in keys] == [SHARDS_OF_4[key.name] for key in keys]
    assert {shard_of(key, 1) for key in keys} == {0}
    assert shard_of(run_key("other", "wf-0", "r"), 1_000) != shard_of(keys[0], 1_000)
    assert shard_of(run_key("n", "swf-0", "r"), 1_000) != shard_of(keys[0], 1_000)


def test_kinds_are_stored_and_keep_their_numbers() -> None:
    assert {kind.name: kind.value for kind in EntityKind} == {
        "RUN": 1,
        "WORKFLOW_ID": 2,
        "NAMESPACE": 3,
    }
    numbers = {kind.name: kind.value for kind in QueueKind}
    assert numbers == {"WORKFLOW": 1, "ACTIVITY": 2, "NEXUS": 3}
    assert workflow_id_key("ns", "w") == EntityKey(EntityKind.WORKFLOW_ID, "ns", "w", "")
    assert run_key("ns", "w", "r") == EntityKey(EntityKind.RUN, "ns", "w", "r")
