"""Walks in virtual time over heartbeats, retries and time-outs: both servers do the same in each minute.

Our server is always compared with the recording. Where the pinned time-skipping server is installed, one more test
plays the walks on it and compares the result with the recording.
"""

from __future__ import annotations

import pytest

from tests.reference.compare import compare
from tests.reference.differences import Ledger
from tests.reference.skipping.known import DIFFERENCES, DIVERGENCES, SEEDS
from tests.reference.skipping.plan import walk
from tests.reference.skipping.reading import is_clear
from tests.reference.skipping.servers import pinned_version, play_on_ours, reference_program
from tests.reference.skipping.side_by_side import (
    ALL_SEEDS,
    ask_reference,
    differences,
    ours,
    recorded,
)

HOW_TO_RECORD = "to record again: make reference-record"
AGAIN = 6
"""How often a walk that differs from its recording is played again.

Milliseconds decide on the reference which of two time-outs in the same minute comes first.
"""
IS_LIVE = reference_program() is not None
MODE = f"live time-skipping reference {pinned_version()}"


def test_every_walk_is_recorded() -> None:
    assert recorded().keys() == set(ALL_SEEDS), HOW_TO_RECORD
    assert len(SEEDS) >= 60


def test_ours_does_what_is_recorded(subtests: pytest.Subtests) -> None:
    ledger = Ledger(DIFFERENCES)
    reference = recorded()
    for seed in SEEDS:
        with subtests.test(f"walk {seed}"):
            mine = ours(seed)
            found = ledger.unexpected(f"walk {seed}", differences(reference[seed], mine))
            assert found == [], "\n".join(map(str, found))
    for seed, minute, reason in DIVERGENCES:
        with subtests.test(f"walk {seed} until minute {minute}"):
            mine = ours(seed)
            before = differences(reference[seed], mine, until_minute=minute)
            found = ledger.unexpected(f"walk {seed}", before)
            assert found == [], "\n".join(map(str, found))
            after = Ledger(DIFFERENCES).unexpected("", differences(reference[seed], mine))
            assert after != [], f"the walks agree now: remove the divergence ({reason})"
    assert ledger.stale == [], "these differences no longer occur: remove them from known.py"


def test_no_walk_depends_on_the_order_of_what_happens_at_once(subtests: pytest.Subtests) -> None:
    for seed in ALL_SEEDS:
        with subtests.test(f"walk {seed}"):
            assert is_clear(play_on_ours(walk(seed)))


if IS_LIVE:

    @pytest.mark.slow
    @pytest.mark.timeout(400)
    @pytest.mark.parametrize("mode", [MODE])
    async def test_what_is_recorded_is_what_the_reference_does(
        mode: str, subtests: pytest.Subtests
    ) -> None:
        live = await ask_reference(ALL_SEEDS)
        for seed, result in recorded().items():
            with subtests.test(f"walk {seed}"):
                changed = compare(result, live[seed])
                for _ in range(AGAIN):
                    if changed:
                        changed = compare(result, (await ask_reference([seed]))[seed])
                assert changed == [], "\n".join([HOW_TO_RECORD, *map(str, changed)])
