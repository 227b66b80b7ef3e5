"""The consequences of a commit: answer callers, give tasks to pollers, arm wake-ups, deliver effects (D-5).

Role: the `GroupHost` of the node. After a failure, the entities are dropped from the cache (the next reader loads them
again), reserved pollers are parked again, and callers get the error.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from perdure.core.units import SECOND_NS
from perdure.storage.port import StoredEffect

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.core.ids import EntityKey
    from perdure.server.matching.ports import Matcher
    from perdure.server.shards.cache import EntityCache
    from perdure.server.shards.group import Entry, Group, SyncMatch
    from perdure.server.shards.outbox import Outbox
    from perdure.server.shards.wakes import Wakes
    from perdure.wire.errors import RpcError

log = logging.getLogger(__name__)


class Release:
    """Settles groups: delivers their consequences after a commit, and undoes them after a failure.

    Args:
        cache: Entities whose change failed are removed from it.
        matcher: Receives tasks and restored pollers.
        wakes: Receives the new wake-ups.
        outbox: Receives the new effects.
    """

    def __init__(
        self,
        cache: EntityCache,
        matcher: Matcher,
        wakes: Wakes,
        outbox: Outbox,
    ) -> None:
        self._cache = cache
        self._matcher = matcher
        self._wakes = wakes
        self._outbox = outbox
        self.give_back: Callable[[SyncMatch], None]
        """Undoes the start of a task whose poller has gone; set when the node is wired."""
        self._waiters: dict[EntityKey, list[asyncio.Future[bool]]] = {}
        """Waiters for any event of a run."""
        self._end_waiters: dict[EntityKey, list[asyncio.Future[bool]]] = {}
        """Waiters for the end of a run: the most common wait by far. Other events do not wake them."""

    def batch_written(self) -> None:
        """Evict what was kept for the readers of earlier batches."""
        self._cache.forget_closed()

    def durable(self, group: Group) -> None:
        """Perform the consequences of a group that was written."""
        for entry, write in zip(group.entries, group.writes, strict=True):
            if entry.pending is group:
                entry.pending = None
            if write.wake_at_ns is not None:
                self._wakes.arm(entry.key, write.wake_at_ns)
            if write.events:
                row = write.events[-1]
                entry.durable_event_id = row.first_event_id + row.count - 1
                if self._waiters:
                    _wake_all(self._waiters, entry.key)
            if write.delete_at_ns is not None:
                self._cache.note_closed(entry)
                _wake_all(self._end_waiters, entry.key)
            if write.is_deleted:
                self._tell_everyone(entry.key)
        group.settle(None)
        for work in group.inline:
            _alone(work.durable)
        for match in group.sync_matches:
            _alone(self._hand_over, match)
        for offer in group.offers:
            _alone(self._matcher.offer, *offer)
        for source, sequence, effect in group.outbox:
            stored = StoredEffect(source.key, source.number, sequence, effect)
            _alone(self._outbox.push, stored)
        group.forget()
        self._cache.shrink()

    def _hand_over(self, match: SyncMatch) -> None:
        if not self._matcher.deliver(*match):
            self.give_back(match)

    def failed(self, group: Group, error: RpcError) -> None:
        """Discard the results of a group that was not written."""
        for entry in group.entries:
            entry.pending = None
            self._cache.drop(entry)
            self._tell_everyone(entry.key)
        group.settle(error)
        for work in group.inline:
            _alone(work.lost)
        for match in group.sync_matches:
            self._matcher.restore(match.poller)
        group.forget()

    async def next_event(self, entry: Entry, timeout_ns: int, *, until_end: bool = False) -> bool:
        """Wait until an event of this run, or only its last one, becomes durable; false after the timeout."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        table = self._end_waiters if until_end else self._waiters
        table.setdefault(entry.key, []).append(waiter)
        timer = loop.call_later(timeout_ns / SECOND_NS, _answer, waiter, False)
        try:
            return await waiter
        finally:
            timer.cancel()
            _forget(table, entry.key, waiter)

    def _tell_everyone(self, key: EntityKey) -> None:
        """Wake every waiter of the run, because the state it saw may no longer be valid."""
        _wake_all(self._waiters, key)
        _wake_all(self._end_waiters, key)


def _alone(tell: Callable[..., object], *what: object) -> None:
    """Call `tell` and log its errors, so that a bug in one consequence does not prevent the others."""
    try:
        tell(*what)
    except Exception:
        log.exception("something durable could not be handed on; it is taken up again later")


def _wake_all(table: dict[EntityKey, list[asyncio.Future[bool]]], key: EntityKey) -> None:
    for waiter in table.pop(key, ()):
        _answer(waiter, True)


def _forget(
    table: dict[EntityKey, list[asyncio.Future[bool]]], key: EntityKey, waiter: asyncio.Future[Any]
) -> None:
    waiters = table.get(key)
    if waiters is not None and waiter in waiters:
        waiters.remove(waiter)
        if not waiters:
            del table[key]


def _answer(waiter: asyncio.Future[bool], answer: bool) -> None:
    if not waiter.done():
        waiter.set_result(answer)
