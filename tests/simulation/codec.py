"""A payload codec of the world: what travels shows nothing of what it holds."""

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
    """Masks every byte."""

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
        return payload  # written by the server itself, as the details of some terminations are
    return common.Payload.FromString(payload.data.translate(_MASK))


def check_encoded(name: str, request: Message) -> None:
    """No payload of a request is as the converter made it.

    Raises:
        Violation: One is.
    """
    found = [plain.decode() for plain in _PLAIN if plain in _users_part(request)]
    require(not found, Kind.PLAINTEXT, f"{name} carries payloads of encoding {found}")


def _users_part(request: Message) -> bytes:
    """Without what the worker's engine writes into its own markers, which no codec sees."""
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
