"""Service descriptors, for gRPC reflection only: loading them also loads google.api, which nothing else needs."""

from __future__ import annotations

import importlib

from google.protobuf.message import Message

_MODULES = (
    "temporalio.api.workflowservice.v1.service_pb2",
    "temporalio.api.operatorservice.v1.service_pb2",
    "grpc_health.v1.health_pb2",
)


def load_service_descriptors() -> tuple[str, ...]:
    """Put the descriptors of all services into the default pool; the services' full names."""
    names: list[str] = []
    for module in _MODULES:
        descriptor = importlib.import_module(module).DESCRIPTOR
        names += [service.full_name for service in descriptor.services_by_name.values()]
    return tuple(names)


def reflection_messages() -> tuple[str, type[Message], type[Message]]:
    """Name, request and response type of the reflection service."""
    module = importlib.import_module("grpc_reflection.v1alpha.reflection_pb2")
    (service,) = module.DESCRIPTOR.services_by_name.values()
    return service.full_name, module.ServerReflectionRequest, module.ServerReflectionResponse
