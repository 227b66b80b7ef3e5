"""Which fields of API messages may hold payloads of users.

Role: one answer, computed once for a type, for everything that walks messages: codecs, size warnings.
Invariant: search attributes are never named, because the server reads them. Not here: what is done with the fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.any_pb2 import Any as AnyMessage

from perdure.wire.api import common

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor

PAYLOAD = common.Payload.DESCRIPTOR.full_name
PAYLOADS = common.Payloads.DESCRIPTOR.full_name
ANY = AnyMessage.DESCRIPTOR.full_name
_SEARCH_ATTRIBUTES = common.SearchAttributes.DESCRIPTOR.full_name

_carriers: dict[str, tuple[FieldDescriptor, ...]] = {}


def payload_fields(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    """The fields of a message type below which a payload may be."""
    found = _carriers.get(descriptor.full_name)
    if found is None:
        found = tuple(
            field
            for field in descriptor.fields
            if _may_hold_payload(value_type(field), frozenset())
        )
        _carriers[descriptor.full_name] = found
    return found


def _may_hold_payload(descriptor: Descriptor | None, seen: frozenset[str]) -> bool:
    if descriptor is None or descriptor.full_name in seen | {_SEARCH_ATTRIBUTES}:
        return False
    if descriptor.full_name in (PAYLOAD, PAYLOADS, ANY):
        return True
    seen |= {descriptor.full_name}
    return any(_may_hold_payload(value_type(field), seen) for field in descriptor.fields)


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a map."""
    kind = field.message_type
    return kind is not None and kind.GetOptions().map_entry


def value_type(field: FieldDescriptor) -> Descriptor | None:
    """The message type of the field's values, those of a map too; None for scalars."""
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        return kind.fields_by_name["value"].message_type
    return kind


def type_name(field: FieldDescriptor) -> str:
    """The full name of the field's message type; empty for scalars."""
    return field.message_type.full_name if field.message_type is not None else ""
