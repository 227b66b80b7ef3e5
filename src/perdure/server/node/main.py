"""The development server: a node on a SQLite file or in memory, behind gRPC.

Invariant: when `on_ready` is called, RPCs are answered. A graceful stop answers parked polls empty, lets calls in
progress end, and flushes. Killing the process at any moment loses nothing that was acknowledged.
Not here: flags, signals, printing, logging set-up (`perdure.cli`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from perdure.core.clock import SystemClock
from perdure.core.ids import new_id
from perdure.core.limits import DEFAULT_LIMITS, Limits
from perdure.core.units import SECOND_NS
from perdure.server.common.options import DevServerOptions, DevServerReady, ServerStartError
from perdure.server.node.node import Node, open_node
from perdure.server.transport.grpc import GrpcServer
from perdure.storage.port import DamageError, OpenError, StoreError
from perdure.storage.sqlite import open_memory, open_sqlite
from perdure.wire.errors import RpcError

if TYPE_CHECKING:
    from perdure.storage.port import Store

_log = logging.getLogger(__name__)

STOP_GRACE_NS = 2 * SECOND_NS
"""How long calls in progress may take to end; polls are answered at once."""

# Supported dynamic configuration: key -> field of `Limits`; all integers, and switches.
_KNOWN_CONFIG = {
    "limit.historyCount.suggestContinueAsNew": "history_count_suggest_continue",
    "limit.historySize.suggestContinueAsNew": "history_size_suggest_continue_bytes",
    "limit.historyCount.error": "history_count_max",
    "limit.historySize.error": "history_size_bytes_max",
    "limit.blobSize.error": "blob_size_bytes_max",
    "limit.memoSize.error": "memo_size_bytes_max",
    "limit.maxIDLength": "id_length_max",
    "system.transactionSizeLimit": "transaction_bytes_max",
    "limit.workerBuildIdSize": "build_id_bytes_max",
    "limit.numPendingActivities.error": "pending_activities_max",
    "limit.numPendingChildExecutions.error": "pending_children_max",
    "limit.numPendingSignals.error": "pending_signals_external_max",
    "limit.numPendingCancelRequests.error": "pending_cancels_external_max",
    "frontend.maxlinksPerRequest": "links_per_request_max",
    "frontend.linkMaxSize": "link_bytes_max",
    "frontend.searchAttributesNumberOfKeysLimit": "search_attributes_max",
    "frontend.searchAttributesSizeOfValueLimit": "search_attribute_bytes_max",
    "frontend.searchAttributesTotalSizeLimit": "search_attributes_bytes_max",
    "history.maxBufferedQueryCount": "buffered_queries_max",
    "history.maximumSignalsPerExecution": "signals_per_run_max",
    "history.maxInFlightUpdates": "updates_in_flight_max",
    "history.maxTotalUpdates": "updates_per_run_max",
}
_KNOWN_SWITCHES = {"system.enableCrossNamespaceCommands": "allows_cross_namespace_commands"}


async def run_dev_server(
    options: DevServerOptions,
    *,
    stop: asyncio.Event,
    on_ready: Callable[[DevServerReady], None],
) -> None:
    """Serve until `stop` is set, then stop gracefully.

    Args:
        options: The options from the command line.
        stop: Set by the caller to stop the server.
        on_ready: Called once, when RPCs are answered.

    Raises:
        ServerStartError: For what the user can put right.
    """
    node = await open_dev_node(options)
    try:
        server = GrpcServer(node.frontend, options.ip, options.port)
        await server.start()
        try:
            on_ready(DevServerReady(ip=options.ip, port=server.port, database=options.db_filename))
            await stop.wait()
            _log.info("stopping: answering polls, finishing calls under way")
        finally:
            await node.stop_polls()
            await server.stop(STOP_GRACE_NS)
    finally:
        await node.close()


async def open_dev_node(options: DevServerOptions) -> Node:
    """The node of a development server, without a transport; `Node.close` ends it.

    Raises:
        ServerStartError: For what the user can put right.
    """
    limits = limits_of(options.dynamic_config)
    store = await _open_store(options)
    try:
        return await open_node(
            store,
            clock=SystemClock(),
            new_id=new_id,
            limits=limits,
            store_name="sqlite" if options.db_filename else "memory",
            namespaces=options.namespaces,
            search_attributes=options.search_attributes,
            retention_ns=options.retention_ns,
        )
    except DamageError as error:
        raise ServerStartError(f"{options.db_filename} cannot be opened: {error}") from error
    except (StoreError, RpcError) as error:
        raise ServerStartError(
            f"the database cannot be written: {error}. Free space, or choose another file"
        ) from error


async def _open_store(options: DevServerOptions) -> Store:
    if options.db_filename is None:
        return open_memory()
    try:
        return await open_sqlite(options.db_filename)
    except OpenError as error:
        raise ServerStartError(str(error)) from error


def limits_of(dynamic_config: dict[str, object]) -> Limits:
    """The limits set by dynamic configuration. Unsupported keys are logged."""
    changes: dict[str, int] = {}
    for key, value in dynamic_config.items():
        field = _KNOWN_CONFIG.get(key)
        switch = _KNOWN_SWITCHES.get(key)
        if switch is not None:
            if not isinstance(value, bool):
                raise ServerStartError(
                    f"--dynamic-config-value {key}: the value must be true or false"
                )
            changes[switch] = value
        elif field is None:
            _log.info("dynamic configuration %s has no effect in this server", key)
        elif isinstance(value, int) and not isinstance(value, bool) and value > 0:
            changes[field] = value
        else:
            raise ServerStartError(
                f"--dynamic-config-value {key}: the value must be a positive whole number"
            )
    return msgspec.structs.replace(DEFAULT_LIMITS, **changes)
