"""The buffer of a run: events that wait for the started workflow task to end, and what is asked about them.

Invariants: it may hold thousands of events, so every question is answered without looking at all of them; the answers
are derived from the events alone, and undone with them. Not here: what is buffered, and when it is flushed (`flush`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.history.state.table import Journal, Table
from perdure.wire.api import enums, history

if TYPE_CHECKING:
    from perdure.history.state.facts import BufferedEvent


class _Index:
    """Where the events with something to ask for lie: key -> number of the event."""

    __slots__ = ("ending", "of_type", "requests", "size_bytes", "starting", "timers")

    def __init__(self) -> None:
        self.size_bytes = 0
        self.of_type: dict[int, int] = {}
        """Event type -> how many."""
        self.ending: dict[int, int] = {}
        self.starting: dict[int, int] = {}
        self.requests: dict[str, int] = {}
        self.timers: dict[str, int] = {}

    def count(self, item: BufferedEvent, change: int) -> None:
        self.size_bytes += change * len(item.event)
        self.of_type[item.event_type] = self.of_type.get(item.event_type, 0) + change

    def places(self, item: BufferedEvent) -> list[tuple[dict[Any, int], int | str]]:
        places: list[tuple[dict[Any, int], int | str]] = []
        if item.ends_event_id:
            places.append((self.ending, item.ends_event_id))
        if item.starts_event_id:
            places.append((self.starting, item.starts_event_id))
        if item.request_id:
            places.append((self.requests, item.request_id))
        if item.event_type == enums.EVENT_TYPE_TIMER_FIRED:
            event = history.HistoryEvent.FromString(item.event)
            places.append((self.timers, event.timer_fired_event_attributes.timer_id))
        return places


class Buffer(Table[int, "BufferedEvent"]):
    """Number -> event, in the order of arrival; a number names one event until that is removed."""

    __slots__ = ("_index",)

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal)
        self._index: _Index | None = None
        """None while the buffer is empty: nearly always."""

    def owned(self, journal: Journal) -> Buffer:
        """This buffer, to put something into it: a new one of this journal in place of the empty one of all runs."""
        return Buffer(journal) if self is EMPTY_BUFFER else self

    def set(self, key: int, value: BufferedEvent) -> None:
        assert self is not EMPTY_BUFFER, "who sets asks for the run's own buffer first"
        self._insert(key, value)
        if self._journal.undo is not None:
            self._journal.undo.append((self._take_out, (key,)))

    def remove(self, key: int) -> BufferedEvent | None:
        if key not in self:
            return None
        value = self._take_out(key)
        if self._journal.undo is not None:
            self._journal.undo.append((self._insert, (key, value)))
        return value

    @property
    def size_bytes(self) -> int:
        """Of all events."""
        return self._index.size_bytes if self._index else 0

    def count(self, event_type: int) -> int:
        """How many events of this type wait."""
        return self._index.of_type.get(event_type, 0) if self._index else 0

    def ends(self, event_id: int) -> bool:
        """The end of the step that began with this event waits here."""
        return self._index is not None and event_id in self._index.ending

    def starts(self, initiated_event_id: int) -> bool:
        """The start of this child waits here."""
        return self._index is not None and initiated_event_id in self._index.starting

    def has_request(self, request_id: str) -> bool:
        """A signal with this request id waits here."""
        return self._index is not None and request_id in self._index.requests

    def fired(self, timer_id: str) -> int:
        """The number of this timer's TimerFired; 0 when it does not wait here."""
        return self._index.timers.get(timer_id, 0) if self._index else 0

    def _insert(self, number: int, item: BufferedEvent) -> None:
        assert number not in self, number
        self[number] = item
        index = self._index
        if index is None:
            index = self._index = _Index()
        index.count(item, 1)
        for place, key in index.places(item):
            place[key] = number

    def _take_out(self, number: int) -> BufferedEvent:
        item = self.pop(number)
        index = self._index
        assert index is not None
        if not self:
            self._index = None
            return item
        index.count(item, -1)
        for place, key in index.places(item):
            if place.get(key) == number:
                del place[key]
        return item


EMPTY_BUFFER = Buffer(Journal())
"""With which all runs begin; nothing is ever in it."""
