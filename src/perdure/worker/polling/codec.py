"""Apply a payload codec to every payload inside an API message, in place.

Role: outgoing messages are encoded and incoming ones decoded, so that workflow code and the replay engine see only
plain payloads. Without a codec, messages are not traversed.

Invariants: search attributes are never encoded, because the server reads them, and headers only if
`HeaderCodecBehavior` says so. The engine's own data in markers of patches and local activities stays readable, as every
SDK of this API expects; results and failures in these markers are encoded, because they belong to the user.
Not here: conversion between values and payloads (`perdure.converter`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from google.protobuf.any_pb2 import Any as AnyMessage

from perdure.replay.markers import ENGINE_DETAILS
from perdure.wire.api import command, common, history, update
from perdure.wire.payload_fields import PAYLOAD, is_map, payload_fields, type_name

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

Apply = Callable[[Sequence[common.Payload]], Awaitable[list[common.Payload]]]

_HEADER = common.Header.DESCRIPTOR.full_name
# Protocol messages of updates are packed in an `Any`.
_PACKED: dict[str, type[Message]] = {
    f"type.googleapis.com/{kind.DESCRIPTOR.full_name}": kind
    for kind in (update.Request, update.Response, update.Acceptance, update.Rejection)
}

_MARKERS = (
    command.RecordMarkerCommandAttributes.DESCRIPTOR.full_name,
    history.MarkerRecordedEventAttributes.DESCRIPTOR.full_name,
)


async def apply_codec(message: Message, apply: Apply, *, headers: bool = False) -> None:
    """Replace every payload inside `message` by the result of `apply`.

    Args:
        message: Changed in place.
        apply: The encoding or the decoding half of a codec.
        headers: Whether payloads of headers are replaced as well.
    """
    for field in payload_fields(cast("Descriptor", message.DESCRIPTOR)):
        name = field.name
        if is_map(field):
            spared = _details_of_the_engine(message)
            await _apply_map(getattr(message, name), apply, but=spared, headers=headers)
        elif field.is_repeated:
            items = getattr(message, name)
            if type_name(field) == PAYLOAD:
                await _replace_all(items, apply)
            else:
                for item in items:
                    await _apply_one(item, apply, headers=headers)
        elif message.HasField(name):
            await _apply_one(getattr(message, name), apply, headers=headers)


async def _apply_one(value: Message, apply: Apply, *, headers: bool) -> None:
    name = value.DESCRIPTOR.full_name
    if isinstance(value, common.Payload):
        (made,) = await apply([value])
        value.CopyFrom(made)
    elif isinstance(value, common.Payloads):
        await _replace_all(value.payloads, apply)
    elif isinstance(value, AnyMessage):
        kind = _PACKED.get(value.type_url)
        if kind is not None:
            inner = kind.FromString(value.value)
            await apply_codec(inner, apply, headers=headers)
            value.value = inner.SerializeToString()
    elif headers or name != _HEADER:
        await apply_codec(value, apply, headers=headers)


async def _apply_map(values: Any, apply: Apply, *, but: frozenset[str], headers: bool) -> None:
    # Protobuf maps have no order. Sort them, so that a stateful codec gets the same sequence every time.
    for key in sorted(values):
        if key not in but:
            await _apply_one(values[key], apply, headers=headers)


def _details_of_the_engine(message: Message) -> frozenset[str]:
    """The details of a marker that no codec ever sees."""
    if message.DESCRIPTOR.full_name not in _MARKERS:
        return frozenset()
    return ENGINE_DETAILS.get(cast("Any", message).marker_name, frozenset())


async def _replace_all(items: Any, apply: Apply) -> None:
    if not items:
        return
    made = await apply(list(items))
    del items[:]
    items.extend(made)
