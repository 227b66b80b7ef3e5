"""The buffer answers as a look at all its events would, also after an abandoned draft."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perdure.history.state.buffer import Buffer
from perdure.history.state.facts import BufferedEvent
from perdure.history.state.table import Journal
from perdure.wire.api import enums, history
from perdure.wire.events import event

SIGNALED = enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
FIRED = enums.EVENT_TYPE_TIMER_FIRED
STARTED = enums.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED
KEYS = range(1, 7)


def item(kind: int, key: int) -> BufferedEvent:
    """A buffered signal, fired timer or started child; what it concerns is named by `key`."""
    if kind == SIGNALED:
        return BufferedEvent(event=b"s" * key, event_type=kind, request_id=f"request {key}")
    if kind == STARTED:
        return BufferedEvent(event=b"c" * key, event_type=kind, starts_event_id=key)
    fired = history.TimerFiredEventAttributes(timer_id=f"timer {key}", started_event_id=key)
    return BufferedEvent(event=event(fired).SerializeToString(), event_type=kind, ends_event_id=key)


def answers(buffer: Buffer) -> object:
    return (
        buffer.size_bytes,
        [buffer.count(kind) for kind in (SIGNALED, FIRED, STARTED)],
        [buffer.ends(key) for key in KEYS],
        [buffer.starts(key) for key in KEYS],
        [buffer.has_request(f"request {key}") for key in KEYS],
        [buffer.fired(f"timer {key}") for key in KEYS],
    )


def by_looking(buffer: Buffer) -> object:
    items = list(buffer.values())
    timers = {
        history.HistoryEvent.FromString(each.event).timer_fired_event_attributes.timer_id: number
        for number, each in buffer.items()
        if each.event_type == FIRED
    }
    return (
        sum(len(each.event) for each in items),
        [sum(each.event_type == kind for each in items) for kind in (SIGNALED, FIRED, STARTED)],
        [any(each.ends_event_id == key for each in items) for key in KEYS],
        [any(each.starts_event_id == key for each in items) for key in KEYS],
        [any(each.request_id == f"request {key}" for each in items) for key in KEYS],
        [timers.get(f"timer {key}", 0) for key in KEYS],
    )


STEPS = st.lists(
    st.tuples(st.sampled_from([SIGNALED, FIRED, STARTED]), st.sampled_from(KEYS), st.booleans())
)


def play(buffer: Buffer, steps: list[tuple[int, int, bool]], first: int) -> None:
    """Add what is not there yet, or remove it."""
    for offset, (kind, key, adds) in enumerate(steps):
        made = item(kind, key)
        found = next((number for number, each in buffer.items() if each == made), 0)
        if adds and not found:
            buffer.set(first + offset, made)
        elif not adds and found:
            assert buffer.remove(found) == made
        assert answers(buffer) == by_looking(buffer)


@given(STEPS, STEPS)
def test_answers_are_those_of_a_look_at_all_events(
    kept: list[tuple[int, int, bool]], undone: list[tuple[int, int, bool]]
) -> None:
    journal = Journal()
    buffer = Buffer(journal)
    play(buffer, kept, 1)
    before, known = dict(buffer), answers(buffer)
    journal.undo = []
    play(buffer, undone, 1_000)
    for step, arguments in reversed(journal.undo):
        step(*arguments)
    assert (dict(buffer), answers(buffer)) == (before, known)


def test_what_is_not_there_is_not_removed() -> None:
    assert Buffer(Journal()).remove(1) is None
