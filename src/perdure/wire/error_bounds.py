"""Errors within what a transport carries.

gRPC sends an error as two headers: its message, percent-encoded, and its status with the details, in base64. Clients
have a limit for all headers of a call: 8 KiB in gRPC's own libraries, 16 KiB in official SDKs. Beyond it they report an
error that is retried, or end the whole connection.

Invariant: the two headers of a bounded error take at most `MESSAGE_WIRE_BYTES_MAX` and `STATUS_WIRE_BYTES_MAX` bytes.
What people and programs need least goes first: stack traces, then causes, then long values, then details.
Not here: what a message may quote (`errors.shown`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import any_pb2, descriptor_pool, message_factory

from perdure.wire.api import common, errordetails
from perdure.wire.errors import shown, to_status
from perdure.wire.failures import failures_below, shortened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

    from perdure.wire.api import failure
    from perdure.wire.errors import RpcError

MESSAGE_WIRE_BYTES_MAX = 1_536
STATUS_WIRE_BYTES_MAX = 5_336
_STATUS_BYTES_MAX = STATUS_WIRE_BYTES_MAX // 4 * 3
_PLAIN_BYTES = frozenset(range(0x20, 0x7F)) - {ord("%")}
_LEFT_OUT = "… (shortened)"
_TRACE_NOTE_BYTES = 72
"""For the words in place of what is left out of a stack trace, and for lengths that grow."""
_TRACE_BYTES_MIN = 100
"""Less of a stack trace would say nothing."""
_VALUE_BYTES_MAX = 100


def bound_error(error: RpcError) -> None:
    """Shorten an error's message and replace its details, in place, until it can be sent."""
    message = _bounded_text(error.message)
    if message != error.message:
        error.message = message
        error.args = (message,)
    if not error.details or _excess_bytes(error) <= 0:
        return
    error.details = tuple(_unpacked(detail) for detail in error.details)
    for lighten in (_shorten_traces, _drop_causes, _drop_values):
        lighten(error)
        if _excess_bytes(error) <= 0:
            return
    while error.details and _excess_bytes(error) > 0:
        error.details = error.details[:-1]


def message_wire_bytes(message: str) -> int:
    """The size of a message in a header: a byte that is not printable ASCII takes three."""
    return sum(1 if byte in _PLAIN_BYTES else 3 for byte in message.encode())


def status_wire_bytes(error: RpcError) -> int:
    """The size of the header with the details."""
    return -(-to_status(error).ByteSize() // 3) * 4


def _bounded_text(text: str) -> str:
    # Each character takes at least one byte. Halves of surrogate pairs, as in names of files, cannot be sent at all.
    start = text[: MESSAGE_WIRE_BYTES_MAX + 1].encode("utf-8", "replace").decode()
    if message_wire_bytes(start) <= MESSAGE_WIRE_BYTES_MAX:
        return start
    left, kept = MESSAGE_WIRE_BYTES_MAX - message_wire_bytes(_LEFT_OUT), 0
    for letter in start:
        left -= message_wire_bytes(letter)
        if left < 0:
            break
        kept += 1
    return start[:kept] + _LEFT_OUT


def _excess_bytes(error: RpcError) -> int:
    return to_status(error).ByteSize() - _STATUS_BYTES_MAX


def _unpacked(detail: Message) -> Message:
    """A copy of a detail that may be changed. A detail of an unknown type stays packed."""
    if not isinstance(detail, any_pb2.Any):
        copy = type(detail)()
        copy.CopyFrom(detail)
        return copy
    try:
        known = descriptor_pool.Default().FindMessageTypeByName(detail.TypeName())
    except KeyError:
        return detail
    message = message_factory.GetMessageClass(known)()
    detail.Unpack(message)
    return message


# ── stack traces and causes ───────────────────────────────────────────────────────────────────────


def _failures(error: RpcError) -> list[failure.Failure]:
    return [each for detail in error.details for each in failures_below(detail)]


def _with_causes(error: RpcError) -> Iterator[failure.Failure]:
    for each in _failures(error):
        level = each
        yield level
        while level.HasField("cause"):
            level = level.cause
            yield level


def _shorten_traces(error: RpcError) -> None:
    """Leave of each stack trace its share of the room that is left, its beginning and its end."""
    levels = [level for level in _with_causes(error) if level.stack_trace]
    traces = [level.stack_trace for level in levels]
    for level in levels:
        level.stack_trace = ""
    if not levels or (room_bytes := -_excess_bytes(error)) <= 0:
        return
    share_bytes = room_bytes // len(levels) - _TRACE_NOTE_BYTES
    for level, trace in zip(levels, traces, strict=True):
        if share_bytes >= _TRACE_BYTES_MIN:
            # A share counts bytes, and a character may have four.
            is_ascii = trace.isascii()
            level.stack_trace = shortened(trace, share_bytes if is_ascii else share_bytes // 4)


def _drop_causes(error: RpcError) -> None:
    for each in _failures(error):
        each.ClearField("cause")


# ── values ────────────────────────────────────────────────────────────────────────────────────────


def _drop_values(error: RpcError) -> None:
    """Clear long texts and bytes of the details, payloads among them. Messages for people are shortened."""
    for detail in error.details:
        _lighten(detail)


def _lighten(message: Message) -> None:
    if isinstance(message, any_pb2.Any):
        return  # of an unknown type: half of it would be worse than nothing
    if isinstance(message, errordetails.MultiOperationExecutionFailure):
        for status in message.statuses:
            status.message = shown(status.message)
            for detail in status.details:
                _lighten_packed(detail)
        return
    for field, value in message.ListFields():
        if field.name == "message" and isinstance(value, str):
            setattr(message, field.name, _beginning(value))
        elif field.is_repeated or _is_long(value):
            message.ClearField(field.name)
        elif field.message_type is not None:
            _lighten(value)


def _lighten_packed(detail: any_pb2.Any) -> None:
    message = _unpacked(detail)
    if message is detail:
        return
    for each in failures_below(message):
        each.ClearField("stack_trace")
        each.ClearField("cause")
    _lighten(message)
    detail.Pack(message)


def _beginning(text: str) -> str:
    """The beginning of a message within a detail; the error's own message has more of it."""
    return text if len(text) <= _VALUE_BYTES_MAX else text[:_VALUE_BYTES_MAX] + _LEFT_OUT


def _is_long(value: Any) -> bool:
    if isinstance(value, str):
        return len(value.encode()) > _VALUE_BYTES_MAX
    if isinstance(value, bytes):
        return len(value) > _VALUE_BYTES_MAX
    return isinstance(value, common.Payload) and value.ByteSize() > _VALUE_BYTES_MAX


__all__ = [
    "MESSAGE_WIRE_BYTES_MAX",
    "STATUS_WIRE_BYTES_MAX",
    "bound_error",
    "message_wire_bytes",
    "status_wire_bytes",
]
