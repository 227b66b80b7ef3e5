"""Deadlines of a run: one row per kind of deadline, and the heap that finds the next one.

Each family registers how its deadlines are found in the state (`keys`, `due_ns`) and what happens when one passes
(`fire`). The heap of a state is derived: an entry only says *look here then*; whether something is due, and when, is
asked of the state. So a heartbeat need not touch the heap, and an entry whose reason is gone is skipped.

Invariant: for each (kind, key) with `due_ns(state, key) != 0` the heap holds an entry at that time or earlier. Code
that sets a deadline calls `arm`; `rebuild` establishes the invariant after a load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from perdure.history.state.run_state import Deadline, DeadlineKind

if TYPE_CHECKING:
    from perdure.history.state.run_state import RunState

Keys = Callable[["RunState"], Iterable[int]]
DueNs = Callable[["RunState", int], int]
Fire = Callable[[Any, int], None]
"""Of the draft and the key. `Draft` itself is above this module: it keeps the heap compact."""

COMPACT_ABOVE = 64


class DeadlineHandler(NamedTuple):
    """One kind of deadline."""

    keys: Keys
    """The keys that may have such a deadline now."""
    due_ns: DueNs
    """When the key's deadline is, by the state alone; 0 when there is none."""
    fire: Fire
    """It is due: change the run. Called only when `due_ns` has passed; must end that deadline or move it."""


DEADLINE_HANDLERS: dict[DeadlineKind, DeadlineHandler] = {}
"""Filled by the families."""


def deadline(kind: DeadlineKind, *, keys: Keys, due_ns: DueNs) -> Callable[[Fire], Fire]:
    """Register what happens when a deadline of this kind passes; see `DeadlineHandler`."""

    def register(fire: Fire) -> Fire:
        assert kind not in DEADLINE_HANDLERS, kind.name
        DEADLINE_HANDLERS[kind] = DeadlineHandler(keys, due_ns, fire)
        return fire

    return register


def only(_state: RunState) -> Iterable[int]:
    """The keys of a kind that a run has at most once."""
    return (0,)


class Wakes(Protocol):
    """What `arm` needs of a draft."""

    state: RunState

    def wake_at(self, at_ns: int) -> None:
        """Wake the run no later than `at_ns`."""
        ...


def arm(draft: Wakes, kind: DeadlineKind, at_ns: int, key: int = 0) -> None:
    """Add a deadline to the heap, and make sure that the run is woken in time."""
    draft.state.add_deadline(Deadline(at_ns, kind, key))
    draft.wake_at(at_ns)


def live_deadlines(state: RunState) -> list[Deadline]:
    """All deadlines that the state has now, in order."""
    if not state.is_running:
        return []
    return sorted(
        Deadline(at_ns, kind, key)
        for kind, watch in DEADLINE_HANDLERS.items()
        for key in watch.keys(state)
        if (at_ns := watch.due_ns(state, key))
    )


def rebuild(state: RunState) -> None:
    """Make the heap anew from the state. Never within a draft: abandoning it must not lose a deadline."""
    state.deadlines = live_deadlines(state)


def compact(state: RunState) -> None:
    """Drop entries of finished steps once they are many; a busy run would collect them until their time comes."""
    excess = len(state.deadlines) - COMPACT_ABOVE
    if excess > 0 and excess > 8 * (len(state.activities) + len(state.timers)):
        rebuild(state)
