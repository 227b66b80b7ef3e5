"""A payload codec for simulated worlds, and the check that every payload in a request went through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perdure.converter import PayloadCodec
from perdure.replay.markers import ENGINE_DETAILS
from perdure.wire.api import common, workflowservice
from tests.simulation.violations import Kind, require

if TYPE_CHECKING:
    from google.protobuf.message import Message

_ENCODING = b"binary/simulated"
_MASK = bytes(byte ^ 0xA5 for byte in range(256))
_PLAIN = (b"json/plain", b"binary/null", b"binary/plain")


class SimCodec(PayloadCodec):
    """Changes every byte of a payload."""

    async def encode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        return [
            common.Payload(
                metadata={"encoding": _ENCODING}, data=each.SerializeToString().translate(_MASK)
            )
            for each in payloads
        ]

    async def decode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        return [_decoded(each) for each in payloads]


def _decoded(payload: common.Payload) -> common.Payload:
    if payload.metadata.get("encoding") != _ENCODING:
        return payload  # written by the server itself, like the details of some terminations
    return common.Payload.FromString(payload.data.translate(_MASK))


def check_encoded(name: str, request: Message) -> None:
    """Every payload of a request is encoded.

    Raises:
        Violation: A payload is still as the converter made it.
    """
    found = [plain.decode() for plain in _PLAIN if plain in _users_part(request)]
    require(not found, Kind.PLAINTEXT, f"{name} carries payloads of encoding {found}")


def _users_part(request: Message) -> bytes:
    """The request without what the replay engine writes into its own markers, which is not encoded."""
    if isinstance(request, workflowservice.RespondWorkflowTaskCompletedRequest):
        request = workflowservice.RespondWorkflowTaskCompletedRequest.FromString(
            request.SerializeToString()
        )
        for each in request.commands:
            marker = each.record_marker_command_attributes
            for key in ENGINE_DETAILS.get(marker.marker_name, frozenset()):
                if key in marker.details:
                    del marker.details[key]
    return request.SerializeToString()
