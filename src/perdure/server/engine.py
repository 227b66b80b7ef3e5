"""The engine of a node: every change and every read of an entity goes through it.

Role: bring entities into memory, run a transition in the same synchronous step as its commit (D-4), and release results
only when everything they depend on is durable (D-5). The parts: `loading`, `step`, `committer`, `release`,
`wakes`, `outbox`, `retention`.

Invariants: between the last look into the cache and the commit nothing awaits; outcomes belong to groups, so a
caller who is cancelled changes nothing; no caller sees a state that is not durable. Not here: what a request means
(`history`), who polls (`matching.host`), validation and responses (`frontend/`).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from perdure.core.clock import steady
from perdure.core.ids import EntityKey
from perdure.core.limits import DEFAULT_LIMITS, Limits
from perdure.core.units import SECOND_NS, later_ns
from perdure.entity.transition import Transition
from perdure.server.common import closing
from perdure.server.common.entity_types import BUILT_IN
from perdure.server.common.namespace_facts import NAMESPACES
from perdure.server.matching.ports import Matcher, NoMatcher
from perdure.server.owners.owners import Owners
from perdure.server.shards.cache import EntityCache
from perdure.server.shards.clock_control import ClockControl
from perdure.server.shards.committer import Committer
from perdure.server.shards.entities import Entities, Raised
from perdure.server.shards.loading import Loader, read_failed
from perdure.server.shards.namespaces import Namespaces
from perdure.server.shards.node_shards import NodeShards
from perdure.server.shards.outbox import Outbox
from perdure.server.shards.release import Release
from perdure.server.shards.reply_cache import ReplyCache
from perdure.server.shards.step import Steps, no_memory
from perdure.server.shards.tail import trim
from perdure.server.shards.task_starts import TaskStarts
from perdure.server.shards.wakes import Wakes
from perdure.server.timers.orphans import time_out_orphans
from perdure.server.timers.retention import Retention
from perdure.server.timers.row_sweep import RowSweep
from perdure.storage.port import Damaged, DamageError, StoreError
from perdure.wire import errors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from perdure.core.clock import Clock
    from perdure.core.ids import QueueKey, TaskRowId
    from perdure.entity.entity_type import EntityType, Registry
    from perdure.entity.transition import Effect, Task, VisibilityRow
    from perdure.entity.workers import PollInfo
    from perdure.server.common.namespace_facts import NamespaceFact
    from perdure.server.shards.group import Entry
    from perdure.server.shards.shard import Shard
    from perdure.server.shards.step import Memory
    from perdure.storage.port import Store, StoredEffect, TaskRow, VisibilityQuery

log = logging.getLogger(__name__)

T = TypeVar("T")
CACHE_BYTES_MAX = 256 * 1024 * 1024
BRANCH = 0
LOOP_PAUSE_NS = SECOND_NS
"""Pause before a background loop that failed starts again."""


async def no_deliveries(source: EntityKey, effect: Effect) -> None:
    """The `deliver` of an engine whose entities have no effects."""
    raise errors.Internal(f"no delivery for the effect {effect.kind} of {source.name}")


async def _read(reading: Awaitable[T]) -> T:
    """Await a read of the store. Raises Unavailable if the database does not answer, DataLoss if it is damaged."""
    try:
        return await reading
    except StoreError as error:
        raise read_failed(error) from None


def _damaged_namespace(key: EntityKey) -> Damaged:
    return Damaged(
        f"the settings of namespace {key.namespace_id} are damaged: restore the database from a backup"
    )


async def _for_ever(work: Callable[[], Awaitable[None]]) -> None:
    """Run one of the node's loops and restart it after errors, so that a bug does not end it silently."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("a background loop failed; it begins again")
            await asyncio.sleep(LOOP_PAUSE_NS / SECOND_NS)


