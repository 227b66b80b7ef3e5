"""Options of a connection, as values."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any, ClassVar


@dataclass
class TLSConfig:
    """How to encrypt and which certificates to trust. All certificates and keys are in PEM form.

    Attributes:
        server_root_ca_cert: Certificates that may have signed the server's. None: the system's list.
        domain: Name for SNI and for checking the certificate. None: the target's host.
        client_cert: The client's certificate, for mutual TLS. It needs the key.
        client_private_key: The client's key.
        verification_server_name: Name for checking the certificate. It must be `domain`, or the target's host if
            `domain` is not given, unless that is an IP address: a different name for SNI is refused.
    """

    server_root_ca_cert: bytes | None = None
    domain: str | None = None
    client_cert: bytes | None = None
    client_private_key: bytes | None = None
    verification_server_name: str | None = None


@dataclass
class RetryConfig:
    """How calls are retried when the service is unavailable or overloaded.

    Attributes:
        initial_interval_millis: First pause, in milliseconds.
        randomization_factor: Each pause varies by this share of itself, in both directions.
        multiplier: Factor from one pause to the next.
        max_interval_millis: Longest pause, in milliseconds.
        max_elapsed_time_millis: No attempt begins later than this, in milliseconds. None: no limit.
        max_retries: Largest number of attempts. 0: no limit.
    """

    initial_interval_millis: int = 100
    randomization_factor: float = 0.2
    multiplier: float = 1.5
    max_interval_millis: int = 5000
    max_elapsed_time_millis: int | None = 10000
    max_retries: int = 10


@dataclass(frozen=True)
class KeepAliveConfig:
    """HTTP/2 pings that notice a dead connection.

    Attributes:
        interval_millis: Time between two pings, in milliseconds.
        timeout_millis: Time limit for the answer, in milliseconds.
    """

    interval_millis: int = 30000
    timeout_millis: int = 15000

    default: ClassVar[KeepAliveConfig]


KeepAliveConfig.default = KeepAliveConfig()


@dataclass(frozen=True)
class HttpConnectProxyConfig:
    """An HTTP proxy to tunnel through.

    Attributes:
        target_host: `host:port` of the proxy.
        basic_auth: User and password, if the proxy needs them.
    """

    target_host: str
    basic_auth: tuple[str, str] | None = None


@dataclass(frozen=True)
class DnsLoadBalancingConfig:
    """Distribute calls over all addresses of the host's name.

    Attributes:
        resolution_interval_millis: Shortest time between two look-ups, in milliseconds.
    """

    resolution_interval_millis: int = 30000

    default: ClassVar[DnsLoadBalancingConfig]


DnsLoadBalancingConfig.default = DnsLoadBalancingConfig()


class GrpcCompression(Enum):
    """Compression of requests.

    Attributes:
        NONE: Off, the default: on a local network it costs more time than it saves.
        GZIP: gzip.
    """

    NONE = "none"
    GZIP = "gzip"


@dataclass(frozen=True)
class PayloadLimitsConfig:
    """Sizes above which values that are sent cause a warning in the log. 0 turns a warning off.

    Attributes:
        payloads_warn_size: In bytes, for each field of payloads.
        memo_warn_size: In bytes, for a memo.
    """

    payloads_warn_size: int = 512 * 1024
    memo_warn_size: int = 2 * 1024


def default_identity() -> str:
    """The identity of this process: `pid@host`."""
    return f"{os.getpid()}@{socket.gethostname()}"


@dataclass
class ConnectConfig:
    """Everything that opening a connection needs. `Client.connect` explains the options.

    Attributes:
        target_host: `host:port`, or the URL of an embedded engine (`sqlite:file.db`, `memory:`).
        api_key: Sent as `authorization: Bearer …`. It turns TLS on.
        tls: True, False or options.
        retry_config: How failed calls are retried.
        keep_alive_config: Pings. None: no pings.
        rpc_metadata: Headers of all calls.
        identity: Name shown in histories and logs. Default: `"{pid}@{host}"`.
        lazy: Connect with the first call.
        runtime: Accepted for compatibility; not used.
        http_connect_proxy_config: An HTTP proxy to tunnel through.
        dns_load_balancing_config: Distribute calls over all addresses.
        grpc_compression: Compression of requests.
        payload_limits: Sizes, in bytes, above which values that are sent cause a warning in the log.
        connect_timeout: Time limit of one attempt to connect. None: 5 seconds.
        retention: How long an embedded engine keeps the closed runs of `namespace`.
        namespace: Only for `retention`.
    """

    target_host: str
    api_key: str | None = None
    tls: bool | TLSConfig | None = None
    retry_config: RetryConfig | None = None
    keep_alive_config: KeepAliveConfig | None = KeepAliveConfig.default
    rpc_metadata: Mapping[str, str | bytes] = field(default_factory=dict[str, "str | bytes"])
    identity: str = ""
    lazy: bool = False
    runtime: Any = None
    http_connect_proxy_config: HttpConnectProxyConfig | None = None
    dns_load_balancing_config: DnsLoadBalancingConfig | None = None
    grpc_compression: GrpcCompression = GrpcCompression.NONE
    payload_limits: PayloadLimitsConfig = field(default_factory=PayloadLimitsConfig)
    connect_timeout: timedelta | None = None
    retention: timedelta | None = None
    namespace: str = "default"

    def __post_init__(self) -> None:
        self.identity = self.identity or default_identity()
        if self.retention is not None and self.retention <= timedelta(0):
            raise ValueError(
                "retention must be longer than nothing; timedelta.max keeps closed runs forever"
            )

    def effective_tls(self) -> TLSConfig | None:
        """The TLS options in force; None for no TLS. An API key turns TLS on unless `tls` is False."""
        if isinstance(self.tls, TLSConfig):
            return self.tls
        wanted = self.api_key is not None if self.tls is None else self.tls
        return TLSConfig() if wanted else None
