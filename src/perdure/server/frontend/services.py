"""The objects of a node that handlers use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perdure.core.limits import bytes_if_longer
from perdure.wire.errors import InvalidArgument, namespace_not_found

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.core.clock import Clock
    from perdure.core.limits import Limits
    from perdure.server.common.namespace_facts import NamespaceFact
    from perdure.server.engine import Engine
    from perdure.server.matching.host import MatchingHost
    from perdure.server.owners.owners import Owners
    from perdure.server.pending.queries import Queries
    from perdure.server.pending.updates import Updates
    from perdure.server.runs import Runs


class ServerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How the server presents itself."""

    version: str
    """Of this product."""
    api_version: str = "1.32.0"
    """The version of the reference server whose API this one has. Tools require a minimum of it for what they show."""
    cluster_id: str
    cluster_name: str = "active"
    store: str = "sqlite"
    shard_count: int = 1


class Services:
    """The objects of one node that handlers use."""

    def __init__(
        self,
        *,
        engine: Engine,
        runs: Runs,
        matching: MatchingHost,
        queries: Queries,
        updates: Updates,
        owners: Owners,
        clock: Clock,
        new_id: Callable[[], str],
        limits: Limits,
        info: ServerInfo,
    ) -> None:
        self.engine = engine
        self.runs = runs
        self.matching = matching
        self.queries = queries
        self.updates = updates
        self.owners = owners
        self.clock = clock
        self.new_id = new_id
        self.limits = limits
        self.info = info

    def namespace(self, name: str) -> NamespaceFact:
        """The registered namespace. Raises InvalidArgument for an empty name and NotFound for an unknown one."""
        if not name:
            raise InvalidArgument("Namespace is not set on request.")
        fact = self.engine.namespaces.find(name)
        if fact is None:
            if bytes_if_longer(name, self.limits.id_length_max):
                raise InvalidArgument("Namespace length exceeds limit.")
            raise namespace_not_found(name)
        return fact

    def namespace_id(self, name: str) -> str:
        return self.namespace(name).namespace_id

    def token_key(self, namespace_id: str) -> bytes:
        """The key that seals the tokens of a namespace; empty as long as this node has not been told of it."""
        fact = self.engine.namespaces.by_id(namespace_id)
        return b"" if fact is None else fact.token_key
