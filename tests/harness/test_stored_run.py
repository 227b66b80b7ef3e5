"""The store of tests notices what a database or a restart would suffer from."""

from __future__ import annotations

import msgspec
import pytest

from perdure.history.state.facts import FactKind
from tests.unit.history.harness import Run, command, start_timer


def sleeping() -> Run:
    """A run that waits for a timer."""
    run = Run()
    run.start()
    run.step(start_timer())
    return run


def test_a_state_that_was_not_written_is_noticed() -> None:
    run = sleeping()
    del run.facts[FactKind.CREATE, ""]
    with pytest.raises(AssertionError):
        run.check()


def test_a_deadline_that_memory_does_not_watch_is_noticed() -> None:
    run = sleeping()
    run.state.deadlines.clear()
    with pytest.raises(AssertionError, match="TIMER"):
        run.check()


def test_a_wake_up_that_is_stored_too_late_is_noticed() -> None:
    run = sleeping()
    run.wake_at_ns += 1
    with pytest.raises(AssertionError, match="lower bound"):
        run.check()


def test_events_that_leave_a_gap_are_noticed() -> None:
    run = sleeping()
    assert run.last is not None
    assert run.last.events is not None
    late = msgspec.structs.replace(run.last.events, first_event_id=len(run.events) + 2)
    with pytest.raises(AssertionError):
        run.write(msgspec.structs.replace(run.last, events=late))


def test_a_run_that_follows_has_a_store_of_its_own_and_shares_the_ids() -> None:
    run = sleeping()
    run.signal()
    run.step(
        command(continue_as_new_workflow_execution_command_attributes={}),
    )
    assert run.successor is not None
    assert run.successor.rows
    assert run.successor.new_id is run.new_id
    run.check()
    run.successor.check()