class Engine:
    """Loads entities, applies changes and releases their results. Call `open` before use and `close` afterwards.

    Args:
        store: The database; `close` closes it.
        clock: Source of the current time. The engine makes it steady, as its attribute `clock`: timers and retries take
            their time although the wall clock is set back.
        new_id: Returns a new UUID as text.
        matcher: Task queues; without one, tasks stay rows.
        limits: Default limits of every namespace.
        deliver: Applies an effect of a source at its destination.
        types: The kinds of entities, with a registration for each.
        memory: Takes the notes of transitions, in the step that writes them.
        owners: Which shards are here, and who owns the others. Default: all are here.
        cache_bytes_max: Limit for the memory of cached entities, in bytes (an estimate).

    Attributes:
        cache, entities, shards: The entities in memory, the changes of entities, and the shards that this node owns.
        committer, release: What writes batches, and what lets their results out.
        wakes, outbox, row_sweep: The background work: wake-ups, deliveries, and rows of tasks that will not be polled.
        namespaces: The namespaces as facts.

    Example:
        engine = Engine(open_memory(), SystemClock(), new_id)
        await engine.open()
        reply = await engine.update(key, change)
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        new_id: Callable[[], str],
        *,
        matcher: Matcher | None = None,
        limits: Limits = DEFAULT_LIMITS,
        deliver: Callable[[EntityKey, Effect], Awaitable[None]] = no_deliveries,
        types: Registry = BUILT_IN,
        memory: Memory = no_memory,
        owners: Owners | None = None,
        cache_bytes_max: int = CACHE_BYTES_MAX,
    ) -> None:
        matcher = matcher or NoMatcher()
        self._owners = owners or Owners(store.shard_count)
        self._store = store
        self.clock = self._clock = clock = steady(clock)
        self._types = types
        self._matcher = matcher
        self.cache = EntityCache(cache_bytes_max)
        self.namespaces = Namespaces(self.write, self._owners)
        shard_ids = self._owners.shards_here
        self.shards = NodeShards(store, self.cache, self._shard_acquired, shard_ids)
        self.wakes = Wakes(store, clock, self.shards.ready_ids, self._fire)
        clock.on_leap = self.wakes.poke
        self.outbox = Outbox(store, deliver, self._finish_effect)
        self.release = Release(self.cache, matcher, self.wakes, self.outbox)
        self.committer = Committer(store, clock, self.shards.drop, self.shards.settle)
        self._steps = Steps(self.cache, self.committer, self.release, types, matcher, memory, clock)
        self._loader = Loader(store, self.cache, clock, types)
        self.entities = Entities(
            self.cache,
            self._loader,
            self.shards,
            self._steps,
            clock,
            new_id,
            limits,
            self.namespaces,
            types,
        )
        self._task_starts = TaskStarts(self.entities, self._steps, self.committer, matcher, types)
        self.release.give_back = self._task_starts.give_back_later
        self.clock_control = ClockControl(
            self.wakes, self.outbox, self.committer, self._steps, self._fire
        )
        self._replies = ReplyCache()
        self._retention = Retention(store, clock, self.shards.ready_ids, self._expire)
        self.row_sweep = RowSweep(store, clock, self.shards.ready_ids, self.entities, self._steps)
        self._background: set[asyncio.Task[Any]] = set()
        self._loops: list[asyncio.Task[None]] = []

    # Life.

    async def open(self, *, workers_died: bool = False, is_at_work: bool = True) -> None:
        """Acquire the shards, read the namespaces, and start committing, waking and delivering.

        Args:
            workers_died: Whether the workers of an earlier process died with it (embedded engine, D-34).
            is_at_work: False for an engine that changes only what it is told to: nothing is woken or delivered, until
                `begin_work` is called.

        Raises:
            StoreError: The database cannot be used.
        """
        await self.shards.acquire_all()
        self._loops = [self._spawn(self.committer.run())]
        for key in await self._store.entities(NAMESPACES.number):
            self.namespaces.install(await self._namespace(key))
        if is_at_work:
            await self.begin_work(workers_died=workers_died)

    async def begin_work(self, *, workers_died: bool = False) -> None:
        """Wake, deliver, and delete what is over its retention; see `open`."""
        if workers_died:
            await time_out_orphans(self._store, self.owned_shards(), self._time_out_orphans)
        await self.outbox.recover(list(self.shards.ready_ids()))
        for work in (self.wakes.run, self._retention.run, self.row_sweep.run):
            self._loops.append(self._spawn(_for_ever(work)))

    async def close(self) -> None:
        """Stop answering, write accepted changes within the time limit of `closing`, and close the store.

        Close the matcher first.
        """
        self.entities.is_closing = True
        self._owners.close()
        self.outbox.stop()
        self._task_starts.stop()
        for loop in self._loops[1:]:
            loop.cancel()
        await self.wakes.stop()
        await closing.done(self.committer.flush(), "changes that nobody was told of")
        self.shards.stop()
        for task in tuple(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self.committer.abandon()
        await self._store.close()

    # Changes.

    async def update(
        self,
        key: EntityKey,
        change: Callable[..., Transition | tuple[Transition, ...]],
        *arguments: object,
        token: bytes = b"",
        is_wake: bool = False,
    ) -> Any:
        """Change an entity durably. Returns the transition's reply.

        Args:
            key: The entity. It must exist; use `write` to create one.
            change: A transition, called with the state, the arguments and an `Env` in the same synchronous step as its
                commit.
            arguments: Further arguments for `change`.
            token: Method and task token of a Respond* call, which records what a worker has done (see `Steps.perform`);
                a repeated call gets the same answer (D-47).
            is_wake: Whether this change consumes the stored wake-up.

        Raises:
            RpcError: Raised by the transition, or because the change could not be written.
        """
        now_ns = self._clock.monotonic_ns()
        outcome = self._replies.get(token, now_ns) if token else None
        if outcome is None:
            entries = self.entities.cached_to_change(key)
            if entries is None:
                with self.committer.under_way():
                    entries = await self.entities.ready_to_change(key)
                # A repetition of this call may have run while the entity was loaded.
                outcome = self._replies.get(token, now_ns) if token else None
            if outcome is None:
                outcome = self.entities.change(
                    entries, change, *arguments, is_wake=is_wake, is_report=bool(token)
                )
                if token and not isinstance(outcome.reply, Raised):
                    self._replies.keep(token, outcome, now_ns)
        return await self.entities.durable_reply(outcome)

    async def write(self, transition: Transition) -> Any:
        """Write a finished transition durably; the entity may be new. Returns the transition's reply.

        For changes that do not depend on existing state; others go through `update`.
        """
        entries = await self.entities.ready_to_change(transition.key)
        env = self.entities.env(transition.key.namespace_id, entries[0].shard)
        outcome = self._steps.perform(entries[0].shard, entries, (transition,), env)
        return await self.entities.durable_reply(outcome)

    async def delete(self, key: EntityKey) -> bool:
        """Delete a closed entity and everything it owns. Returns false if it must stay for now."""
        entity, *neighbours = await self.entities.ready_to_change(key)
        if not entity.number or not entity.is_closed or entity.pending or self.outbox.holds(key):
            return False
        left_alone = [one for one in neighbours if entity.type.is_left_alone(key, one.state)]
        await self.entities.durable_reply(self._steps.delete(entity.shard, [entity, *left_alone]))
        return True

    # Reads.

    async def read(self, key: EntityKey, look: Callable[[Any], T]) -> T:
        """The result of `look` on an entity's state, returned once that state is durable."""
        return await self.entities.look(
            await self.entities.ready(key), lambda state, _: look(state)
        )

    async def history(self, key: EntityKey, first_event_id: int, last_event_id: int) -> list[bytes]:
        """The durable events of the range, framed."""
        (entry,) = await self.entities.ready(key)
        last = min(last_event_id, entry.durable_event_id)
        if not entry.number or last < first_event_id:
            return []
        rows = entry.tail.range(first_event_id, last)
        if rows is not None:
            return rows
        stored = await _read(self._store.events(entry.number, BRANCH, first_event_id, last))
        return trim(stored, first_event_id, last)

    async def wait_for_events(
        self, key: EntityKey, after_event_id: int, timeout_ns: int, *, until_end: bool = False
    ) -> bool:
        """Wait for a durable event after `after_event_id`. Returns false on timeout, or if none can follow.

        With `until_end` only the event that closes the run ends the wait.
        """
        (entry,) = await self.entities.ready(key)
        is_open = entry.state is not None and (not entry.is_closed or entry.pending is not None)
        if entry.durable_event_id > after_event_id and not (until_end and is_open):
            return True
        if not is_open:
            return False
        return await self.release.next_event(entry, timeout_ns, until_end=until_end)

    def type_of(self, key: EntityKey) -> EntityType[Any]:
        """The registration of the entity's kind."""
        return self._types.of(key)

    async def visibility(self, query: VisibilityQuery) -> list[VisibilityRow]:
        return await _read(self._store.visibility(query))

    async def visibility_count(self, query: VisibilityQuery) -> int:
        return await _read(self._store.visibility_count(query))

    async def visibility_counts(self, query: VisibilityQuery) -> dict[int, int]:
        """The number of runs of each status."""
        return await _read(self._store.visibility_counts(query))

    # For matching.

    def owned_shards(self) -> tuple[int, ...]:
        return self.shards.ready_ids()

    async def task_rows(
        self, queue: QueueKey, shard_id: int, after_sequence: int, limit: int
    ) -> list[TaskRow]:
        return await _read(self._store.tasks(queue, shard_id, after_sequence, limit))

    async def start_task(self, task: Task, row: TaskRowId | None, info: PollInfo) -> Any:
        return await self._task_starts.start(task, row, info)

    async def leave_sticky_queue(self, task: Task, row: TaskRowId) -> None:
        await self._task_starts.leave_sticky_queue(task, row)

    async def give_back(self, task: Task, reply: Any) -> None:
        await self._task_starts.give_back(task, reply)

    # Parts.

    async def _namespace(self, key: EntityKey) -> NamespaceFact:
        try:
            if self._owners.is_here(key):
                found = (await self.entities.ready(key))[0].state
            else:
                found = await self._loader.peek(key)
        except errors.DataLoss as error:
            raise _damaged_namespace(key) from error
        if found is None:
            raise _damaged_namespace(key)
        return found

    async def _time_out_orphans(self, key: EntityKey) -> object:
        try:
            return await self.update(key, self._types.of(key).time_out_orphans)
        except NotImplementedError as error:
            raise errors.DataLoss(f"{error}: a row says that it has a task in flight.") from error

    async def _expire(self, key: EntityKey) -> bool:
        """Delete a run whose retention is over; one that its namespace keeps longer by now gets the later time."""
        entries = await self.entities.ready_to_change(key)
        until_ns = self._retained_until_ns(entries[0])
        if until_ns <= self._clock.now_ns():
            return await self.delete(key)
        later = Transition(key=key, delete_at_ns=until_ns)
        env = self.entities.env(key.namespace_id, entries[0].shard)
        outcome = self._steps.perform(entries[0].shard, entries, (later,), env)
        await self.entities.durable_reply(outcome)
        return True

    def _retained_until_ns(self, entry: Entry) -> int:
        namespace = self.namespaces.by_id(entry.key.namespace_id)
        if namespace is None or not entry.number or not entry.is_closed:
            return 0
        shown = entry.type.visibility(entry.state)
        return 0 if shown is None else later_ns(shown.close_ns, namespace.retention_ns)

    async def _fire(self, key: EntityKey) -> None:
        await self.update(key, self._types.of(key).wake, is_wake=True)

    async def _finish_effect(self, stored: StoredEffect) -> None:
        (entry,) = await self.entities.ready(stored.source)
        await self.entities.durable_reply(self._steps.finish_rows(entry, outbox=(stored.sequence,)))

    def _shard_acquired(self, shard: Shard) -> None:
        self.clock.not_before(shard.clock_ns)
        self.wakes.rescan()
        self._matcher.shard_acquired(shard.shard_id)
        if self._loops:
            # The shard was acquired again: a batch with an unknown outcome, or another owner, may have left effects.
            self._spawn(self._recover_again(shard.shard_id))

    async def _recover_again(self, shard_id: int) -> None:
        try:
            await self.outbox.recover([shard_id])
        except DamageError as error:
            log.error(
                "effects of shard %d that are not delivered stay where they are: %s",
                shard_id,
                error,
            )

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task
