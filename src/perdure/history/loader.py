"""State from what is stored: fold the events, then the facts.

The counterpart of `Draft`: what a draft added and what this folds must give the same state (`RunState.snapshot`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING

from perdure.entity.entity_type import UnknownRowError
from perdure.entity.transition import FactChange
from perdure.history.draft.deadlines import rebuild
from perdure.history.families import evolve
from perdure.history.state.fold.facts import apply
from perdure.history.state.run_state import RunState
from perdure.wire.errors import DataLoss
from perdure.wire.events import frames, parse_framed
from perdure.wire.times import timestamp_ns

if TYPE_CHECKING:
    from perdure.core.ids import EntityKey


SLICE_EVENTS = 32


def load_run(
    key: EntityKey, rows: Iterable[bytes], facts: Iterable[FactChange], now_ns: int = 0
) -> RunState:
    """Fold a run again, in one go; see `fold_run`."""
    steps = fold_run(key, rows, facts, now_ns)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def fold_run(
    key: EntityKey, rows: Iterable[bytes], facts: Iterable[FactChange], now_ns: int = 0
) -> Generator[None, None, RunState]:
    """Fold a run again, in steps of a few events: a history may have tens of thousands, and others want to run.

    Args:
        key: The run.
        rows: Its event rows in order, each a serialised `History`.
        facts: Its fact rows, in any order.
        now_ns: The time: heartbeat clocks of running activities restart then (D-48).

    Returns:
        The state, when the generator ends; it yields nothing.

    Raises:
        DataLoss: The rows are not those of a history.
        UnknownRowError: A newer version wrote them.
    """
    state = RunState(key)
    for row in rows:
        for framed in frames(row):
            event = parse_framed(framed)
            if event.event_id != state.next_event_id:
                raise DataLoss(
                    f"The stored history is damaged: event {event.event_id} stands in place of {state.next_event_id}."
                )
            try:
                evolve(state, event)
            except (UnknownRowError, MemoryError):
                raise
            except Exception as error:
                raise DataLoss(
                    f"The stored history is damaged: event {event.event_id} does not fit what precedes it."
                ) from error
            state.count_event(timestamp_ns(event.event_time), len(framed))
            if event.event_id % SLICE_EVENTS == 0:
                yield
    for change in facts:
        apply(state, change)
    state.loaded_ns = now_ns
    rebuild(state)
    return state
