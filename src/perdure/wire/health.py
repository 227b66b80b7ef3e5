"""The standard gRPC health service: its messages, and its answer, the same on every transport."""

from __future__ import annotations

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from perdure.wire.errors import (
    NotFound,
    shown,
)
from perdure.wire.seam import OPERATOR_SERVICE, WORKFLOW_SERVICE

SERVICE_NAME = "grpc.health.v1.Health"
SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING

_KNOWN = frozenset(
    {"", *(next(iter(table.values())).service for table in (WORKFLOW_SERVICE, OPERATOR_SERVICE))}
)
"""The empty name asks for the server as a whole."""


def check(request: HealthCheckRequest, *, is_serving: bool) -> HealthCheckResponse:
    """The answer to `Check`.

    Raises:
        NotFound: There is no service of that name.
    """
    if request.service not in _KNOWN:
        raise NotFound(f"unknown service {shown(request.service)!r}")
    return HealthCheckResponse(status=SERVING if is_serving else NOT_SERVING)


__all__ = [
    "NOT_SERVING",
    "SERVICE_NAME",
    "SERVING",
    "HealthCheckRequest",
    "HealthCheckResponse",
    "check",
]
