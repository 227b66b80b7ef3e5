"""Entities in memory and the synchronous step over them: load, change, reveal.

Role: `ready` brings entries into memory; `change`, `perform` and `look` compute on them in the same synchronous step
and give an `Outcome`; `reveal` releases it when everything it rests on is durable.

Invariants: between the last look into the cache and the commit nothing awaits (D4); outcomes belong to groups, so a
caller who is cancelled changes nothing; errors and no-ops wait for the barrier as replies do (D5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from perdure.core.ids import EntityKey, EntityKind, run_key, workflow_id_key
from perdure.entity.env import Env
from perdure.server.shards.step import Outcome, barrier_of
from perdure.wire import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perdure.core.clock import Clock
    from perdure.core.limits import Limits
    from perdure.entity.transition import Transition
    from perdure.history.state.pointer import CurrentRun
    from perdure.history.state.run_state import RunState
    from perdure.server.common.namespace_facts import NamespaceFact
    from perdure.server.shards.cache import EntityCache, Entry
    from perdure.server.shards.loading import Loader
    from perdure.server.shards.namespaces import Namespaces
    from perdure.server.shards.node_shards import NodeShards
    from perdure.server.shards.shard import Shard
    from perdure.server.shards.step import Steps

T = TypeVar("T")


class Entities:
    """See the module."""

    def __init__(
        self,
        cache: EntityCache,
        loader: Loader,
        shards: NodeShards,
        steps: Steps,
        clock: Clock,
        new_id: Callable[[], str],
        limits: Limits,
        namespaces: Namespaces,
    ) -> None:
        self._cache = cache
        self._loader = loader
        self._shards = shards
        self._steps = steps
        self._clock = clock
        self._new_id = new_id
        self._limits = limits
        self._namespaces = namespaces
        self._scopes: dict[str, tuple[NamespaceFact, Limits]] = {}
        self.is_closing = False

    async def ready(self, *keys: EntityKey) -> list[Entry]:
        """The entries of these keys, all in memory at once. The caller goes on without awaiting (D4)."""
        entries = self._cached(keys)
        if entries is None:
            with self._cache.pinned(keys):
                while (entries := self._cached(keys)) is None:
                    for key in keys:
                        if key not in self._cache:
                            await self._loader.load(key, self._shards.of(key))
        return entries

    def at_hand(self, *keys: EntityKey) -> list[Entry] | None:
        """As `ready`, without waiting: None when something has to be loaded first."""
        return self._cached(keys)

    def _cached(self, keys: Sequence[EntityKey]) -> list[Entry] | None:
        if self.is_closing:
            raise errors.Unavailable("The engine is shutting down.")
        entries: list[Entry] = []
        for key in keys:
            entry = self._cache.get(key)
            if entry is None:
                return None
            entries.append(entry)
        return entries

    async def ready_current(self, namespace_id: str, workflow_id: str, run_id: str) -> list[Entry]:
        """Run and pointer; the pointer alone when the workflow id means nothing."""
        pointer_key = workflow_id_key(namespace_id, workflow_id)
        if run_id:
            return await self.ready(run_key(namespace_id, workflow_id, run_id), pointer_key)
        while True:
            (pointer,) = await self.ready(pointer_key)
            current: CurrentRun | None = pointer.state
            if current is None:
                return [pointer]
            key = run_key(namespace_id, workflow_id, current.run_id)
            run, pointer = await self.ready(key, pointer_key)
            # The pointer may have moved while the run was loaded.
            if pointer.state is not None and pointer.state.run_id == key.run_id:
                return [run, pointer]

    def change(
        self,
        entries: Sequence[Entry],
        change: Callable[..., Transition | tuple[Transition, ...]],
        *arguments: object,
        is_wake: bool = False,
    ) -> Outcome:
        """The synchronous step on a run: `change` gets its state, the arguments and the `Env`."""
        state = _state_of(entries[0])
        if state is None:
            return Outcome(barrier_of(entries), Raised(_no_run(entries[0].key)))
        return self.perform(entries, state, change, state, *arguments, is_wake=is_wake)

    def perform(
        self,
        entries: Sequence[Entry],
        state: RunState | None,
        change: Callable[..., Transition | tuple[Transition, ...]],
        *arguments: object,
        is_wake: bool = False,
    ) -> Outcome:
        """The synchronous step: transition and append. `change` gets the arguments and the `Env`."""
        shard = entries[0].shard
        env = self.env(entries[0].key.namespace_id, shard)
        try:
            transitions = _as_tuple(change(*arguments, env))
        except errors.RpcError as error:
            return Outcome(barrier_of(entries), Raised(error))
        finally:
            # A draft that a faulty transition left open must not leak into what others read.
            if state is not None and state.journal.undo is not None:
                state.roll_back()
        return self._steps.perform(shard, entries, transitions, env, is_wake=is_wake)

    async def look(self, entries: Sequence[Entry], look: Callable[[RunState, Env], T]) -> T:
        state = _state_of(entries[0])
        if state is None:
            outcome = Outcome(barrier_of(entries), Raised(_no_run(entries[0].key)))
        else:
            env = self.env(entries[0].key.namespace_id, entries[0].shard)
            try:
                outcome = Outcome(barrier_of(entries), look(state, env))
            except errors.RpcError as error:
                outcome = Outcome(barrier_of(entries), Raised(error))
        return await self.reveal(outcome)

    async def reveal(self, outcome: Outcome) -> Any:
        """The outcome's reply, once everything that it rests on is durable."""
        for group in outcome.barrier:
            if not group.is_settled:
                # The group is the shard's: a caller who goes away does not take it along.
                await group.settled()
            if group.error is not None:
                raise _fresh(group.error)
        reply = outcome.reply
        if isinstance(reply, Raised):
            raise _fresh(reply.error)
        if isinstance(reply, errors.RpcError):
            raise _fresh(reply)
        return reply

    def env(self, namespace_id: str, shard: Shard) -> Env:
        limits, name = self._limits, ""
        namespace = self._namespaces.by_id(namespace_id)
        if namespace is not None:
            name = namespace.name
            limits = self._namespace_limits(namespace)
        now_ns = shard.now_ns(self._clock.now_ns())
        return Env(now_ns, self._new_id, limits, name, self._namespace_id_of)

    def _namespace_limits(self, namespace: NamespaceFact) -> Limits:
        """The node's limits with what the namespace has of its own; made anew when the namespace was changed."""
        known = self._scopes.get(namespace.namespace_id)
        if known is not None and known[0] is namespace:
            return known[1]
        own = msgspec.structs.replace(self._limits, retention_default_ns=namespace.retention_ns)
        self._scopes[namespace.namespace_id] = namespace, own
        return own

    def _namespace_id_of(self, name: str) -> str:
        namespace = self._namespaces.find(name)
        return namespace.namespace_id if namespace else ""


class Raised:
    """An error that a transition or look raised: nothing changed, but it may rest on what is not durable yet."""

    __slots__ = ("error",)

    def __init__(self, error: errors.RpcError) -> None:
        self.error = error


def _fresh(error: errors.RpcError) -> errors.RpcError:
    """A copy to raise: one outcome may have many callers, and a traceback belongs to one."""
    return type(error)(error.message, *error.details)


def _state_of(entry: Entry) -> RunState | None:
    return cast("RunState | None", entry.state) if entry.key.kind is EntityKind.RUN else None


def _no_run(key: EntityKey) -> errors.RpcError:
    return errors.not_found(f"workflow not found for ID: {key.name}")


def _as_tuple(result: Transition | tuple[Transition, ...]) -> tuple[Transition, ...]:
    transitions = result if isinstance(result, tuple) else (result,)
    if not any(transition.also for transition in transitions):
        return transitions
    return tuple(each for transition in transitions for each in (transition, *transition.also))
