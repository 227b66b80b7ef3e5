"""The namespaces of this node. All are in memory; each is a fact of a NAMESPACE entity.

Invariant: what `find` returns is durable. Not here: the RPCs (`frontend/namespaces.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.core.ids import EntityKey
from perdure.entity.transition import FactChange, Transition
from perdure.server.common.namespace_facts import NAMESPACE, NAMESPACES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from perdure.server.common.namespace_facts import NamespaceFact


def namespace_key(namespace_id: str) -> EntityKey:
    return EntityKey(NAMESPACES.number, namespace_id, "")


class Namespaces:
    """The registry of namespaces.

    Args:
        write: Commits a transition of a namespace; returns once durable.
    """

    def __init__(self, write: Callable[[Transition], Awaitable[object]]) -> None:
        self._write = write
        self._by_name: dict[str, NamespaceFact] = {}
        self._by_id: dict[str, NamespaceFact] = {}

    def find(self, name: str) -> NamespaceFact | None:
        return self._by_name.get(name)

    def by_id(self, namespace_id: str) -> NamespaceFact | None:
        return self._by_id.get(namespace_id)

    def all(self) -> tuple[NamespaceFact, ...]:
        return tuple(self._by_name.values())

    async def put(self, fact: NamespaceFact) -> None:
        """Register the namespace, or replace its settings, durably."""
        change = FactChange(NAMESPACE, "", fact)
        key = namespace_key(fact.namespace_id)
        await self._write(Transition(key=key, state=fact, facts=(change,)))
        self.install(fact)

    def install(self, fact: NamespaceFact) -> None:
        """Add a namespace that was read from the store."""
        old = self._by_id.get(fact.namespace_id)
        if old is not None and old.name != fact.name:
            del self._by_name[old.name]
        self._by_id[fact.namespace_id] = fact
        self._by_name[fact.name] = fact
