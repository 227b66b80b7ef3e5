"""A history as the steps that people think in: one activity, one timer, one signal. Pure.

Role: `steps(history)` folds the events of one thing (scheduled, started, completed) into one `Step`. Workflow tasks are
plumbing and appear only when they went wrong. `each_event(history)` is the unfolded view: one step per event.

Invariants: steps are in the order of their first event; an event type unknown to this version becomes a step under its
own name and never an error; payloads are shown by `payloads.text`.
Not here: columns, colours and widths (`timeline.py`).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.rendering import payloads
from perdure.rendering.event_text import CLOSING, INSTANT, NOTES, OPENING, Closed
from perdure.wire.api import enums
from perdure.wire.times import timestamp_ns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure.wire.api import history


class State(Enum):
    """How far a step got."""

    INSTANT = "instant"
    OPEN = "open"
    DONE = "done"
    FAILED = "failed"
    CANCELED = "canceled"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a timeline."""

    event_ids: tuple[int, ...]
    begin_ns: int
    end_ns: int | None
    """None while the step is open."""
    what: str
    detail: str
    state: State


_STATES = {
    Closed.DONE: State.DONE,
    Closed.FAILED: State.FAILED,
    Closed.CANCELED: State.CANCELED,
}

# What a later event calls the event that opened its group; the order matters, since an activity's close event names
# both its scheduled and its started event.
_OPENED_BY = ("scheduled_event_id", "initiated_event_id", "accepted_event_id", "started_event_id")

_E = enums.EventType
_PLUMBING = frozenset(
    (
        _E.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
        _E.EVENT_TYPE_WORKFLOW_TASK_STARTED,
        _E.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
    )
)


class _Group:
    """A step while its events are being collected."""

    def __init__(self, event: history.HistoryEvent, what: str, detail: str, state: State) -> None:
        self.event_ids = [event.event_id]
        self.begin_ns = timestamp_ns(event.event_time)
        self.end_ns = self.begin_ns if state is not State.OPEN else None
        self.what = what
        self.details = [detail] if detail else []
        self.state = state

    def add(self, event: history.HistoryEvent, detail: str, state: State | None = None) -> None:
        self.event_ids.append(event.event_id)
        if detail:
            self.details.append(detail)
        if state is not None:
            self.state = state
            self.end_ns = timestamp_ns(event.event_time)

    def step(self) -> Step:
        return Step(
            event_ids=tuple(self.event_ids),
            begin_ns=self.begin_ns,
            end_ns=self.end_ns,
            what=self.what,
            detail="  ".join(self.details),
            state=self.state,
        )


def steps(events: Iterable[history.HistoryEvent]) -> list[Step]:
    """Fold events into steps, in the order of their first events."""
    groups: dict[int, _Group] = {}
    for event in events:
        if event.event_type in _PLUMBING:
            continue
        attributes = _attributes(event)
        if opening := OPENING.get(event.event_type):
            what, detail = opening(event)
            groups[event.event_id] = _Group(event, _labelled(event, what), detail, State.OPEN)
        elif (note := NOTES.get(event.event_type)) and (group := _opened(groups, attributes)):
            group.add(event, note(event))
        elif (closing := CLOSING.get(event.event_type)) and (group := _opened(groups, attributes)):
            outcome, detail = closing(event)
            group.add(event, detail, _STATES[outcome])
        else:
            groups[event.event_id] = _instant(event)
    return [group.step() for group in groups.values()]


def each_event(events: Iterable[history.HistoryEvent]) -> list[Step]:
    """One step per event, plumbing included: the unfolded view."""
    found: list[Step] = []
    for event in events:
        instant = _instant(event)
        instant.what = event_name(event)
        found.append(instant.step())
    return found


def one_event(event: history.HistoryEvent) -> Step | None:
    """One event by itself, in the words of a step; None for plumbing."""
    return None if event.event_type in _PLUMBING else _instant(event).step()


def event_name(event: history.HistoryEvent) -> str:
    """`ActivityTaskScheduled`; the number for a type that this version does not know."""
    try:
        name = enums.EventType.Name(event.event_type)
    except ValueError:
        return f"event type {int(event.event_type)}"
    return "".join(word.capitalize() for word in name.removeprefix("EVENT_TYPE_").split("_"))


def _instant(event: history.HistoryEvent) -> _Group:
    state = State.INSTANT
    if describe := INSTANT.get(event.event_type):
        what, detail, outcome = describe(event)
        state = State.INSTANT if outcome is None else _STATES[outcome]
    elif opening := OPENING.get(event.event_type):
        what, detail = opening(event)
    elif closing := CLOSING.get(event.event_type):
        outcome, detail = closing(event)
        what, state = event_name(event), _STATES[outcome]
    else:
        note = NOTES.get(event.event_type)
        what, detail = event_name(event), note(event) if note else ""
    return _Group(event, what, detail, state)


def _opened(groups: dict[int, _Group], attributes: Any) -> _Group | None:
    for name in _OPENED_BY:
        if opened_by := getattr(attributes, name, 0):
            group = groups.get(opened_by)
            # A timer's cancellation names the started event; what it names must really be an open step.
            return group if group is not None and group.end_ns is None else None
    return None


def _attributes(event: history.HistoryEvent) -> Any:
    chosen = event.WhichOneof("attributes")
    return getattr(event, chosen) if chosen else None


def _labelled(event: history.HistoryEvent, what: str) -> str:
    """With the summary that the author gave the step, if any."""
    if event.HasField("user_metadata") and event.user_metadata.HasField("summary"):
        summary = payloads.value(event.user_metadata.summary)
        return f"{what} ({summary})" if isinstance(summary, str) and summary else what
    return what
