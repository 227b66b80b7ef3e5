"""Ids: fresh, and seeded for simulations."""

from __future__ import annotations

from random import Random

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


def test_a_run_and_the_pointer_of_its_workflow_id_share_a_shard() -> None:
    for number in range(50):
        run = run_key("ns", f"wf-{number}", f"run-{number}")
        pointer = workflow_id_key("ns", f"wf-{number}")
        assert run.kind is EntityKind.RUN
        assert shard_of(run, 7) == shard_of(pointer, 7)
