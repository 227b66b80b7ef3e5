"""What must hold of each history, and of what happened outside, at the end of a world."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from perdure.wire.api import enums
from perdure.wire.events import attributes_of
from tests.simulation.violations import Kind, require

if TYPE_CHECKING:
    from perdure.wire.api import history
    from tests.simulation.ledger import Ledger

EventType = enums.EventType
ACTIVITY_CLOSE = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT,
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED,
}
CHILD_CLOSE = {
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED,
}
CANCEL_INITIATED = EventType.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED
EXTERNAL_INITIATED = {
    EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED,
    CANCEL_INITIATED,
}
EXTERNAL_CLOSE = {
    EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED,
    EventType.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED,
    EventType.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED,
    EventType.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED,
}
RUN_CLOSE = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
}
WORKFLOW_TASK = {
    EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
}
# These close a run even if some of its steps are still open.
ABRUPT = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
}


def check_history(run: str, events: Sequence[history.HistoryEvent]) -> None:
    """Ids, times, and one close event per step."""
    _require(events, f"{run} has no history: an acknowledged start was lost")
    for number, event in enumerate(events, start=1):
        _require(
            event.event_id == number, f"{run}: event {event.event_id} is in place of event {number}"
        )
    # As on the reference server, buffered events keep the time at which they happened, and so does the start of an
    # activity, which is written when the activity closes. Only the times of workflow tasks never go back.
    times = [
        event.event_time.ToNanoseconds() for event in events if event.event_type in WORKFLOW_TASK
    ]
    _require(times == sorted(times), f"{run}: the times of workflow tasks go back")
    closes = [event.event_id for event in events if event.event_type in RUN_CLOSE]
    _require(closes == [len(events)], f"{run}: closed by events {closes} of {len(events)}")
    _check_steps(run, events)
    _check_children(run, events)
    _check_workflow_tasks(run, events)


def _check_steps(run: str, events: Iterable[history.HistoryEvent]) -> None:
    scheduled: set[int] = set()
    closed: Counter[int] = Counter()
    started: Counter[int] = Counter()
    abrupt = False
    for event in events:
        kind = event.event_type
        if kind == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            scheduled.add(event.event_id)
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
            started[event.activity_task_started_event_attributes.scheduled_event_id] += 1
        elif kind in ACTIVITY_CLOSE:
            closed[attributes_of(event).scheduled_event_id] += 1  # type: ignore[attr-defined]
        elif kind == EventType.EVENT_TYPE_TIMER_STARTED:
            scheduled.add(event.event_id)
        elif kind in (EventType.EVENT_TYPE_TIMER_FIRED, EventType.EVENT_TYPE_TIMER_CANCELED):
            closed[attributes_of(event).started_event_id] += 1  # type: ignore[attr-defined]
        abrupt = abrupt or kind in ABRUPT
    _require(not closed.keys() - scheduled, f"{run}: steps closed that were never scheduled")
    twice = sorted(step for step, count in closed.items() if count > 1)
    _require(not twice, f"{run}: steps {twice} have more than one close event")
    _require(max(started.values(), default=1) == 1, f"{run}: a step has two started events")
    if not abrupt:
        # A workflow may complete with open steps, but none of these workloads does.
        open_steps = sorted(scheduled - closed.keys())
        _require(not open_steps, f"{run}: steps {open_steps} were never closed")


def _check_children(run: str, events: Iterable[history.HistoryEvent]) -> None:
    """A child starts once, then ends once; a message to another workflow has one outcome."""
    initiated: set[int] = set()
    messages: dict[int, EventType.ValueType] = {}
    started: set[int] = set()
    for event in events:
        kind = event.event_type
        if kind == EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
            initiated.add(event.event_id)
        elif kind == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
            step = event.child_workflow_execution_started_event_attributes.initiated_event_id
            _require(step in initiated - started, f"{run}: child {step} starts again or unasked")
            started.add(step)
        elif kind in CHILD_CLOSE:
            step = initiated_event_id(event)
            _require(step in initiated, f"{run}: child {step} ends again or was never asked for")
            never = kind == EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED
            _require(never != (step in started), f"{run}: child {step} ended before its start")
            initiated.discard(step)
        elif kind in EXTERNAL_INITIATED:
            messages[event.event_id] = kind
        elif kind in EXTERNAL_CLOSE:
            step = initiated_event_id(event)
            _require(step in messages, f"{run}: message {step} has two outcomes, or none sent it")
            del messages[step]
    # The end of a canceled child may be recorded before the outcome of the request to cancel it.
    unanswered = sorted(step for step, kind in messages.items() if kind != CANCEL_INITIATED)
    _require(not unanswered, f"{run}: messages {unanswered} have no outcome")
    _require(initiated <= started, f"{run}: children {sorted(initiated - started)} never started")


def initiated_event_id(event: history.HistoryEvent) -> int:
    attributes: Any = attributes_of(event)
    return attributes.initiated_event_id


def _check_workflow_tasks(run: str, events: Sequence[history.HistoryEvent]) -> None:
    """At most one workflow task at a time, and nothing between its start and its end (S-2)."""
    ends = {
        EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
    }
    is_started = is_scheduled = False
    for event in events:
        kind = event.event_type
        if is_started:
            _require(
                kind in ends or kind in ABRUPT,
                f"{run}: event {event.event_id} stands between a workflow task's start and its end",
            )
            is_started = is_scheduled = False
        elif kind == EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
            _require(
                not is_scheduled, f"{run}: two workflow tasks at once at event {event.event_id}"
            )
            is_scheduled = True
        elif kind == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            is_started = True
        elif kind in ends:
            is_scheduled = False


def check_attempts(ledger: Ledger) -> None:
    """An activity executes at most once per attempt."""
    twice = sorted(key for key, count in ledger.attempts.items() if count > 1)
    require(not twice, Kind.TWICE, f"attempts executed more than once: {twice}")


def check_outcomes(ledger: Ledger) -> None:
    """Every acknowledged start ended, and its result was seen."""
    missing = sorted(ledger.started.keys() - ledger.results.keys())
    require(not missing, Kind.STUCK, f"workflows that never finished: {missing}")


def _require(condition: object, message: str) -> None:
    require(condition, Kind.HISTORY, message)
