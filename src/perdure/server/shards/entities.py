"""Entities in memory and the synchronous step over them: load, change, reveal.

Role: `ready` brings entries into memory; `change`, `perform` and `look` compute on them in the same synchronous step
and return an `Outcome`; `reveal` releases it when everything it depends on is durable.

Invariants: between the last look into the cache and the commit nothing awaits (D-4); outcomes belong to groups, so a
caller who is cancelled changes nothing; errors and no-ops wait for the barrier as replies do (D-5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from perdure.entity.env import Env
from perdure.server.shards.step import Outcome, barrier_of, flattened
from perdure.wire import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perdure.core.clock import Clock
    from perdure.core.ids import EntityKey
    from perdure.core.limits import Limits
    from perdure.entity.entity_type import Registry
    from perdure.entity.transition import Transition
    from perdure.server.common.namespace_facts import NamespaceFact
    from perdure.server.shards.cache import EntityCache
    from perdure.server.shards.group import Entry
    from perdure.server.shards.loading import Loader
    from perdure.server.shards.namespaces import Namespaces
    from perdure.server.shards.node_shards import NodeShards
    from perdure.server.shards.shard import Shard
    from perdure.server.shards.step import Steps

T = TypeVar("T")


class Entities:
    """The entities of a node, of all kinds."""

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
        types: Registry,
    ) -> None:
        self._cache = cache
        self._loader = loader
        self._shards = shards
        self._steps = steps
        self._clock = clock
        self._new_id = new_id
        self._limits = limits
        self._namespaces = namespaces
        self._types = types
        self._scopes: dict[str, tuple[NamespaceFact, Limits]] = {}
        self.is_closing = False

    async def ready(self, *keys: EntityKey) -> list[Entry]:
        """The entries of these keys, all in memory at once. The caller must continue without awaiting (D-4)."""
        # Nearly always all are there, and nothing else is asked. `_cached` refuses the others.
        entries = None if self.is_closing else self._cache.get_all(keys)
        if entries is None:
            with self._cache.pinned(keys):
                while (entries := self._cached(keys)) is None:
                    for key in keys:
                        if key not in self._cache:
                            await self._loader.load(key, self._shards.of(key))
        return entries

    def _cached(self, keys: Sequence[EntityKey]) -> list[Entry] | None:
        if self.is_closing:
            raise errors.Unavailable("The engine is shutting down.")
        return self._cache.get_all(keys)

    async def ready_to_change(self, key: EntityKey) -> list[Entry]:
        """Like `ready`, for the entity and the neighbours that must be in memory when it is changed."""
        return await self.ready(key, *self._types.of(key).neighbours(key))

    def cached_to_change(self, key: EntityKey) -> list[Entry] | None:
        """Like `ready_to_change`, but without waiting: None if that has to load something, or refuses."""
        if self.is_closing:
            return None
        return self._cache.get_all((key, *self._types.of(key).neighbours(key)))

    def change(
        self,
        entries: Sequence[Entry],
        change: Callable[..., Transition | tuple[Transition, ...]],
        *arguments: object,
        is_wake: bool = False,
        is_report: bool = False,
    ) -> Outcome:
        """Perform the synchronous step on an entity. `change` gets its state, the arguments and the `Env`."""
        entry = entries[0]
        if entry.state is None:
            return Outcome(barrier_of(entries), Raised(entry.type.missing(entry.key)))
        return self.perform(
            entries,
            entry,
            change,
            entry.state,
            *arguments,
            is_wake=is_wake,
            is_report=is_report,
        )

    def perform(
        self,
        entries: Sequence[Entry],
        changed: Entry | None,
        change: Callable[..., Transition | tuple[Transition, ...]],
        *arguments: object,
        is_wake: bool = False,
        is_report: bool = False,
    ) -> Outcome:
        """Perform the synchronous step: transition and append. `change` gets the arguments and the `Env`.

        Args:
            entries: The entries that `change` reads. The outcome depends on their pending commits.
            changed: The entity whose state `change` may modify; None if it does not exist yet.
            change: Returns one or more transitions.
            arguments: Arguments for `change`, before the `Env`.
            is_wake: Whether this change consumes the stored wake-up.
            is_report: See `Steps.perform`.
        """
        shard = entries[0].shard
        env = self.env(entries[0].key.namespace_id, shard)
        try:
            transitions = flattened(change(*arguments, env))
        except errors.RpcError as error:
            return Outcome(barrier_of(entries), Raised(error))
        finally:
            # If a faulty transition leaves its draft open, others must not see the half-changed state.
            if changed is not None and changed.state is not None:
                changed.type.abandon(changed.state)
        return self._steps.perform(
            shard, entries, transitions, env, is_wake=is_wake, is_report=is_report
        )

    async def look(self, entries: Sequence[Entry], look: Callable[[Any, Env], T]) -> T:
        entry = entries[0]
        if entry.state is None:
            outcome = Outcome(barrier_of(entries), Raised(entry.type.missing(entry.key)))
        else:
            env = self.env(entry.key.namespace_id, entry.shard)
            try:
                outcome = Outcome(barrier_of(entries), look(entry.state, env))
            except errors.RpcError as error:
                outcome = Outcome(barrier_of(entries), Raised(error))
        return await self.durable_reply(outcome)

    async def durable_reply(self, outcome: Outcome) -> Any:
        """The outcome's reply, once everything it depends on is durable."""
        for group in outcome.barrier:
            if not group.is_settled:
                # The group belongs to the shard: cancelling the caller must not cancel it.
                await group.settled()
            if group.error is not None:
                raise _fresh(group.error)
        reply = outcome.reply
        if isinstance(reply, _ERRORS):
            raise _fresh(reply.error if isinstance(reply, Raised) else reply)
        return reply

    def env(self, namespace_id: str, shard: Shard) -> Env:
        limits, name = self._limits, ""
        attributes: dict[str, int] | None = None
        namespace = self._namespaces.by_id(namespace_id)
        if namespace is not None:
            name = namespace.name
            known = self._scopes.get(namespace_id)
            if known is None or known[0] is not namespace:
                known = self._scope_of(namespace)
            limits = known[1]
            attributes = namespace.search_attributes
        now_ns = shard.now_ns(self._clock.now_ns())
        return Env(
            now_ns,
            self._new_id,
            limits,
            name,
            self._namespace_id_of,
            attributes,
            self._search_attributes_of,
        )

    def _scope_of(self, namespace: NamespaceFact) -> tuple[NamespaceFact, Limits]:
        """The namespace and the node's limits with its own settings; remembered until it is changed."""
        own = msgspec.structs.replace(self._limits, retention_default_ns=namespace.retention_ns)
        scope = self._scopes[namespace.namespace_id] = namespace, own
        return scope

    def _namespace_id_of(self, name: str) -> str:
        namespace = self._namespaces.find(name)
        return namespace.namespace_id if namespace else ""

    def _search_attributes_of(self, name: str) -> dict[str, int] | None:
        namespace = self._namespaces.find(name)
        return namespace.search_attributes if namespace else None


class Raised:
    """An error raised by a transition or a look. Nothing changed, but it may depend on state that is not durable."""

    __slots__ = ("error",)

    def __init__(self, error: errors.RpcError) -> None:
        self.error = error


_ERRORS = (Raised, errors.RpcError)


def _fresh(error: errors.RpcError) -> errors.RpcError:
    """A copy to raise: one outcome may have many callers, and a traceback belongs to one."""
    return type(error)(error.message, *error.details)
