"""Runs begin with tables that all share: what one run writes is in no other."""

from __future__ import annotations

import pytest

from perdure.core.ids import run_key
from perdure.history.state.buffer import EMPTY_BUFFER
from perdure.history.state.facts import FACT_TYPES, BufferedEvent, FactKind
from perdure.history.state.fold import facts
from perdure.history.state.run_state import RunState, Timer
from perdure.history.state.table import EMPTY


def new_state() -> RunState:
    return RunState(run_key("n", "w", "r"))


def test_what_one_run_sets_is_in_no_other():
    one, other = new_state(), new_state()
    one.timers = one.owned(one.timers)
    one.timers.set("t", Timer("t", 5, 100))
    assert one.owned(one.timers) is one.timers
    assert dict(one.timers) == {"t": Timer("t", 5, 100)}
    assert not other.timers
    assert not one.children
    assert not EMPTY


def test_what_a_draft_put_into_its_first_table_is_taken_back():
    state = new_state()
    before = state.snapshot()
    state.open_draft()
    state.timers = state.owned(state.timers)
    state.timers.set("t", Timer("t", 5, 100))
    state.buffered = state.buffered.owned(state.journal)
    state.buffered.set(1, BufferedEvent(b"", 0))
    state.roll_back()
    assert state.snapshot() == before
    assert not state.buffered.size_bytes


def test_nothing_can_be_put_into_the_tables_of_all():
    with pytest.raises(AssertionError):
        EMPTY.set("k", 1)
    with pytest.raises(AssertionError):
        EMPTY_BUFFER.set(1, BufferedEvent(b"", 0))
    assert EMPTY.remove("k") is None
    assert EMPTY_BUFFER.remove(1) is None


def test_each_kind_of_fact_has_a_type_and_a_fold():
    assert set(FACT_TYPES) == set(facts._APPLY) == set(FactKind)
