"""Payload codecs: bytes to bytes, after conversion. And the walk over the payloads inside a failure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence

from perdure.wire.api import common as common_pb
from perdure.wire.api import failure as failure_pb


class PayloadCodec(ABC):
    """Encrypts, compresses or moves payloads. Runs outside workflow code, so it may do I/O.

    Neither method changes its argument; each returns at least one payload, and at most as many as it got.
    """

    @abstractmethod
    async def encode(self, payloads: Sequence[common_pb.Payload]) -> list[common_pb.Payload]:
        """The payloads as they travel and are stored."""

    @abstractmethod
    async def decode(self, payloads: Sequence[common_pb.Payload]) -> list[common_pb.Payload]:
        """The payloads as the converter reads them."""

    async def encode_wrapper(self, payloads: common_pb.Payloads) -> None:
        """Replace the payloads inside `payloads` by their encoded form."""
        _replace(payloads, await self.encode(payloads.payloads))

    async def decode_wrapper(self, payloads: common_pb.Payloads) -> None:
        """Replace the payloads inside `payloads` by their decoded form."""
        _replace(payloads, await self.decode(payloads.payloads))

    async def encode_failure(self, failure: failure_pb.Failure) -> None:
        """Encode every payload of a failure and its causes, in place."""
        await apply_to_failure_payloads(failure, self.encode_wrapper)

    async def decode_failure(self, failure: failure_pb.Failure) -> None:
        """Decode every payload of a failure and its causes, in place."""
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
