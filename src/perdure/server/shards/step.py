"""The synchronous step: transitions become a group, tasks meet parked pollers, and the group joins the open batch.

Role: the one place where a `Transition` is turned into rows, and where its notes reach the memory of the shard's owner.
Nothing here awaits, so the cache cannot change between the read and the write. Tasks for which a poller is parked are
started in the same group (D-6); all others become rows (D-8).

Invariants: after `perform`, every written entry's `pending` is the new group; on any error before that, nothing
changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.core.ids import EntityKey, TaskRowId
from perdure.entity.workers import StaleTask
from perdure.server.shards.group import Entry, Group, Offer, OutboxEffect, SyncMatch
from perdure.storage.port import OutboxRow, TaskRow

if TYPE_CHECKING:
    from perdure.core.clock import Clock
    from perdure.entity.entity_type import Registry
    from perdure.entity.env import Env
    from perdure.entity.transition import Task, Transition
    from perdure.server.matching.ports import InlineWork, Matcher, Poller
    from perdure.server.shards.cache import EntityCache
    from perdure.server.shards.committer import Committer
    from perdure.server.shards.group import GroupHost
    from perdure.server.shards.shard import Shard

log = logging.getLogger(__name__)

INLINE_TASKS_MAX = 1
"""How many tasks may be handled inline in one step. A chain of runs that never wait must not fill one transaction."""

Memory = Callable[[msgspec.Struct, EntityKey, Any], None]
"""Takes a note of a transition: the note, the entity's key, and its state after the change."""


def no_memory(note: msgspec.Struct, key: EntityKey, state: Any) -> None:
    """The `memory` of an engine whose transitions have no notes."""
    raise NotImplementedError(f"nothing takes the note {type(note).__name__} of {key.name}")


class Outcome(msgspec.Struct, frozen=True):
    """What a step computed, and the commits that must be durable before anyone may see it (D-5)."""

    barrier: tuple[Group, ...]
    reply: Any


