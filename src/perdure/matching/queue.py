"""One task queue: offer, poll, reserve, withdraw.

A task is an `Item`. Its `key` makes a repeated offer, for example from a scan of the rows, harmless. Parked pollers are
served in order of arrival, items by priority (1 is the most urgent) and then in order of arrival.

The buffer is bounded. When it is full, and before the first poll, items that have a row are not buffered, and
`wants_rows` reports that the rows must be read. Items without a row (queries, redeliveries) are always buffered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from heapq import heappop, heappush
from typing import Generic, NamedTuple, TypeVar

import msgspec

from perdure.core.units import MINUTE_NS, SECOND_NS

T = TypeVar("T")

BUFFER_ITEMS_MAX = 1_000
"""Limit for the tasks of one queue in memory. The others stay rows until the buffer is empty."""
STICKY_POLLER_WINDOW_NS = 10 * SECOND_NS
"""S-11: a sticky queue that was not polled for this long has no worker."""
POLLER_HISTORY_NS = 5 * MINUTE_NS
"""How long DescribeTaskQueue lists a poller after its last poll."""


class Item(NamedTuple, Generic[T]):
    """Something for a poller."""

    key: Hashable
    priority: int
    body: T
    has_row: bool = True
    """Whether the item has a row. Without one, it exists in memory only and must not be dropped."""


class Poller(msgspec.Struct, frozen=True):
    """A parked poll. `poll_id` is unique in the process."""

    poll_id: int
    identity: str
    instance_key: str = ""
    """The instance key of the worker process, for ShutdownWorker."""


class Match(NamedTuple, Generic[T]):
    poller: Poller
    item: Item[T]


class TaskQueue(Generic[T]):
    """The memory of one queue.

    Example:
        >>> queue: TaskQueue[str] = TaskQueue()
        >>> queue.poll(Poller(1, "worker"), now_ns=0) is None
        True
        >>> queue.offer(Item("row 1", 3, "greet")).item.body
        'greet'
    """

    def __init__(self, buffer_items_max: int = BUFFER_ITEMS_MAX) -> None:
        self._parked: OrderedDict[int, Poller] = OrderedDict()
        self._heap: list[tuple[int, int, Item[T]]] = []
        self._keys: set[Hashable] = set()
        self._arrivals = 0
        self._buffer_items_max = buffer_items_max
        self._seen: dict[str, int] = {}
        self._last_poll_ns: int | None = None
        self._is_closed = False
        self._has_unread_rows = True
        self._is_scanning = False

    # Tasks.

    def reserve(self) -> Poller | None:
        """Take the first parked poller for a task that is about to be committed (D-6)."""
        if not self._parked:
            return None
        return self._parked.popitem(last=False)[1]

    def offer(self, item: Item[T]) -> Match[T] | None:
        """Offer a task. Returns the match, or None if the task was buffered or left to its row."""
        if item.key in self._keys:
            return None
        if self._parked:
            return Match(self._parked.popitem(last=False)[1], item)
        if item.has_row and (self._has_unread_rows or len(self._heap) >= self._buffer_items_max):
            # Its row is read later. If it were buffered now, it would overtake older rows.
            self._has_unread_rows = True
            return None
        self._keep(item)
        return None

    def withdraw(self, key: Hashable) -> bool:
        """Remove an item, such as a query whose caller has gone. Returns false if it is not in the queue."""
        if key not in self._keys:
            return False
        self._keys.discard(key)
        return True

    def _keep(self, item: Item[T]) -> None:
        self._arrivals += 1
        self._keys.add(item.key)
        heappush(self._heap, (item.priority, self._arrivals, item))

    def _take(self) -> Item[T] | None:
        while self._heap:
            item = heappop(self._heap)[2]
            if item.key in self._keys:  # otherwise it was withdrawn
                self._keys.discard(item.key)
                return item
        return None

    def drain(self) -> list[Item[T]]:
        """Remove and return all waiting items, in order."""
        items: list[Item[T]] = []
        while (item := self._take()) is not None:
            items.append(item)
        return items

    # Rows.

    @property
    def wants_rows(self) -> bool:
        """True when rows may exist that are not in the buffer, a poller could use them, and no read is in progress."""
        # No poller is parked while something is in the buffer.
        return self._has_unread_rows and not self._is_scanning and bool(self._parked)

    def rows_wanted(self) -> None:
        """Request that the rows are read again: the owner changed, a start failed, or the last read was long ago."""
        self._has_unread_rows = True

    def scan_started(self) -> None:
        """A scan of the rows begins. Its result may lack tasks that are offered from now on, so these are buffered."""
        self._is_scanning = True
        self._has_unread_rows = False

    def rows_read(self, items: Iterable[Item[T]], *, complete: bool) -> list[Match[T]]:
        """Add the result of a scan, oldest first, and serve parked pollers by priority.

        Args:
            items: Tasks of the rows. Known ones are skipped.
            complete: Whether the scan reached the end of the rows. False if it failed.
        """
        self._is_scanning = False
        was_unread, self._has_unread_rows = self._has_unread_rows, False
        for item in items:
            if item.key not in self._keys:
                self._keep(item)
        matches: list[Match[T]] = []
        while self._parked and (best := self._take()) is not None:
            matches.append(Match(self._parked.popitem(last=False)[1], best))
        self._has_unread_rows |= was_unread or not complete
        return matches

    # Pollers.

    def poll(self, poller: Poller, *, now_ns: int, at_front: bool = False) -> Item[T] | None:
        """Returns the next task for this poller, or parks the poller and returns None.

        Args:
            poller: The poll.
            now_ns: The current time, recorded as the last poll.
            at_front: Park it before the others, because it has waited before and its match failed.
        """
        self._is_closed = False
        self._last_poll_ns = now_ns
        self._seen[poller.identity] = now_ns
        if (item := self._take()) is not None:
            return item
        self._parked[poller.poll_id] = poller
        if at_front:
            self._parked.move_to_end(poller.poll_id, last=False)
        return None

    def cancel(self, poll_id: int) -> bool:
        """Withdraw a parked poll. Returns false if it is not parked."""
        return self._parked.pop(poll_id, None) is not None

    def cancel_instance(self, instance_key: str) -> list[Poller]:
        """Withdraw the parked polls of one worker process (ShutdownWorker)."""
        gone = [poller for poller in self._parked.values() if poller.instance_key == instance_key]
        for poller in gone:
            del self._parked[poller.poll_id]
        return gone

    def close(self) -> list[Poller]:
        """S-11: close a sticky queue whose worker is gone. Returns its parked pollers. The next poll opens it again."""
        self._is_closed = True
        gone = list(self._parked.values())
        self._parked.clear()
        return gone

    # What others want to know.

    def is_served(self, now_ns: int) -> bool:
        """S-11: this queue has a poller, or had one within the last ten seconds."""
        if self._is_closed or self._last_poll_ns is None:
            return False
        return bool(self._parked) or now_ns - self._last_poll_ns < STICKY_POLLER_WINDOW_NS

    def pollers(self, now_ns: int) -> list[tuple[str, int]]:
        """(identity, time of the last poll in ns) of recent pollers, latest first."""
        for poller in self._parked.values():
            self._seen[poller.identity] = now_ns
        self._seen = {
            identity: at for identity, at in self._seen.items() if now_ns - at < POLLER_HISTORY_NS
        }
        return sorted(self._seen.items(), key=lambda entry: -entry[1])

    @property
    def is_drained(self) -> bool:
        """Whether no task waits in the queue: none in memory and, as far as is known, none as a row."""
        return not (self._keys or self._has_unread_rows or self._is_scanning)

    @property
    def waiting_tasks(self) -> int:
        return len(self._keys)

    @property
    def parked_pollers(self) -> int:
        return len(self._parked)

    def is_idle(self, now_ns: int) -> bool:
        """Whether the queue can be dropped without losing anything but its list of pollers."""
        last = self._last_poll_ns
        return (
            not self._parked
            and not any(item.key in self._keys and not item.has_row for _, _, item in self._heap)
            and (last is None or now_ns - last > POLLER_HISTORY_NS)
        )
