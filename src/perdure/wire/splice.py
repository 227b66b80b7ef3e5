"""Responses around history bytes: the head is a message, the events are appended as they are stored (D-18).

Protobuf defines the concatenation of two encodings as their merge, so `head bytes + encoded field` is the message with
that field set. Nothing is parsed here; the receiver parses once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.message import Message

_WIRE_TYPE_BYTES = 2
_ONE_BYTE = tuple(bytes((value,)) for value in range(0x80))


# Nearly all are lengths of events, which repeat: a workflow asks 17 times.
@lru_cache(1_024)
def varint(value: int) -> bytes:
    """The base-128 encoding of a non-negative integer."""
    if value < 0x80:
        return _ONE_BYTE[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field_bytes(message: type[Message], field: str, encoded: bytes) -> bytes:
    """`encoded` as the value of the length-delimited field of this name of this message."""
    number = message.DESCRIPTOR.fields_by_name[field].number
    return varint(number << 3 | _WIRE_TYPE_BYTES) + varint(len(encoded)) + encoded


def with_field(head: Message, field: str, encoded: bytes) -> bytes:
    """The encoding of `head` with `field` set to the message encoded in `encoded`."""
    return head.SerializeToString() + field_bytes(type(head), field, encoded)
