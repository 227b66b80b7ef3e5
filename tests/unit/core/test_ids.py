"""Ids: fresh, and seeded for simulations."""

from __future__ import annotations

import os
from random import Random
from uuid import RFC_4122, UUID

import pytest

from perdure.core.ids import EntityKind, new_id, run_key, seeded_ids, shard_of, workflow_id_key


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
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
        assert run.kind is EntityKind.RUN
        assert shard_of(run, 7) == shard_of(pointer, 7)


def test_ids_are_of_version_7_and_later_ones_do_not_sort_before_earlier_milliseconds() -> None:
    with seeded_ids(Random(3)):
        seeded = UUID(new_id())
    fresh = UUID(new_id())
    for value in (seeded, fresh):
        assert (value.version, value.variant) == (7, RFC_4122)
    assert fresh.int >> 80 <= UUID(new_id()).int >> 80
