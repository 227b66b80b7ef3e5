"""The meaning of targets: a table of URL schemes, and gRPC for everything else.

`sqlite:orders.db` and `memory:` are engines in this process; `localhost:7233` is a server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from perdure.service.config import ConnectConfig
from perdure.wire.seam import Connection

Opener = Callable[[ConnectConfig], Awaitable[Connection]]


async def open_in_process(config: ConnectConfig) -> Connection:
    """Connect to an engine in this process."""
    from perdure.embedded import open_embedded

    if config.retention is None:
        return await open_embedded(config.target_host)
    retention_ns = config.retention // timedelta(microseconds=1) * 1_000
    at_once_ns = retention_ns if config.namespace == "default" else None
    connection = await open_embedded(config.target_host, retention_ns=at_once_ns)
    try:
        await connection.keep_runs(config.namespace, retention_ns)
    except BaseException:
        await connection.close()
        raise
    return connection


async def refuse_postgresql(config: ConnectConfig) -> Connection:
    """Say what to use instead of PostgreSQL."""
    scheme = config.target_host.partition(":")[0]
    raise ValueError(
        f"{scheme}: targets are not available in this version: use 'sqlite:<file>', 'memory:' or '<host>:<port>'"
    )


async def open_grpc(config: ConnectConfig) -> Connection:
    """Open a gRPC connection to a server."""
    from perdure.service.grpc_connection import open_connection

    if config.retention is not None:
        raise ValueError(
            "retention is for engines in this process. A server has its own: `perdure server start-dev --retention`, "
            "or `perdure operator namespace update --retention`"
        )
    return open_connection(config)


_SCHEMES: dict[str, Opener] = {
    "sqlite": open_in_process,
    "memory": open_in_process,
    "postgresql": refuse_postgresql,
    "postgres": refuse_postgresql,
}


def opener_for(target: str) -> Opener:
    """What opens `target`.

    Raises:
        ValueError: The target is empty, or a URL of an unknown scheme.
    """
    if not target:
        raise ValueError("The target is empty: give '<host>:<port>', 'sqlite:<file>' or 'memory:'")
    scheme, colon, rest = target.partition(":")
    opener = _SCHEMES.get(scheme)
    # A host may have such a name: `memory:7233` is a server.
    if colon and opener is not None and not (scheme == "memory" and rest.isdigit()):
        return opener
    if colon and not _is_address(scheme, rest):
        raise ValueError(
            f"Unknown scheme {scheme!r} in the target: give '<host>:<port>' without scheme"
            " (TLS is the parameter `tls`), 'sqlite:<file>' or 'memory:'"
        )
    if not colon and target.endswith(_DATABASE_ENDINGS):
        raise ValueError(f"{target!r} looks like a database file: give 'sqlite:{target}'")
    return open_grpc


_DATABASE_ENDINGS = (".db", ".sqlite", ".sqlite3")
_GRPC_SCHEMES = frozenset({"dns", "ipv4", "ipv6", "unix", "unix-abstract", "vsock"})


def _is_address(before: str, after: str) -> bool:
    """Whether `before:after` is an address rather than a URL: what follows the last colon is a port."""
    if after.startswith("//"):
        return False
    return before in _GRPC_SCHEMES or after.rpartition(":")[2].isdigit() or before.startswith("[")
