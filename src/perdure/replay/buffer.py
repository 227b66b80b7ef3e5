"""Splits a history into workflow tasks, across pages and partial (sticky) histories (R-41).

A *sequence* is the range of events that one activation of user code handles: the commands of the previous task (right
after its WorkflowTaskCompleted), the events since then, and the WorkflowTaskStarted that ends the sequence, or the
event that closed the run.

Invariants: a sequence is returned only if the next one is complete as well or history has ended, because patches,
updates and local activities are found by looking ahead. So the result never depends on how the server split the history
into pages.

What is not here: fetching (`NeedPage` asks the caller), and what the events mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from perdure.replay import events as ev

if TYPE_CHECKING:
    from perdure.wire.api import history


class _End(NamedTuple):
    last: int
    """Index of the sequence's last event (of the last known event when incomplete)."""
    complete: bool


class HistoryBuffer:
    """Events of one run that are known but not yet applied."""

    __slots__ = ("_cached_end", "_events", "_tail", "_types", "complete", "token")

    def __init__(self) -> None:
        self._events: list[history.HistoryEvent] = []
        self._types: list[int] = []
        self._tail: list[history.HistoryEvent] = []
        self._cached_end: tuple[int, _End] | None = None
        self.token: bytes = b""
        self.complete = True
        """Whether the last page is known."""

    def load(self, events: Iterable[history.HistoryEvent], token: bytes) -> None:
        """Restart with the first page of a task."""
        self._events = list(events)
        self._types = [event.event_type for event in self._events]
        self._tail = []
        self._cached_end = None
        self.token = token
        self.complete = not token

    def restart(self, tail: Iterable[history.HistoryEvent]) -> None:
        """Fetch from the first event of the run. `tail` has the events of the task itself.

        The tail is appended after the last page, without duplicates, because events of a speculative task are in no
        page (S-16).
        """
        self.load((), b"")
        self._tail = list(tail)
        self.complete = False

    def add_page(self, events: Iterable[history.HistoryEvent], token: bytes) -> None:
        """Append the next page; an empty token ends history."""
        self._cached_end = None
        self._extend(events)
        self.token = token
        self.complete = not token
        if self.complete and self._tail:
            self._extend(self._tail)
            self._tail = []

    def _extend(self, events: Iterable[history.HistoryEvent]) -> None:
        last = self.last_event_id
        for event in events:
            if event.event_id > last:
                self._events.append(event)
                self._types.append(event.event_type)

    @property
    def last_event_id(self) -> int:
        """Id of the newest known event; 0 if none is left."""
        return self._events[-1].event_id if self._events else 0

    @property
    def first_event_id(self) -> int:
        """Id of the oldest event that was not taken yet; 0 if none is left."""
        return self._events[0].event_id if self._events else 0

    @property
    def empty(self) -> bool:
        """Whether nothing is left to take."""
        return not self._events

    def ready(self, after: int) -> bool:
        """Whether the sequence after event `after` and the one after that are known."""
        if self.complete:
            return True
        first = self._end(self._skip(after), after)
        if not first.complete:
            return False
        return self._end(first.last + 1, after).complete

    def take(self, after: int) -> tuple[list[history.HistoryEvent], bool] | None:
        """Remove and return the next sequence, and whether it is the last one of a full history.

        Returns None at the end of history. Call it only while `ready`.
        """
        start = self._skip(after)
        if start:
            del self._events[:start], self._types[:start]
            self._cached_end = None
        end = self._cached_end[1] if self._cached_end is not None else self._end(0, after)
        self._cached_end = None
        if not end.complete and end.last == 0:
            return None
        cut = end.last + 1
        sequence = self._events[:cut]
        del self._events[:cut], self._types[:cut]
        return sequence, self.complete and not self._events

    def peek(self, after: int) -> Sequence[history.HistoryEvent]:
        """The sequence that the next `take` will return, as far as it is known."""
        if not self._events:
            return ()
        end = self._end(0, after)
        self._cached_end = (after, end)
        return self._events[: end.last + 1]

    def next_completed(self, from_id: int) -> history.WorkflowTaskCompletedEventAttributes | None:
        """Attributes of the first WorkflowTaskCompleted with an id of at least `from_id`."""
        for index, event_type in enumerate(self._types):
            if event_type == ev.WORKFLOW_TASK_COMPLETED:
                event = self._events[index]
                if event.event_id >= from_id:
                    return event.workflow_task_completed_event_attributes
        return None

    def _skip(self, after: int) -> int:
        """Index of the first event newer than `after`; 0 if there is none."""
        if not self._events or self._events[0].event_id > after:
            return 0
        for index, event in enumerate(self._events):
            if event.event_id > after:
                return index
        return 0

    def _end(self, start: int, after: int) -> _End:
        """The end of the sequence that begins at `start`."""
        types = self._types
        count = len(types)
        saw_start = saw_command = False
        started: list[int] = []  # indexes of WorkflowTaskStarted events that were not undone
        for index in range(start, count):
            event_type = types[index]
            if event_type in ev.COMMAND_EVENTS and self._events[index].event_id > after:
                saw_command = saw_start = True
            elif event_type == ev.WORKFLOW_EXECUTION_STARTED:
                saw_start = True
            if event_type in ev.FINAL_EVENTS:
                return _End(index, complete=True)
            if event_type != ev.WORKFLOW_TASK_STARTED or self._events[index].event_id <= after:
                continue
            if index + 1 == count:
                if not self.complete:
                    return _End(count - 1, complete=False)  # the next event may undo this task
            else:
                follower = types[index + 1]
                if follower in ev.UNSTARTS_TASK:
                    continue
                started.append(index)
                if follower == ev.WORKFLOW_TASK_COMPLETED:
                    if index + 2 < count:
                        found = self._after_completed(index, started, saw_command=saw_command)
                        if found is None:
                            continue
                        return _End(found, complete=True)
                    if not self.complete:
                        return _End(count - 1, complete=False)
            if saw_start:
                return _End(index, complete=True)
        return _End(max(count - 1, 0), complete=False)

    def _after_completed(
        self, index: int, started: Sequence[int], *, saw_command: bool
    ) -> int | None:
        """End of the sequence whose task `index` completed; None for a heartbeat (R-3)."""
        follower = self._types[index + 2]
        if not saw_command and follower == ev.WORKFLOW_TASK_SCHEDULED:
            return None
        if follower == ev.UPDATE_ACCEPTED:
            # An update must be handled in the task before which it was sequenced, even when later
            # empty tasks would be merged: go back to the closest task started before that point.
            accepted = self._events[index + 2].workflow_execution_update_accepted_event_attributes
            sequenced = accepted.accepted_request_sequencing_event_id
            for candidate in reversed(started):
                if self._events[candidate].event_id < sequenced:
                    return candidate
        return index
