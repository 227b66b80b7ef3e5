"""gRPC reflection, for grpcurl and similar tools. Loaded on first use, because descriptors cost start-up time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha.reflection import aio

from perdure.wire.descriptors import load_service_descriptors, reflection_messages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def reflection_handlers() -> dict[str, Any]:
    """Full method name -> handler of the reflection service, for all services of this server."""
    service, request, _ = reflection_messages()
    servicer: Any = aio.ReflectionServicer((*load_service_descriptors(), service))

    async def answer(
        encoded: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        # Decoded here, because gRPC answers UNKNOWN to what it cannot decode.
        async def requests() -> AsyncIterator[Any]:
            async for each in encoded:
                yield request.FromString(each)

        try:
            async for each in servicer.ServerReflectionInfo(requests(), context):
                yield each.SerializeToString()
        except DecodeError:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "the reflection request cannot be decoded"
            )

    return {f"/{service}/ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(answer)}
