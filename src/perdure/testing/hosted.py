"""What backends over a node in this process share: clients without a network, and one shutdown for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.client import Client
from perdure.embedded import EmbeddedConnection
from perdure.service import ConnectConfig, ServiceClient
from perdure.testing.backend import Backend

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from perdure.client import Interceptor
    from perdure.common import SearchAttributeKey
    from perdure.server.node.node import Node


class HostedBackend(Backend):
    """A backend over `node`, which it ends.

    Args:
        node: It runs already.
        target: What clients show as their target.
        config: Parameters of `ConnectConfig` for every client.
        client: Parameters of `Client` for the backend's own.
        interceptors: The backend's own, inside those of the client.
    """

    def __init__(
        self,
        node: Node,
        *,
        target: str,
        config: Mapping[str, Any],
        client: Mapping[str, Any],
        interceptors: Sequence[Interceptor],
    ) -> None:
        self._node = node
        self._target = target
        self._config = dict(config)
        self._interceptors = interceptors
        self._connections: list[EmbeddedConnection] = []
        self._is_shut = False
        super().__init__(self._new_client(client))

    def _new_client(self, options: Mapping[str, Any]) -> Client:
        connection = EmbeddedConnection(self._node, self)
        self._connections.append(connection)
        config = ConnectConfig(target_host=self._target, **self._config)
        arguments: dict[str, Any] = dict(options)
        arguments["interceptors"] = [*arguments.get("interceptors", ()), *self._interceptors]
        return Client(ServiceClient(config, connection), **arguments)

    async def connect_client(self, **options: Any) -> Client:
        """Another client of this engine.

        Args:
            options: As for `Client`; the namespace is that of `client` unless given.
        """
        return self._new_client({"namespace": self.client.namespace} | options)

    async def leave(self) -> None:
        """A connection was closed. The engine stays until `shutdown`."""

    async def shutdown(self) -> None:
        """End the engine. Further calls have no effect."""
        if self._is_shut:
            return
        self._is_shut = True
        await self._stop()
        for connection in self._connections:
            await connection.close()
        await self._close()

    async def _stop(self) -> None:
        """Accept no new work."""
        await self._node.stop_polls()

    async def _close(self) -> None:
        """Close the engine, after all clients are closed."""
        await self._node.close()


def attribute_types(keys: Iterable[SearchAttributeKey[Any]]) -> dict[str, str]:
    """Search attributes as the engine registers them: name to type (`Keyword`, `KeywordList`, …)."""
    return {
        key.name: "".join(part.capitalize() for part in key.indexed_value_type.name.split("_"))
        for key in keys
    }
