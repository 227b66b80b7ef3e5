"""gRPC reflection, for grpcurl and similar tools. Loaded on first use, because descriptors cost start-up time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha.reflection import aio

from perdure.wire.descriptors import load_service_descriptors, reflection_messages
from perdure.wire.errors import ResourceExhausted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from perdure.server.transport.receiving import Receiving


def reflection_handlers(receiving: Receiving) -> dict[str, Any]:
    """Full method name -> handler of the reflection service, for all services of this server."""
    service, request, _ = reflection_messages()
    servicer: Any = aio.ReflectionServicer((*load_service_descriptors(), service))

    async def answer(
        _: object, context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        # Decoded here, because gRPC answers UNKNOWN to what it cannot decode.
        async def requests() -> AsyncIterator[Any]:
            while (encoded := await receiving.next(context)) is not None:
                yield request.FromString(encoded)

        try:
            async for each in servicer.ServerReflectionInfo(requests(), context):
                yield each.SerializeToString()
        except ResourceExhausted as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, error.message)
        except DecodeError:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "the reflection request cannot be decoded"
            )

    return {f"/{service}/ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(answer)}
