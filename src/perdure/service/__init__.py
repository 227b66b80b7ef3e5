"""Reaching a service: `connect` gives a `Connection` to any target.

`config` holds the options, `targets` the table of URL schemes, `grpc_connection` the gRPC transport (loaded only when a
target needs it), `calls` the pure rules of time-outs and retries, `client` the raw service client on top, and `errors`
the public form of RPC errors. Not here: what a workflow or an activity is (`perdure.client`).
"""

from __future__ import annotations

from perdure.service.calls import CallKind, call_kind, retry_delay_ns
from perdure.service.client import (
    OperatorService,
    ServiceClient,
    TestService,
    WorkflowService,
    connect,
)
from perdure.service.config import (
    ConnectConfig,
    DnsLoadBalancingConfig,
    GrpcCompression,
    HttpConnectProxyConfig,
    KeepAliveConfig,
    PayloadLimitsConfig,
    RetryConfig,
    TLSConfig,
)
from perdure.service.errors import RPCError, RPCStatusCode
from perdure.wire.seam import Connection

__all__ = [
    "CallKind",
    "ConnectConfig",
    "Connection",
    "DnsLoadBalancingConfig",
    "GrpcCompression",
    "HttpConnectProxyConfig",
    "KeepAliveConfig",
    "OperatorService",
    "PayloadLimitsConfig",
    "RPCError",
    "RPCStatusCode",
    "RetryConfig",
    "ServiceClient",
    "TLSConfig",
    "TestService",
    "WorkflowService",
    "call_kind",
    "connect",
    "retry_delay_ns",
]
