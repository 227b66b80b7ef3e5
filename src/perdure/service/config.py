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
    """How to encrypt and whom to trust. All parts are PEM.

    Attributes:
        server_root_ca_cert: Who may have signed the server's certificate; the system's list unless given.
        domain: Name for SNI and for checking the certificate, instead of the target's host.
        client_cert: The client's certificate (mutual TLS); needs the key.
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
    """How calls are repeated when the service is away or overloaded.

    Attributes:
        initial_interval_millis: First pause.
        randomization_factor: Each pause varies by this share of itself in either direction.
        multiplier: Factor from one pause to the next.
        max_interval_millis: Longest pause.
        max_elapsed_time_millis: No further try when it would come later than this; None for no limit.
        max_retries: Number of tries; 0 for no limit.
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
        interval_millis: Between two pings.
        timeout_millis: How long an answer may take.
    """

    interval_millis: int = 30000
    timeout_millis: int = 15000

    default: ClassVar[KeepAliveConfig]


KeepAliveConfig.default = KeepAliveConfig()


@dataclass(frozen=True)
class HttpConnectProxyConfig:
    """An HTTP proxy to tunnel through.

    Attributes:
        target_host: ``host:port`` of the proxy.
        basic_auth: User and password.
    """

    target_host: str
    basic_auth: tuple[str, str] | None = None


@dataclass(frozen=True)
class DnsLoadBalancingConfig:
    """Spread calls over all addresses of the host's name.

    Attributes:
        resolution_interval_millis: Shortest time between two look-ups.
    """

    resolution_interval_millis: int = 30000

    default: ClassVar[DnsLoadBalancingConfig]


DnsLoadBalancingConfig.default = DnsLoadBalancingConfig()


class GrpcCompression(Enum):
    """Compression of requests. Off by default: it costs more time than a local network takes."""

    NONE = "none"
    GZIP = "gzip"


@dataclass(frozen=True)
class PayloadLimitsConfig:
    """Sizes above which what is sent causes a warning in the log; 0 turns a warning off.

    Attributes:
        payloads_warn_size: In bytes, for each field of payloads.
        memo_warn_size: In bytes, for a memo.
    """

    payloads_warn_size: int = 512 * 1024
    memo_warn_size: int = 2 * 1024


def default_identity() -> str:
    """``pid@host``."""
    return f"{os.getpid()}@{socket.gethostname()}"


@dataclass
class ConnectConfig:
    """Everything that opening a connection needs. `Client.connect` describes the parameters.

    Attributes:
        target_host: ``host:port``, or a URL of an embedded engine (``sqlite:file.db``, ``memory:``).
        retention: For how long an embedded engine keeps the closed runs of `namespace`; see `Client.connect`.
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
        """The TLS options in force: an API key turns TLS on unless it was turned off explicitly."""
        if isinstance(self.tls, TLSConfig):
            return self.tls
        wanted = self.api_key is not None if self.tls is None else self.tls
        return TLSConfig() if wanted else None
