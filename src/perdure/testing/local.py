"""The backend in real time: an engine in this process, reachable from others only when a port is given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.core.units import SECOND_NS
from perdure.server.common.options import DevServerOptions
from perdure.server.node.main import open_dev_node
from perdure.testing.assertions import AssertionErrors
from perdure.testing.hosted import HostedBackend, attribute_types

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perdure.common import SearchAttributeKey
    from perdure.server.node.node import Node
    from perdure.server.transport.grpc import GrpcServer
    from perdure.testing.backend import Backend

STOP_GRACE_NS = 2 * SECOND_NS
TARGET = "perdure-local"
"""The target in the client's configuration when no port is given."""


async def start_local(
    *,
    ip: str,
    port: int | None,
    database: str | None,
    search_attributes: Sequence[SearchAttributeKey[Any]],
    config: Mapping[str, Any],
    client: Mapping[str, Any],
) -> Backend:
    """See `WorkflowEnvironment.start_local`; `config` is for the connection, `client` for the client."""
    node = await open_dev_node(
        DevServerOptions(
            ip=ip,
            port=port or 0,
            db_filename=Path(database) if database else None,
            namespaces=tuple(dict.fromkeys(("default", client["namespace"]))),
            search_attributes=attribute_types(search_attributes),
        )
    )
    if port is None:
        return _LocalBackend(node, None, target=TARGET, config=config, client=client)
    try:
        server = await _listen(node, ip, port)
    except BaseException:
        await node.close()
        raise
    target = f"{ip}:{server.port}"
    return _LocalBackend(node, server, target=target, config=config, client=client)


async def _listen(node: Node, ip: str, port: int) -> GrpcServer:
    from perdure.server.transport.grpc import GrpcServer  # most tests need none

    server = GrpcServer(node.frontend, ip, port)
    await server.start()
    return server


class _LocalBackend(HostedBackend):
    def __init__(self, node: Node, server: GrpcServer | None, **options: Any) -> None:
        self._server = server
        super().__init__(node, interceptors=(AssertionErrors(),), **options)

    async def _close(self) -> None:
        if self._server is not None:
            await self._server.stop(STOP_GRACE_NS)
        await super()._close()
