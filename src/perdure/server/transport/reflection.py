"""gRPC reflection, for grpcurl and similar tools. Loaded on first use, because descriptors cost start-up time."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_reflection.v1alpha.reflection import aio

from perdure.wire.descriptors import load_service_descriptors, reflection_messages


def reflection_handlers() -> dict[str, Any]:
    """Full method name -> handler of the reflection service, for all services of this server."""
    service, request, response = reflection_messages()
    servicer: Any = aio.ReflectionServicer((*load_service_descriptors(), service))
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=request.FromString,
        response_serializer=response.SerializeToString,
    )
    return {f"/{service}/ServerReflectionInfo": handler}
