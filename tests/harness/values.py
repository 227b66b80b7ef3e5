"""Text into fields of messages, for the languages of transcripts and of replay scripts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.wire.api import common
from perdure.wire.api import failure as failures
from perdure.wire.times import duration, timestamp

START_NS = 1_000_000_000 * 10**9
"""When the clock of a `StoredRun` begins."""

_UNITS = {"ns": 1, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def span(text: str) -> int:
    """ "10s" in nanoseconds; "-10s" is a negative one."""
    match = re.fullmatch(r"(-?\d+)(ns|ms|s|m|h)", text)
    assert match, f"no span of time: {text}"
    return int(match[1]) * _UNITS[match[2]]


def payload(text: str) -> common.Payload:
    return common.Payload(data=text.encode())


def payload_list(text: str) -> list[common.Payload]:
    return [payload(part) for part in text.split(",")] if text else []


def set_field(message: Message, path: str, text: str) -> None:
    """Set `a.b.c`: fields of messages, keys of maps; an empty text sets a message that says nothing."""
    head, _, rest = path.partition(".")
    field = message.DESCRIPTOR.fields_by_name[head]
    if field.message_type is None:
        _set_scalar(message, field, text)
        return
    inner = getattr(message, head)
    if field.message_type.GetOptions().map_entry:
        value_type = field.message_type.fields_by_name["value"].message_type
        if value_type is None:
            inner[rest] = text
        else:
            set_message(inner[rest], "", text)
        return
    if field.is_repeated:
        raise AssertionError(f"no way to write the list {path}")
    set_message(inner, rest, text)


def _set_scalar(message: Message, field: Any, text: str) -> None:
    if field.is_repeated:
        convert: Callable[[str], Any] = str if field.type == field.TYPE_STRING else int
        getattr(message, field.name).extend(convert(part) for part in text.split(",") if part)
    elif field.enum_type is not None:
        numbers = {value.name: value.number for value in field.enum_type.values}
        known = [number for name, number in numbers.items() if name.endswith(f"_{text}")]
        setattr(message, field.name, known[0] if known else int(text))
    elif field.type == field.TYPE_STRING:
        setattr(message, field.name, text)
    elif field.type == field.TYPE_BYTES:
        setattr(message, field.name, text.encode())
    elif field.type == field.TYPE_BOOL:
        setattr(message, field.name, text != "no")
    else:
        setattr(message, field.name, int(text))


def set_message(message: Any, rest: str, text: str) -> None:
    message.SetInParent()
    if rest:
        set_field(message, rest, text)
    elif not text:
        return
    elif isinstance(message, common.Payload):
        message.data = text.encode()
    elif isinstance(message, common.Payloads):
        message.payloads.extend(payload_list(text))
    elif isinstance(message, failures.Failure):
        message.message = text
    elif isinstance(message, Duration):
        message.CopyFrom(duration(span(text)))
    elif isinstance(message, Timestamp):
        message.CopyFrom(timestamp(START_NS + span(text)))
    else:
        message.name = text
