"""The configuration of clients as dictionaries, and the plugins that change it.

`Client.config` returns such a dictionary. A plugin configures clients, and workers too if it is also a worker plugin.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypedDict

from perdure.client.interceptor import Interceptor
from perdure.common import HeaderCodecBehavior, QueryRejectCondition
from perdure.converter import DataConverter
from perdure.service import (
    ConnectConfig,
    DnsLoadBalancingConfig,
    GrpcCompression,
    HttpConnectProxyConfig,
    KeepAliveConfig,
    PayloadLimitsConfig,
    RetryConfig,
    ServiceClient,
    TLSConfig,
)


class ClientConfig(TypedDict):
    """The parameters of `Client`, as `Client.config` returns them."""

    service_client: ServiceClient
    namespace: str
    data_converter: DataConverter
    plugins: Sequence[Plugin]
    interceptors: Sequence[Interceptor]
    default_workflow_query_reject_condition: QueryRejectCondition | None
    header_codec_behavior: HeaderCodecBehavior


class ClientConnectConfig(TypedDict, total=False):
    """The parameters of `Client.connect`."""

    target_host: str
    namespace: str
    api_key: str | None
    data_converter: DataConverter
    plugins: Sequence[Plugin]
    interceptors: Sequence[Interceptor]
    default_workflow_query_reject_condition: QueryRejectCondition | None
    tls: bool | TLSConfig | None
    retry_config: RetryConfig | None
    keep_alive_config: KeepAliveConfig | None
    connect_timeout: timedelta | None
    rpc_metadata: Mapping[str, str | bytes]
    identity: str | None
    lazy: bool
    runtime: Any
    http_connect_proxy_config: HttpConnectProxyConfig | None
    dns_load_balancing_config: DnsLoadBalancingConfig | None
    grpc_compression: GrpcCompression
    payload_limits: PayloadLimitsConfig
    header_codec_behavior: HeaderCodecBehavior


class Plugin(ABC):
    """Changes how clients are configured and connected. Earlier plugins wrap later ones."""

    def name(self) -> str:
        """The plugin's name. Default: module and name of its class."""
        return f"{type(self).__module__}.{type(self).__qualname__}"

    @abstractmethod
    def configure_client(self, config: ClientConfig) -> ClientConfig:
        """Change the parameters of a client before it is built.

        Args:
            config: All parameters; it may be changed and returned.

        Returns:
            The parameters to use.
        """

    @abstractmethod
    async def connect_service_client(
        self,
        config: ConnectConfig,
        next: Callable[[ConnectConfig], Awaitable[ServiceClient]],
    ) -> ServiceClient:
        """Connect, usually with `await next(config)`.

        Args:
            config: The options of the connection.
            next: Connects, with the plugins that follow.

        Returns:
            The connected service client.
        """
