"""Folding a run again: in slices, so that others may run meanwhile."""

from __future__ import annotations

import contextlib
from typing import Any, cast

import pytest

from perdure.entity.entity_type import UnknownRowError
from perdure.history.loader import SLICE_EVENTS, fold_run, load_run
from perdure.wire.api import history
from perdure.wire.errors import DataLoss
from perdure.wire.events import event, frame
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


def test_events_out_of_order_are_damage() -> None:
    script = Script()
    script.run(["start", "signal go", "signal go"])
    run, rows = script.world.state, script.world.rows
    with pytest.raises(DataLoss, match=r"damaged: event 3 stands in place of 1\.$"):
        load_run(run.key, rows[1:], ())
    with pytest.raises(DataLoss, match="damaged: event 3 stands in place of 4"):
        load_run(run.key, [*rows[:2], *rows[1:]], ())


def test_an_event_that_cannot_follow_is_damage() -> None:
    script = Script()
    script.run(["start", "signal go"])
    run, rows = script.world.state, script.world.rows
    attributes = history.WorkflowTaskStartedEventAttributes(scheduled_event_id=5)
    strange = frame(event(attributes, event_id=1).SerializeToString())
    with pytest.raises(DataLoss, match="event 1 does not fit what precedes it") as caught:
        load_run(run.key, [strange, *rows[1:]], ())
    assert caught.value.__cause__ is not None


def test_an_event_of_a_newer_version_is_no_damage() -> None:
    script = Script()
    script.run(["start"])
    run, rows = script.world.state, script.world.rows
    newer = frame(history.HistoryEvent(event_id=3, event_type=cast("Any", 999)).SerializeToString())
    with pytest.raises(UnknownRowError, match="unknown type 999"):
        load_run(run.key, [*rows, newer], ())


def test_damage_of_any_byte_is_damage_or_goes_unnoticed() -> None:
    script = Script()
    script.run(["start", "signal go"])
    run, rows = script.world.state, script.world.rows
    data = b"".join(rows)
    noticed = 0
    for position in range(len(data)):
        for value in (0, data[position] ^ 0x01, data[position] ^ 0x80, 0xFF):
            damaged = data[:position] + bytes([value]) + data[position + 1 :]
            try:
                load_run(run.key, [damaged], ())
            except (DataLoss, UnknownRowError):
                noticed += 1
        with contextlib.suppress(DataLoss, UnknownRowError):
            load_run(run.key, [data[:position]], ())
    assert noticed > len(data) // 2