class Steps:
    """Performs steps against the cache of a node."""

    def __init__(
        self,
        cache: EntityCache,
        committer: Committer,
        host: GroupHost,
        types: Registry,
        matcher: Matcher,
        memory: Memory,
        clock: Clock,
    ) -> None:
        self._cache = cache
        self._clock = clock
        self._committer = committer
        self._host = host
        self._types = types
        self.matcher = matcher
        self._memory = memory
        self.watch: Callable[[Group], None] | None = None
        """Called with every group within its step; used by the time-skipping clock."""

    def perform(
        self,
        shard: Shard,
        read: Sequence[Entry],
        transitions: Sequence[Transition],
        env: Env,
        *,
        is_wake: bool = False,
        is_report: bool = False,
    ) -> Outcome:
        """Write the transitions as one group.

        Args:
            shard: The shard of all the entities.
            read: The entries from which the transitions were computed.
            transitions: The transitions in order; each state is already changed.
            env: The `Env` of the transitions. Tasks for parked pollers are started with it.
            is_wake: Whether this step consumes the stored wake-up, so that it is replaced rather than only lowered.
            is_report: Whether it records what a worker has done. That is written before any workflow code runs: if the
                code ends the process, an activity that has succeeded must not run again.
        """
        reply = None
        is_empty = not is_wake
        for transition in transitions:
            if transition.reply is not None:
                reply = transition.reply
            is_empty = is_empty and transition.is_empty
            for note in transition.notes:
                self._memory(note, transition.key, self._state_after(transition))
        if is_empty:
            return Outcome(barrier_of(read), reply)
        group = Group(shard, self._host, read)
        group.may_work_inline = not is_report
        try:
            for transition in transitions:
                self._write(group, transition, is_wake=is_wake)
            for transition in transitions:
                if transition.tasks:
                    self._place(group, transition.tasks, env)
            self._seal(group)
        except BaseException as error:
            # The state in memory has changed but cannot be written. The committer drops it when its turn comes.
            log.exception("a change of %s cannot be stored", transitions[0].key)
            group.is_broken = True
            for transition in transitions:
                group.write_of(self._entry(shard, transition.key))
            if not isinstance(error, Exception):
                # Ctrl-C, for instance. The change must not stay in memory without being written.
                self._append(group, read)
                raise
        return Outcome(self._append(group, read), reply)

    def delete(self, shard: Shard, entries: Sequence[Entry]) -> Outcome:
        """Delete entities and everything they own."""
        group = Group(shard, self._host, entries)
        for entry in entries:
            group.write_of(entry).is_deleted = True
            entry.clear()
        group.seal()
        return Outcome(self._append(group, entries), None)

    def finish_rows(
        self, entry: Entry, *, tasks: tuple[TaskRowId, ...] = (), outbox: tuple[int, ...] = ()
    ) -> Outcome:
        """Remove task rows without changing their entity, which may no longer exist."""
        group = Group(entry.shard, self._host)
        write = group.write_of(entry)
        write.finished_tasks, write.finished_outbox = tasks, outbox
        group.seal()
        return Outcome(self._append(group, (entry,)), None)

    def _append(self, group: Group, read: Sequence[Entry]) -> tuple[Group, ...]:
        barrier = (*barrier_of(read), group)
        for entry in group.entries:
            entry.pending = group
            self._cache.resize(entry)
        if self.watch is not None:
            self.watch(group)
        self._committer.append(group)
        return barrier

    def _write(self, group: Group, transition: Transition, *, is_wake: bool = False) -> None:
        entry = self._entry(group.shard, transition.key)
        is_new = not entry.number
        if is_new:
            if transition.is_empty:
                return
            entry.number = group.shard.next_entity()
        write = group.write_of(entry)
        if is_new:
            write.number, write.is_new = entry.number, True
        if transition.finished_tasks:
            write.finished_tasks = (*write.finished_tasks, *transition.finished_tasks)
        if transition.visibility is not None:
            write.visibility = transition.visibility
        if transition.delete_at_ns is not None:
            write.delete_at_ns = transition.delete_at_ns
        if transition.state is not None:
            entry.state = transition.state
        if transition.events is not None:
            assert entry.type.has_log, f"{entry.type.name} keeps no events"
            write.events = (*write.events, transition.events)
            entry.tail.append(transition.events)
        if transition.facts:
            group.add_facts(entry, transition.facts)
        if (state := entry.state) is not None:
            # What is stored is written again only if it has changed, or was consumed.
            stored_ns = entry.wake_at_ns
            bound_ns = entry.type.wake_bound_ns(state, transition, stored_ns, is_wake=is_wake)
            if is_wake or bound_ns != stored_ns:
                entry.wake_at_ns = write.wake_at_ns = bound_ns
        if transition.effects:
            rows = [OutboxRow(group.shard.next_row(), effect) for effect in transition.effects]
            write.outbox = (*write.outbox, *rows)
            group.outbox = [
                *group.outbox,
                *(OutboxEffect(entry, row.sequence, row.effect) for row in rows),
            ]
        for companion in entry.type.companions(transition, self._state_of, is_new=is_new):
            self._write(group, companion)

    def _seal(self, group: Group) -> None:
        """Write what depends on the state at the end of the step, and encode everything."""
        for entry, write in zip(group.entries, group.writes, strict=True):
            if (state := entry.state) is not None:
                in_flight = entry.type.has_task_in_flight(state)
                if in_flight is not entry.has_task_in_flight:
                    entry.has_task_in_flight = write.has_task_in_flight = in_flight
        group.seal()

    def _entry(self, shard: Shard, key: EntityKey) -> Entry:
        entry = self._cache.get(key)
        if entry is None:
            # Only for a new entity. Its id has just been drawn, so it cannot exist anywhere.
            entry = Entry(key, shard, self._types.of(key))
            self._cache.add(entry)
        return entry

    def _state_of(self, key: EntityKey) -> Any:
        entry = self._cache.get(key)
        return None if entry is None else entry.state

    def _state_after(self, transition: Transition) -> Any:
        return self._state_of(transition.key) if transition.state is None else transition.state

    # Tasks.

    def _place(self, group: Group, tasks: Sequence[Task], env: Env) -> None:
        """Start each task for a parked poller, or make it a row."""
        for task in tasks:
            if group.may_work_inline and self._start_inline(group, task, env):
                continue
            poller = self.matcher.reserve(task)
            if poller is None or not self._hand_over(group, task, poller, env):
                self._row(group, task)

    def _start_inline(self, group: Group, task: Task, env: Env) -> bool:
        """Start a task for a worker in this process that can begin it now; false if there is none."""
        poller = self.matcher.inline_poller(task)
        if poller is None:
            return False
        entry = self._entry(group.shard, task.entity)
        try:
            started = entry.type.start_task(entry.state, task, None, poller.info, env)
        except Exception:
            log.exception("a task of %s could not be started; it waits in its queue", task.entity)
            return False
        if not started.is_empty:
            self._write(group, started)
        if isinstance(started.reply, StaleTask):
            return True
        work = poller.work(started.reply, entry.tail)
        group.add_inline(work)
        group.may_work_inline = len(group.inline) < INLINE_TASKS_MAX
        if work.is_complete:
            self._complete_inline(group, entry, work, env)
        return True

    def _complete_inline(self, group: Group, entry: Entry, work: InlineWork, env: Env) -> None:
        # Time has passed while the worker's code ran.
        env = msgspec.structs.replace(env, now_ns=group.shard.now_ns(self._clock.now_ns()))
        try:
            transitions = flattened(work.change(entry.state, env))
        finally:
            entry.type.abandon(entry.state)
        for transition in transitions:
            for note in transition.notes:
                self._memory(note, transition.key, self._state_after(transition))
            if not transition.is_empty:
                self._write(group, transition)
        work.applied(transitions[0].reply)
        for transition in transitions:
            self._place(group, transition.tasks, env)

    def _hand_over(self, group: Group, task: Task, poller: Poller, env: Env) -> bool:
        entry = self._entry(group.shard, task.entity)
        try:
            started = entry.type.start_task(entry.state, task, None, poller.info, env)
        except Exception:
            log.exception("a task of %s could not be started; it waits in its queue", task.entity)
            self.matcher.restore(poller)
            return False
        if isinstance(started.reply, StaleTask):
            self.matcher.restore(poller)
        else:
            group.add_sync_match(SyncMatch(poller, task, started.reply))
        if not started.is_empty:
            self._write(group, started)
        return True

    def _row(self, group: Group, task: Task) -> None:
        sequence = group.shard.next_row()
        entry = self._entry(group.shard, task.entity)
        group.add_task(entry, TaskRow(sequence, task))
        group.offer(Offer(task, TaskRowId(task.queue, group.shard.shard_id, sequence)))


def flattened(result: Transition | tuple[Transition, ...]) -> tuple[Transition, ...]:
    """The transitions, each followed by those in its `also`."""
    transitions = result if isinstance(result, tuple) else (result,)
    # Usually without a generator, which is slower: every change of an entity comes through here.
    for transition in transitions:
        if transition.also:
            break
    else:
        return transitions
    return tuple(each for transition in transitions for each in (transition, *transition.also))


def barrier_of(entries: Sequence[Entry]) -> tuple[Group, ...]:
    """The uncommitted changes on which everything computed from these entries depends."""
    groups: list[Group] = []
    for entry in entries:
        group = entry.pending
        if group is not None and group not in groups:
            groups.append(group)
    return tuple(groups)
