"""Folding a run again: in slices, so that others may run meanwhile."""

from __future__ import annotations

import pytest

from perdure.history.loader import SLICE_EVENTS, fold_run, load_run
from tests.transcripts.script import Script


@pytest.mark.parametrize("signals", [0, SLICE_EVENTS, 2 * SLICE_EVENTS + 5])
def test_a_long_history_is_folded_in_slices(signals: int) -> None:
    script = Script()
    script.run(["start", *["signal go"] * signals])
    run, rows = script.world.state, script.world.rows
    count = run.next_event_id - 1
    assert count == 2 + signals
    assert len(list(fold_run(run.key, rows, ()))) == count // SLICE_EVENTS
    # All in one row, as well: slices are of events, not of rows.
    assert len(list(fold_run(run.key, [b"".join(rows)], ()))) == count // SLICE_EVENTS
    whole = load_run(run.key, [b"".join(rows)], ())
    assert whole.snapshot() == load_run(run.key, rows, ()).snapshot()
    assert whole.next_event_id == run.next_event_id
