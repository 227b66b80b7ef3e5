"""Facts into state: one function per kind of fact.

The draft and the loader are the only callers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from perdure.history.state.facts import ActivityProgress, BufferedEvent, FactKind

if TYPE_CHECKING:
    from perdure.entity.transition import FactChange
    from perdure.history.state.run_state import RunState

_APPLY: dict[int, Callable[..., None]] = {}

Apply = TypeVar("Apply", bound=Callable[..., None])


def _folds(kind: FactKind) -> Callable[[Apply], Apply]:
    """Register how a fact of this kind is folded: called with state, key and value."""

    def register(function: Apply) -> Apply:
        _APPLY[kind] = function
        return function

    return register


def apply(state: RunState, change: FactChange) -> None:
    """Fold one fact row into a run's state."""
    function = _APPLY.get(change.kind)
    assert function is not None, f"a run has no fact of kind {change.kind}"
    function(state, change.key, change.value)


@_folds(FactKind.CREATE)
def _apply_create(state: RunState, _key: str, value: Any) -> None:
    state.create_request_id = value.request_id


@_folds(FactKind.WORKFLOW_TASK)
def _apply_workflow_task(state: RunState, _key: str, value: Any) -> None:
    state.workflow_task = value


@_folds(FactKind.STICKY)
def _apply_sticky(state: RunState, _key: str, value: Any) -> None:
    state.sticky = value


@_folds(FactKind.CANCEL_REQUEST)
def _apply_cancel_request(state: RunState, _key: str, value: Any) -> None:
    state.cancel_request_id = value.request_id


@_folds(FactKind.ACTIVITY)
def _apply_activity(state: RunState, key: str, value: ActivityProgress | None) -> None:
    number = int(key)
    before = state.activity_progress.get(number)
    state.started_activities += value is not None and value.is_started
    state.started_activities -= before is not None and before.is_started
    if value is None:
        state.activity_progress.remove(number)
    else:
        state.activity_progress = state.owned(state.activity_progress)
        state.activity_progress.set(number, value)


@_folds(FactKind.BUFFERED)
def _apply_buffered(state: RunState, key: str, value: BufferedEvent | None) -> None:
    number = int(key)
    if value is None:
        state.buffered.remove(number)
        if number + 1 == state.next_buffered:
            # As a load would count: the numbers start again once the buffer was flushed.
            state.next_buffered = max(state.buffered, default=0) + 1
    else:
        state.buffered = state.buffered.owned(state.journal)
        state.buffered.set(number, value)
        state.drop_step(value.ends_event_id)
        state.next_buffered = max(state.next_buffered, number + 1)
