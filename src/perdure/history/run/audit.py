"""What must hold of runs and pointers in a whole database: the part of `perdure db check` that only runs have.

Invariants: findings name entities, never payloads. Not here: what holds of every entity (`server/admin/audit.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.core.ids import EntityKey, EntityKind, workflow_id_key
from perdure.history.draft.close import current_run
from perdure.history.state.facts import FactKind
from perdure.history.state.pointer import CurrentRun
from perdure.wire.errors import DataLoss
from perdure.wire.events import frames

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perdure.entity.transition import EventRow, FactChange
    from perdure.history.state.run_state import RunState

_OF_OPEN_RUNS = {FactKind.WORKFLOW_TASK, FactKind.STICKY, FactKind.ACTIVITY, FactKind.BUFFERED}


class RunAuditor:
    """Sees every run and every pointer of a database once."""

    def __init__(self) -> None:
        self._pointers: dict[EntityKey, CurrentRun] = {}
        self._said: dict[EntityKey, CurrentRun] = {}
        """Of every run: what a pointer to it must say."""
        self._open: dict[EntityKey, str] = {}
        """The open run of each workflow id."""

    def look(
        self, key: EntityKey, state: Any, facts: Sequence[FactChange]
    ) -> Iterator[tuple[str, str]]:
        """Findings of one run; pointers are judged at the end."""
        if key.kind == EntityKind.WORKFLOW_ID:
            self._pointers[key] = state
            return
        self._said[key] = current_run(state)
        if state.is_running:
            pointer = workflow_id_key(key.namespace_id, key.name)
            if pointer in self._open:
                yield "pointers", "a second open run of the same workflow id"
            self._open[pointer] = key.run_id
        yield from _facts(state, facts)

    def end(self) -> Iterator[tuple[str, str]]:
        """Findings between runs and pointers."""
        for key, pointer in self._pointers.items():
            run = EntityKey(EntityKind.RUN, key.namespace_id, key.name, pointer.run_id)
            said = self._said.get(run)
            if said is None:
                yield "pointers", f"workflow id {key.name!r} points to a run that is not there"
            elif said != pointer:
                yield "pointers", f"workflow id {key.name!r} says of its run what is not so"
        for key, run_id in self._open.items():
            pointer = self._pointers.get(key)
            if pointer is None or pointer.run_id != run_id:
                yield (
                    "pointers",
                    f"workflow id {key.name!r}: its open run is not the one it points to",
                )


def _facts(state: RunState, facts: Sequence[FactChange]) -> Iterator[tuple[str, str]]:
    kinds = {FactKind(fact.kind) for fact in facts}
    if not state.is_running and (left := kinds & _OF_OPEN_RUNS):
        words = ", ".join(sorted(kind.name for kind in left))
        yield "facts", f"it is closed and still has facts of {words}"
    for fact in facts:
        if fact.kind == FactKind.ACTIVITY and int(fact.key) not in state.activities:
            yield "facts", f"progress of activity {fact.key}, which is not pending"
    if state.buffered and not state.workflow_task_is_started:
        yield "facts", "events are buffered without a started workflow task"


def gaps(events: Sequence[EventRow]) -> Iterator[str]:
    """What is wrong with the numbers of a run's events."""
    following: dict[int, int] = {}
    if not events:
        yield "it has no events"
    for row in events:
        expected = following.get(row.branch, 1 if row.branch == 0 else row.first_event_id)
        if row.first_event_id != expected:
            yield f"event {expected} is missing or there twice"
        try:
            count = sum(1 for _ in frames(row.data))
        except DataLoss as error:
            yield f"the row of event {row.first_event_id} cannot be read: {error}"
            return
        if count != row.count:
            yield f"the row of event {row.first_event_id} has not the {row.count} events it claims"
        following[row.branch] = row.first_event_id + row.count
