"""Namespaces as a kind of entity, each with one fact.

Not here: the registry in memory (`Engine.namespaces`), the RPCs (the frontend's).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from perdure.core.ids import EntityKind
from perdure.core.limits import RETENTION_FOREVER_NS
from perdure.core.units import DAY_NS
from perdure.entity.entity_type import EntityType

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perdure.core.ids import EntityKey
    from perdure.entity.transition import FactChange

NAMESPACE = 10
"""The kind of the fact. Stored: never reuse the number."""


class NamespaceFact(msgspec.Struct, frozen=True, kw_only=True):
    """A registered namespace. `state` is a `NamespaceState` of the API (1 registered, 2 deprecated, 3 deleted)."""

    namespace_id: str
    name: str
    state: int = 1
    description: str = ""
    owner_email: str = ""
    data: dict[str, str] = {}
    retention_ns: int = RETENTION_FOREVER_NS
    is_retention_known: bool = False
    """False in facts of versions that gave each namespace 24 hours unless another time was requested."""
    created_ns: int = 0
    search_attributes: dict[str, int] = {}
    """Custom search attributes: name to `IndexedValueType` of the API."""
    token_key: bytes = b""
    """Authenticates the task and page tokens of this namespace (`seals`). Empty in facts of earlier versions."""
    unsealed_until_ns: int = 0
    """When a namespace of an earlier version got its key. Tokens without a seal are older; 0: there are none."""

    def __repr__(self) -> str:
        # Without the key: what is printed or logged must not hold a secret.
        return f"NamespaceFact({self.name!r}, {self.namespace_id!r})"


def upgraded(fact: NamespaceFact) -> NamespaceFact:
    """A stored fact as this version understands it: nobody chose the 24 hours of earlier versions."""
    if not fact.is_retention_known and fact.retention_ns == DAY_NS:
        return msgspec.structs.replace(fact, retention_ns=RETENTION_FOREVER_NS)
    return fact


class _NamespaceAuditor:
    def __init__(self) -> None:
        self._names: set[str] = set()

    def look(
        self, key: EntityKey, state: Any, facts: Sequence[FactChange]
    ) -> Iterator[tuple[str, str]]:
        if state.name in self._names:
            yield "namespaces", f"two namespaces are called {state.name!r}"
        self._names.add(state.name)

    def end(self) -> Iterator[tuple[str, str]]:
        yield from ()


_FACT_TYPES = {NAMESPACE: NamespaceFact}


class NamespaceType(EntityType[NamespaceFact]):
    """The namespace kind. A namespace is stored in the shard of its id and is never deleted."""

    number = EntityKind.NAMESPACE
    name = "namespace"
    check = "namespaces"
    fact_types = _FACT_TYPES
    auditor = _NamespaceAuditor

    def label(self, key: EntityKey) -> str:
        return f"{self.name} {key.namespace_id}"


NAMESPACES = NamespaceType()
