"""Payload codecs: bytes to bytes, after conversion. And the walk over the payloads inside a failure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence

from perdure.wire.api import common as common_pb
from perdure.wire.api import failure as failure_pb


class PayloadCodec(ABC):
    """Encrypts, compresses or moves payloads. It runs outside workflow code, so it may perform I/O.

    Neither method changes its argument. Each returns at least one payload, and at most as many as it was given.

    Example:
        ```python
        import dataclasses
        import zlib
        from collections.abc import Sequence
        from typing import Any

        from perdure.client import DataConverter
        from perdure.converter import PayloadCodec


        class Compression(PayloadCodec):
            async def encode(self, payloads: Sequence[Any]) -> list[Any]:
                return [type(p)(data=zlib.compress(p.SerializeToString())) for p in payloads]

            async def decode(self, payloads: Sequence[Any]) -> list[Any]:
                return [type(p).FromString(zlib.decompress(p.data)) for p in payloads]


        converter = dataclasses.replace(DataConverter.default, payload_codec=Compression())
        (payload,) = await converter.encode(["order " * 1000])
        assert len(payload.data) < 200
        assert await converter.decode([payload]) == ["order " * 1000]
        ```
    """

    @abstractmethod
    async def encode(self, payloads: Sequence[common_pb.Payload]) -> list[common_pb.Payload]:
        """Encode payloads for transport and storage.

        Args:
            payloads: The payloads as the payload converter writes them.
        """

    @abstractmethod
    async def decode(self, payloads: Sequence[common_pb.Payload]) -> list[common_pb.Payload]:
        """Decode payloads that `encode` returned.

        Args:
            payloads: The payloads as they are stored.
        """

    async def encode_wrapper(self, payloads: common_pb.Payloads) -> None:
        """Encode the payloads in a `Payloads` message, in place.

        Args:
            payloads: The message to change.
        """
        _replace(payloads, await self.encode(payloads.payloads))

    async def decode_wrapper(self, payloads: common_pb.Payloads) -> None:
        """Decode the payloads in a `Payloads` message, in place.

        Args:
            payloads: The message to change.
        """
        _replace(payloads, await self.decode(payloads.payloads))

    async def encode_failure(self, failure: failure_pb.Failure) -> None:
        """Encode every payload of a failure and of its causes, in place.

        Args:
            failure: The message to change.
        """
        await apply_to_failure_payloads(failure, self.encode_wrapper)

    async def decode_failure(self, failure: failure_pb.Failure) -> None:
        """Decode every payload of a failure and of its causes, in place.

        Args:
            failure: The message to change.
        """
        await apply_to_failure_payloads(failure, self.decode_wrapper)


def _replace(wrapper: common_pb.Payloads, payloads: Sequence[common_pb.Payload]) -> None:
    del wrapper.payloads[:]
    wrapper.payloads.extend(payloads)


# Which field of which kind of failure holds payloads.
_PAYLOAD_FIELDS: dict[str, str] = {
    "application_failure_info": "details",
    "timeout_failure_info": "last_heartbeat_details",
    "canceled_failure_info": "details",
    "reset_workflow_failure_info": "last_heartbeat_details",
}


async def apply_to_failure_payloads(
    failure: failure_pb.Failure, apply: Callable[[common_pb.Payloads], Awaitable[None]]
) -> None:
    """Let `apply` change, in place, the payloads of a failure and of its causes."""
    while True:
        if failure.HasField("encoded_attributes"):
            wrapper = common_pb.Payloads(payloads=[failure.encoded_attributes])
            await apply(wrapper)
            failure.encoded_attributes.CopyFrom(wrapper.payloads[0])
        kind = failure.WhichOneof("failure_info")
        field = _PAYLOAD_FIELDS.get(kind or "")
        if kind is not None and field is not None:
            info = getattr(failure, kind)
            if info.HasField(field):
                await apply(getattr(info, field))
        if not failure.HasField("cause"):
            return
        failure = failure.cause
