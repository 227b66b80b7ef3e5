"""What never enters history and must survive kill -9: one typed row each (entity, kind, key).

`apply` folds a row into the state; a row without a value removes it. The draft is the only writer, the loader the only
other reader. New fields of a struct are additive with defaults; kinds are stored and never reused.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from perdure.entity.transition import FactChange
from perdure.history.state.run_state import WorkflowTask

if TYPE_CHECKING:
    from perdure.history.state.run_state import RunState


class FactKind(IntEnum):
    """The kinds of facts of a run. Numbers are stored: never reuse one."""

    CREATE = 1
    WORKFLOW_TASK = 2
    STICKY = 3
    ACTIVITY = 4
    BUFFERED = 5
    CANCEL_REQUEST = 6


class CreateFact(msgspec.Struct, frozen=True):
    """How the run was created: a repeated start with this request id is answered with this run."""

    request_id: str


class CancelRequestFact(msgspec.Struct, frozen=True):
    request_id: str


class Sticky(msgspec.Struct, frozen=True):
    """The queue of the worker that has the run in its cache (rule 10)."""

    queue_name: str
    schedule_to_start_ns: int


class ActivityPause(msgspec.Struct, frozen=True, kw_only=True):
    """Who paused an activity, and why."""

    paused_ns: int
    identity: str = ""
    reason: str = ""
    request_id: str = ""
    """A repeat of the request is answered as the first one was."""


class ActivityProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a pending activity that changes without events (rules 28 to 32, 35)."""

    attempt: int = 1
    stamp: int = 0
    is_started: bool = False
    started_ns: int = 0
    started_request_id: str = ""
    started_identity: str = ""
    scheduled_ns: int = 0
    """When the current attempt was or will be put on the queue; 0: as the activity itself."""
    next_attempt_ns: int = 0
    """Set while backing off."""
    retry_interval_ns: int = 0
    last_failure: bytes = b""
    """A serialised `failure.Failure`."""
    last_worker_identity: str = ""
    last_attempt_complete_ns: int = 0
    heartbeat_details: bytes = b""
    """Serialised `common.Payloads`."""
    last_heartbeat_ns: int = 0
    cancel_requested: bool = False
    pause: ActivityPause | None = None


class BufferedEvent(msgspec.Struct, frozen=True):
    """An event that waits for the started workflow task to end (rule 2); it has no id yet."""

    event: bytes
    """A serialised `HistoryEvent`."""
    event_type: int = 0
    ends_event_id: int = 0
    """The Scheduled, Started or Initiated event that it ends: that step is pending no more, though no event says so."""
    request_id: str = ""
    """Of a signal: a repeat is answered while the first still waits."""
    starts_event_id: int = 0
    """The StartChildWorkflowExecutionInitiated whose child has started: known, though no event says so."""


FACT_TYPES: dict[int, type[msgspec.Struct]] = {}
"""The struct of each kind."""
_APPLY: dict[int, Callable[..., None]] = {}

Apply = TypeVar("Apply", bound=Callable[..., None])


def _fact(kind: FactKind, struct: type[msgspec.Struct]) -> Callable[[Apply], Apply]:
    """Register what a fact of this kind is, and how it is folded: called with state, key and value."""

    def register(function: Apply) -> Apply:
        FACT_TYPES[kind], _APPLY[kind] = struct, function
        return function

    return register


def apply(state: RunState, change: FactChange) -> None:
    """Fold one fact row into a run's state."""
    function = _APPLY.get(change.kind)
    assert function is not None, f"a run has no fact of kind {change.kind}"
    function(state, change.key, change.value)


@_fact(FactKind.CREATE, CreateFact)
def _apply_create(state: RunState, _key: str, value: Any) -> None:
    state.create_request_id = value.request_id


@_fact(FactKind.WORKFLOW_TASK, WorkflowTask)
def _apply_workflow_task(state: RunState, _key: str, value: Any) -> None:
    state.workflow_task = value


@_fact(FactKind.STICKY, Sticky)
def _apply_sticky(state: RunState, _key: str, value: Any) -> None:
    state.sticky = value


@_fact(FactKind.CANCEL_REQUEST, CancelRequestFact)
def _apply_cancel_request(state: RunState, _key: str, value: Any) -> None:
    state.cancel_request_id = value.request_id


@_fact(FactKind.ACTIVITY, ActivityProgress)
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


@_fact(FactKind.BUFFERED, BufferedEvent)
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
