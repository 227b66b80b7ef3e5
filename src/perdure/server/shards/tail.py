"""The newest events of an entity in memory, for polls and reads that need only those."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.wire.events import frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure.entity.transition import EventRow

TAIL_BYTES_MAX = 256 * 1024
"""Limit for the events of one entity that are kept in memory."""


class EventTail:
    """The newest event rows of an entity, contiguous."""

    __slots__ = ("_rows", "size_bytes")

    def __init__(self) -> None:
        self._rows: list[EventRow] = []
        self.size_bytes = 0

    def append(self, row: EventRow) -> None:
        self._rows.append(row)
        self.size_bytes += len(row.data)
        if self.size_bytes > TAIL_BYTES_MAX:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Drop old rows down to half the limit, so that this is rare. The newest row always stays."""
        count = 0
        while self.size_bytes > TAIL_BYTES_MAX // 2 and count < len(self._rows) - 1:
            self.size_bytes -= len(self._rows[count].data)
            count += 1
        del self._rows[:count]

    def range(self, first_event_id: int, last_event_id: int) -> list[bytes] | None:
        """The framed events of the range, or None when it begins before the tail."""
        rows = self._rows
        if not rows or first_event_id < rows[0].first_event_id:
            return None
        # Search from the end: nearly all reads want the newest of possibly thousands of rows.
        start = len(rows) - 1
        while rows[start].first_event_id > first_event_id:
            start -= 1
        return trim(rows[start:], first_event_id, last_event_id)


NO_TAIL = EventTail()
"""The tail of entities without events; nothing is ever appended to it."""


def trim(rows: Sequence[EventRow], first_event_id: int, last_event_id: int) -> list[bytes]:
    """The framed events of rows in order, cut to the range."""
    found: list[bytes] = []
    for row in rows:
        first = row.first_event_id
        last = first + row.count - 1
        if first_event_id <= first and last <= last_event_id:  # nearly always
            found.append(row.data)
        elif first_event_id <= last and first <= last_event_id:
            start = max(first_event_id - first, 0)
            stop = last_event_id - first + 1
            found.append(b"".join(list(frames(row.data))[start:stop]))
    return found
