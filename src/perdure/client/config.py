"""The configuration of clients as dictionaries: what plugins change, and what `Client.config` returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from perdure.common import HeaderCodecBehavior, QueryRejectCondition
from perdure.converter import DataConverter
from perdure.service import (
    DnsLoadBalancingConfig,
    GrpcCompression,
    HttpConnectProxyConfig,
    KeepAliveConfig,
    PayloadLimitsConfig,
    RetryConfig,
    ServiceClient,
    TLSConfig,
)

if TYPE_CHECKING:
    from perdure.client.interceptor import Interceptor
    from perdure.client.plugin import Plugin


class ClientConfig(TypedDict):
    """The parameters of `Client`."""

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
