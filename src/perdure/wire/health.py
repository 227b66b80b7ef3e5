"""The standard gRPC health messages, under the names the rest of the server uses."""

from __future__ import annotations

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

SERVICE_NAME = "grpc.health.v1.Health"
SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING

__all__ = [
    "NOT_SERVING",
    "SERVICE_NAME",
    "SERVING",
    "HealthCheckRequest",
    "HealthCheckResponse",
]
