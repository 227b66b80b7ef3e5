"""`evolve(state, event)`: the only way in which events change state. A table from event type to function.

Role: fold one event, new or loaded, into the state. Append-only: an event type's effect on the state never changes once
released, because stored histories are folded again at every load. An unknown type refuses the run, not the node.
Not here: event ids, times and sizes (the draft and the loader keep those); any decision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from perdure.entity.entity_type import UnknownRowError
from perdure.wire.api import enums, history

if TYPE_CHECKING:
    from perdure.history.state.run_state import RunState

Evolve = Callable[["RunState", history.HistoryEvent], None]

EVOLVE: dict[int, Evolve] = {}
"""Filled by the evolve_* modules, one per family."""


class UnknownEventError(UnknownRowError):
    """A history holds an event type that this version does not know: a newer version wrote it."""


def evolves(event_type: enums.EventType.ValueType) -> Callable[[Evolve], Evolve]:
    """Register the fold of one event type."""

    def register(function: Evolve) -> Evolve:
        assert event_type not in EVOLVE, enums.EventType.Name(event_type)
        EVOLVE[event_type] = function
        return function

    return register


def evolve(state: RunState, event: history.HistoryEvent) -> None:
    """Fold one event into the state."""
    function = EVOLVE.get(event.event_type)
    if function is None:
        raise UnknownEventError(
            f"event {event.event_id} of {state.key} has the unknown type {event.event_type}; "
            "a newer version of Perdure wrote it: use that version, or terminate the run there"
        )
    function(state, event)
