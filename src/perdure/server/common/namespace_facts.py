"""The one fact of a NAMESPACE entity. The registry itself is `Engine.namespaces`; the RPCs are the frontend's."""

from __future__ import annotations

import msgspec

from perdure.core.limits import DEFAULT_LIMITS

NAMESPACE = 10
"""The kind of the fact. Stored: never reuse the number."""


class NamespaceFact(msgspec.Struct, frozen=True, kw_only=True):
    """A registered namespace. `state` as `NamespaceState` of the API (1 registered, 2 deprecated, 3 deleted)."""

    namespace_id: str
    name: str
    state: int = 1
    description: str = ""
    owner_email: str = ""
    data: dict[str, str] = {}
    retention_ns: int = DEFAULT_LIMITS.retention_default_ns
    created_ns: int = 0
    search_attributes: dict[str, int] = {}
    """Custom search attributes: name to `IndexedValueType` of the API."""
