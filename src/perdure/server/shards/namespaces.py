"""The namespaces, all in the memory of each node. Each is a fact of a NAMESPACE entity, which one node owns.

Invariants: what `find` returns is durable; two changes never start from the same settings.
Not here: the RPCs (`frontend/namespaces.py`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from perdure.core.ids import EntityKey, new_key
from perdure.core.limits import RETENTION_FOREVER_NS
from perdure.entity.transition import FactChange, Transition
from perdure.server.common.namespace_facts import NAMESPACE, NAMESPACES, upgraded
from perdure.server.owners.messages import NamespaceWritten, WriteNamespace
from perdure.server.owners.owners import Owners
from perdure.wire.errors import (
    AlreadyExists,
    namespace_not_found,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from perdure.server.common.namespace_facts import NamespaceFact


def namespace_key(namespace_id: str) -> EntityKey:
    return EntityKey(NAMESPACES.number, namespace_id, "")


class Namespaces:
    """The registry of namespaces.

    Args:
        write: Commits a transition of a namespace; returns once durable.
        owners: The owners of namespaces. Default: all are here.
        new_key: Makes the secrets of namespaces.
    """

    def __init__(
        self,
        write: Callable[[Transition], Awaitable[object]],
        owners: Owners | None = None,
        new_key: Callable[[], bytes] = new_key,
    ) -> None:
        self._new_key = new_key
        self._write = write
        self._owners = owners or Owners(shard_count=1)
        self._by_name: dict[str, NamespaceFact] = {}
        self._by_id: dict[str, NamespaceFact] = {}
        self._changing = asyncio.Lock()

    def find(self, name: str) -> NamespaceFact | None:
        return self._by_name.get(name)

    def by_id(self, namespace_id: str) -> NamespaceFact | None:
        return self._by_id.get(namespace_id)

    def all(self) -> tuple[NamespaceFact, ...]:
        return tuple(self._by_name.values())

    async def register(self, fact: NamespaceFact) -> None:
        """Add a namespace durably.

        Raises:
            AlreadyExists: The name is taken.
        """
        async with self._changing:
            if fact.name in self._by_name:
                raise AlreadyExists(f"Namespace {shown(fact.name)} already exists.")
            await self.put(fact)

    async def change(
        self, namespace_id: str, change: Callable[[NamespaceFact], NamespaceFact]
    ) -> None:
        """Replace the settings of a namespace durably by what `change` makes of them; it may raise."""
        async with self._changing:
            fact = self._by_id[namespace_id]
            changed = change(fact)
            if changed != fact:
                await self.put(changed)

    async def keep_runs(self, name: str, retention_ns: int) -> None:
        """Set for how long the closed runs of a namespace are kept. Runs that are closed already keep a later time.

        Raises:
            NamespaceNotFound: There is no such namespace.
        """
        found, stored_ns = self.find(name), min(retention_ns, RETENTION_FOREVER_NS)
        if found is None:
            raise namespace_not_found(name)
        await self.change(
            found.namespace_id, lambda fact: msgspec.structs.replace(fact, retention_ns=stored_ns)
        )

    async def give_keys(self, now_ns: int) -> None:
        """Give a key to each namespace here that has none. Its tokens had no seals until now.

        Args:
            now_ns: The node's time.
        """
        for fact in self.all():
            if not fact.token_key and self._owners.is_here(namespace_key(fact.namespace_id)):
                await self.put(msgspec.structs.replace(fact, unsealed_until_ns=now_ns))

    async def put(self, fact: NamespaceFact) -> None:
        """Register the namespace, or replace its settings, durably, and let all nodes know."""
        token_key = fact.token_key or self._new_key()
        fact = msgspec.structs.replace(fact, is_retention_known=True, token_key=token_key)
        key = namespace_key(fact.namespace_id)
        if self._owners.is_here(key):
            await self.write(fact)
        else:
            await self._owners.ask(key, WriteNamespace(fact))
        self.install(fact)
        await self._owners.ask_others(NamespaceWritten(fact))

    async def write(self, fact: NamespaceFact) -> None:
        """Store a namespace whose shard is here."""
        change = FactChange(NAMESPACE, "", fact)
        key = namespace_key(fact.namespace_id)
        await self._write(Transition(key=key, state=fact, facts=(change,)))

    def install(self, fact: NamespaceFact) -> None:
        """Add a namespace that is durable."""
        fact = upgraded(fact)
        old = self._by_id.get(fact.namespace_id)
        if old is not None and old.name != fact.name:
            del self._by_name[old.name]
        self._by_id[fact.namespace_id] = fact
        self._by_name[fact.name] = fact
