"""The gRPC transport of clients and workers: one channel behind the `Connection` seam.

The channel connects when it is first used, and again with back-off when the connection is lost. A call during an outage
ends with `Unavailable`, and its caller retries it. On the client's side only this module imports grpc. It is imported
late, so that embedded use does not load grpc. Not here: retries (`calls`).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from perdure.core.units import SECOND_NS
from perdure.service.calls import call_kind, default_timeout_ns
from perdure.service.config import ConnectConfig, GrpcCompression, TLSConfig
from perdure.service.headers import base_headers, is_header_text, validate_metadata
from perdure.wire import errors
from perdure.wire.api import common as common_pb
from perdure.wire.seam import Method, decoded

# The response with a large history page may exceed what a server accepts as a request.
RESPONSE_SIZE_MAX_BYTES = 128 * 1024 * 1024

HEADERS_SIZE_MAX_BYTES = 1024 * 1024

# Calls have their own back-off (`calls`). The channel only needs to avoid a tight loop: a longer pause here would be
# added to theirs, and delay the reconnection.
RECONNECT_INITIAL_MS = 100
RECONNECT_MAX_MS = 1_000
CONNECT_TIMEOUT_MS = 5_000

_DETAILS_KEY = "grpc-status-details-bin"


def open_connection(config: ConnectConfig) -> GrpcConnection:
    """A connection to the server at `config.target_host`; nothing is sent yet.

    Raises:
        TypeError: Metadata is malformed.
        ValueError: TLS options that are incomplete or that contradict each other.
    """
    return GrpcConnection(config)


class GrpcConnection:
    """`perdure.wire.seam.Connection` over one gRPC channel, bound to the event loop that first uses it."""

    polls_are_free = False
    inline_workers = None

    def __init__(self, config: ConnectConfig) -> None:
        self._headers = base_headers(config.rpc_metadata, config.api_key)
        self._channel: grpc.aio.Channel | None = None
        self._config = config
        self._credentials = _credentials(config.effective_tls())
        self._options = _options(config)
        self._calls: dict[str, Any] = {}
        self._closed = False

    def update_headers(self, rpc_metadata: Mapping[str, str | bytes], api_key: str | None) -> None:
        """Use other headers from the next call on.

        Raises:
            TypeError: Metadata is malformed.
        """
        self._headers = base_headers(rpc_metadata, api_key)

    async def call(
        self,
        method: Method,
        request: Message,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout_ns: int | None = None,
    ) -> Message:
        """See `perdure.wire.seam.Connection.call`; without time-out, 30 s, for polls 70 s."""
        if self._closed:
            raise self._is_over("is closed")
        if timeout_ns is None:
            timeout_ns = default_timeout_ns(call_kind(method, request))
        try:
            answer = await self._invocable(method)(
                request.SerializeToString(),
                timeout=timeout_ns / SECOND_NS,
                metadata=self._metadata(request, metadata),
            )
        except grpc.aio.AioRpcError as error:
            raise _typed(error) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and (task is None or not task.cancelling()):
                # The channel ends calls in progress by cancelling them. The caller was not cancelled.
                raise self._is_over("was closed during the call") from None
            raise
        except grpc.aio.UsageError as error:
            raise self._is_over(f"is closed ({error})") from error
        # Deserialized here, because grpc returns None for a malformed message.
        return decoded(method, answer)

    async def close(self) -> None:
        """See `perdure.wire.seam.Connection.close`."""
        self._closed = True
        channel, self._channel = self._channel, None
        self._calls.clear()
        if channel is not None:
            await channel.close()

    def _is_over(self, how: str) -> errors.ConnectionClosed:
        return errors.ConnectionClosed(
            f"the client of {self._config.target_host} {how}: connect again"
        )

    def _invocable(self, method: Method) -> Any:
        path = method.path
        found: Any = self._calls.get(path)
        if found is None:
            if self._channel is None:
                self._channel = _open_channel(self._config, self._credentials, self._options)
            channel: Any = self._channel
            found = self._calls[path] = channel.unary_unary(path)
        return found

    def _metadata(
        self, request: Message, metadata: Mapping[str, str | bytes] | None
    ) -> tuple[tuple[str, str | bytes], ...]:
        headers = dict(self._headers)
        namespace = getattr(request, "namespace", "")
        if isinstance(namespace, str) and is_header_text(namespace):
            headers["temporal-namespace"] = namespace
        if metadata:
            validate_metadata(metadata)
            headers.update(metadata)
        return tuple(headers.items())


def _credentials(tls: TLSConfig | None) -> grpc.ChannelCredentials | None:
    if tls is None:
        return None
    if (tls.client_cert is None) != (tls.client_private_key is None):
        raise ValueError("client_cert and client_private_key go together: give both or neither")
    return grpc.ssl_channel_credentials(
        root_certificates=tls.server_root_ca_cert,
        private_key=tls.client_private_key,
        certificate_chain=tls.client_cert,
    )


def _open_channel(
    config: ConnectConfig,
    credentials: grpc.ChannelCredentials | None,
    options: list[tuple[str, Any]],
) -> grpc.aio.Channel:
    compression = (
        grpc.Compression.Gzip
        if config.grpc_compression is GrpcCompression.GZIP
        else grpc.Compression.NoCompression
    )
    if credentials is None:
        return grpc.aio.insecure_channel(
            config.target_host, options=options, compression=compression
        )
    return grpc.aio.secure_channel(
        config.target_host, credentials, options=options, compression=compression
    )


def _options(config: ConnectConfig) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("grpc.max_send_message_length", -1),  # the server refuses it with a better error
        ("grpc.max_receive_message_length", RESPONSE_SIZE_MAX_BYTES),
        # Errors travel in headers. Other servers do not bound them, and gRPC's limit is 8 KiB.
        ("grpc.max_metadata_size", HEADERS_SIZE_MAX_BYTES),
        ("grpc.absolute_max_metadata_size", HEADERS_SIZE_MAX_BYTES),
        ("grpc.initial_reconnect_backoff_ms", RECONNECT_INITIAL_MS),
        ("grpc.min_reconnect_backoff_ms", _connect_timeout_ms(config)),
        ("grpc.max_reconnect_backoff_ms", RECONNECT_MAX_MS),
        ("grpc.enable_retries", 0),  # retries are the rules of `calls`
        # Two clients in one process do not share a connection: closing one must not disturb the other.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    keep_alive = config.keep_alive_config
    if keep_alive is not None:
        options += [
            ("grpc.keepalive_time_ms", keep_alive.interval_millis),
            ("grpc.keepalive_timeout_ms", keep_alive.timeout_millis),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
        ]
    options += _names(config)
    proxy = config.http_connect_proxy_config
    if proxy is None:
        options.append(("grpc.enable_http_proxy", 0))
    else:
        auth = ""
        if proxy.basic_auth is not None:
            auth = ":".join(quote(part, safe="") for part in proxy.basic_auth) + "@"
        options.append(("grpc.http_proxy", f"http://{auth}{proxy.target_host}"))
    if config.dns_load_balancing_config is not None and proxy is None:
        options += [
            ("grpc.lb_policy_name", "round_robin"),
            (
                "grpc.dns_min_time_between_resolutions_ms",
                config.dns_load_balancing_config.resolution_interval_millis,
            ),
        ]
    return options


def _names(config: ConnectConfig) -> list[tuple[str, Any]]:
    """The name for SNI, which the server's certificate must have.

    grpc knows one name for both. Where SNI would change with the name to verify, a proxy that routes by SNI would send
    the connection elsewhere, so that is refused.
    """
    tls = config.effective_tls()
    if tls is None:
        return []
    told = tls.domain or host_of(config.target_host)
    verified = tls.verification_server_name or told
    if verified != told and not _is_address(told):  # an address is never told
        raise ValueError(
            f"verification_server_name={verified!r} differs from the name that the server is told, {told!r}: "
            f"this client verifies the name that it tells. Use domain={verified!r} if the server may be told that name"
        )
    if verified != told:
        return [("grpc.ssl_target_name_override", verified)]
    if tls.domain:
        return [
            ("grpc.ssl_target_name_override", tls.domain),
            ("grpc.default_authority", tls.domain),
        ]
    return []


def host_of(target: str) -> str:
    """The host of `host`, `host:port` or `[IPv6]:port`."""
    if target.startswith("["):
        return target[1:].partition("]")[0]
    host, colon, port = target.rpartition(":")
    return host if colon and port.isdecimal() and ":" not in host else target


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _connect_timeout_ms(config: ConnectConfig) -> int:
    """Time limit of one attempt to connect, which is the meaning of this grpc option."""
    if config.connect_timeout is None:
        return CONNECT_TIMEOUT_MS
    return max(1, int(config.connect_timeout.total_seconds() * 1000))


def _typed(error: grpc.aio.AioRpcError) -> errors.RpcError:
    """The typed form of a gRPC error, with the details from its trailer."""
    code = cast("int", error.code().value[0])
    message = error.details() or ""
    if code == errors.RPCStatusCode.CANCELLED and ("RST_STREAM" in message or "GOAWAY" in message):
        # The connection broke. The call was not cancelled.
        return errors.Unavailable(message)
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                status = common_pb.GrpcStatus.FromString(value)
            except DecodeError:
                break
            return errors.from_status(code, status.message or message, list(status.details))
    return errors.from_status(code, message)
