"""Messages between owners, their answers and errors, as bytes.

Invariant: only values that can be encoded leave their owner.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message as ProtobufMessage

from perdure.server.owners.messages import Message
from perdure.wire.api import common
from perdure.wire.errors import RpcError, from_status, to_status


class _Answered(msgspec.Struct, frozen=True, tag="answered", array_like=True):
    value: msgspec.Raw


class _Failed(msgspec.Struct, frozen=True, tag="failed", array_like=True):
    status: bytes
    """A `google.rpc.Status`."""


def _encode_hook(value: Any) -> bytes:
    if isinstance(value, ProtobufMessage):
        return value.SerializeToString()
    raise TypeError(f"{type(value).__name__} is no value that may leave its owner")


def _decode_hook(kind: type[ProtobufMessage], value: bytes) -> ProtobufMessage:
    return kind.FromString(value)


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_hook)
_messages: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(
    Message, dec_hook=_decode_hook
)
_answers: msgspec.msgpack.Decoder[_Answered | _Failed] = msgspec.msgpack.Decoder(
    _Answered | _Failed
)


@cache
def _values(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind, dec_hook=_decode_hook)


def encode_message(message: Message) -> bytes:
    return _encoder.encode(message)


def decode_message(data: bytes) -> Message:
    return _messages.decode(data)


def encode_answer(value: Any) -> bytes:
    return _encoder.encode(_Answered(msgspec.Raw(_encoder.encode(value))))


def encode_error(error: RpcError) -> bytes:
    return _encoder.encode(_Failed(to_status(error).SerializeToString()))


def decode_answer(message: Message, data: bytes) -> Any:
    """The answer to `message`.

    Raises:
        RpcError: The answer was an error.
    """
    answer = _answers.decode(data)
    if isinstance(answer, _Failed):
        status = common.GrpcStatus.FromString(answer.status)
        raise from_status(status.code, status.message, [_unpacked(each) for each in status.details])
    return _values(message.answer).decode(answer.value)


def _unpacked(detail: Any) -> ProtobufMessage:
    """The message in an `Any`, or the `Any` itself if its type is unknown here."""
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(detail.TypeName())
    except KeyError:
        return detail
    unpacked = message_factory.GetMessageClass(descriptor)()
    detail.Unpack(unpacked)
    return unpacked
