"""Buffered events: what they end while they wait, and their order when they become history.

Role: while a workflow task is started, events that no command caused wait in the buffer (S-2), as facts. `flush`
appends them when the task has ended and its commands are applied: events that end an activity or a child go last, and
their `started_event_id` is filled in from the Started events before them (S-3).

Invariants: a buffered event keeps the time at which it happened, which may lie before events that precede it in
history; the clock of the run never goes back. A step whose end waits here is pending no more
(`BufferedEvent.ends_event_id`).
Not here: whether an event is buffered (`Draft.buffer_or_add`), dropping the buffer of a closed run (`close`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from perdure.history.state.facts import BufferedEvent, FactKind
from perdure.wire.api import enums, history
from perdure.wire.events import attributes_of

if TYPE_CHECKING:
    import msgspec

    from perdure.history.state.run_state import RunState

# S-3: these follow every other buffered event.
_LAST = {
    enums.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: "scheduled_event_id",
    enums.EVENT_TYPE_ACTIVITY_TASK_FAILED: "scheduled_event_id",
    enums.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: "scheduled_event_id",
    enums.EVENT_TYPE_ACTIVITY_TASK_CANCELED: "scheduled_event_id",
    enums.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED: "initiated_event_id",
    enums.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED: "initiated_event_id",
    enums.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT: "initiated_event_id",
    enums.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED: "initiated_event_id",
    enums.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED: "initiated_event_id",
}
# Event type -> the attribute that names the event of the step that it ends.
_ENDS = _LAST | {
    enums.EVENT_TYPE_TIMER_FIRED: "started_event_id",
    enums.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED: "initiated_event_id",
    enums.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED: "initiated_event_id",
    enums.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED: "initiated_event_id",
    enums.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED: "initiated_event_id",
    enums.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED: "initiated_event_id",
}
# Event type -> the attribute that names the scheduling event, for the Started events that `flush` refers to.
_STARTS = {
    enums.EVENT_TYPE_ACTIVITY_TASK_STARTED: "scheduled_event_id",
    enums.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED: "initiated_event_id",
}


def buffered_event(event: history.HistoryEvent) -> BufferedEvent:
    """The fact for an event that waits."""
    attributes: Any = attributes_of(event)
    ends = _ENDS.get(event.event_type)
    is_signal = event.event_type == enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    is_child_start = event.event_type == enums.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED
    return BufferedEvent(
        event=event.SerializeToString(),
        event_type=event.event_type,
        ends_event_id=getattr(attributes, ends) if ends else 0,
        request_id=attributes.request_id if is_signal else "",
        starts_event_id=attributes.initiated_event_id if is_child_start else 0,
    )


class Appends(Protocol):
    """What `flush` needs of a draft."""

    state: RunState

    def fact(self, kind: FactKind, key: str, value: msgspec.Struct | None) -> None:
        """Write (or with None remove) a fact row, and fold it."""
        ...

    def add_event(self, event: history.HistoryEvent) -> int:
        """Append an event that has a time; its id."""
        ...


def flush(draft: Appends) -> bool:
    """Append all buffered events, in the order of S-3; True when there were any.

    To be called once the workflow task is no longer started, after the events of its commands.
    """
    state = draft.state
    assert not state.workflow_task_is_started, f"{state.key}: flush while a workflow task runs"
    if not state.buffered:
        return False
    numbers = sorted(state.buffered)
    waiting = [state.buffered[number] for number in numbers]
    for number in numbers:
        draft.fact(FactKind.BUFFERED, str(number), None)
    started: dict[int, int] = {}
    for item in sorted(waiting, key=lambda item: item.event_type in _LAST):
        event = history.HistoryEvent.FromString(item.event)
        attributes = cast("Any", attributes_of(event))
        if item.event_type in _LAST and item.ends_event_id in started:
            attributes.started_event_id = started[item.ends_event_id]
        event_id = draft.add_event(event)
        if (name := _STARTS.get(event.event_type)) is not None:
            started[getattr(attributes, name)] = event_id
    return True


def is_ending(state: RunState, event_id: int) -> bool:
    """True when the end of the step with this event id is buffered."""
    return state.buffered.ends(event_id)
