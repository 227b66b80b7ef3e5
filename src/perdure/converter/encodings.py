"""One converter per payload encoding. Which one applies to a value is decided by order (`composite`).

Encodings: ``binary/null`` None · ``binary/plain`` bytes · ``json/protobuf`` and ``binary/protobuf`` messages ·
``json/plain`` everything else. JSON is compact with sorted keys, so equal values make equal bytes.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
import warnings
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable, Sequence
from datetime import datetime
from typing import Any

from google.protobuf import json_format, symbol_database
from google.protobuf.message import DecodeError, Message

from perdure.converter.typed import JSONTypeConverter, value_to_type
from perdure.wire.api import common as common_pb

_SYMBOLS = symbol_database.Default()


class EncodingPayloadConverter(ABC):
    """Converts one value to one payload of one encoding, or declines."""

    @property
    @abstractmethod
    def encoding(self) -> str:
        """The ``encoding`` metadata that this converter reads and writes."""

    @abstractmethod
    def to_payload(self, value: Any) -> common_pb.Payload | None:
        """The payload, or None when `value` is not for this converter.

        Raises:
            TypeError, ValueError, RuntimeError: `value` is for this converter, but it cannot be converted.
        """

    @abstractmethod
    def from_payload(self, payload: common_pb.Payload, type_hint: type | None = None) -> Any:
        """The value of a payload that has this encoding.

        Raises:
            RuntimeError: The data is malformed.
        """


class BinaryNullPayloadConverter(EncodingPayloadConverter):
    """None."""

    @property
    def encoding(self) -> str:
        return "binary/null"

    def to_payload(self, value: Any) -> common_pb.Payload | None:
        return (
            None if value is not None else common_pb.Payload(metadata={"encoding": b"binary/null"})
        )

    def from_payload(self, payload: common_pb.Payload, type_hint: type | None = None) -> Any:
        if payload.data:
            raise RuntimeError("Expected empty data set for binary/null")
        return None


class BinaryPlainPayloadConverter(EncodingPayloadConverter):
    """Bytes as they are."""

    @property
    def encoding(self) -> str:
        return "binary/plain"

    def to_payload(self, value: Any) -> common_pb.Payload | None:
        if not isinstance(value, bytes):
            return None
        return common_pb.Payload(metadata={"encoding": b"binary/plain"}, data=value)

    def from_payload(self, payload: common_pb.Payload, type_hint: type | None = None) -> Any:
        return payload.data


def _message_payload(encoding: bytes, message: Message, data: bytes) -> common_pb.Payload:
    name = message.DESCRIPTOR.full_name.encode()
    return common_pb.Payload(metadata={"encoding": encoding, "messageType": name}, data=data)


def _new_message(payload: common_pb.Payload) -> Message:
    """An empty message of the payload's type.

    Raises:
        RuntimeError: No imported module defines that type.
    """
    name = payload.metadata.get("messageType", b"<unknown>").decode()
    try:
        message_type: Any = _SYMBOLS.GetSymbol(name)
    except KeyError as error:
        raise RuntimeError(
            f"Unknown Protobuf type {name}: import the module generated for it in this process"
        ) from error
    return message_type()


class JSONProtoPayloadConverter(EncodingPayloadConverter):
    """Protobuf messages as JSON.

    Args:
        ignore_unknown_fields: False makes an unknown field an error when reading.
    """

    def __init__(self, ignore_unknown_fields: bool = False) -> None:
        super().__init__()
        self._ignore_unknown_fields = ignore_unknown_fields

    @property
    def encoding(self) -> str:
        return "json/protobuf"

    def to_payload(self, value: Any) -> common_pb.Payload | None:
        if not isinstance(value, Message):
            return None
        # Through a dict: the library's own JSON writer has no compact form.
        text = json.dumps(json_format.MessageToDict(value), separators=(",", ":"), sort_keys=True)
        return _message_payload(b"json/protobuf", value, text.encode())

    def from_payload(self, payload: common_pb.Payload, type_hint: type | None = None) -> Any:
        message = _new_message(payload)
        try:
            return json_format.Parse(
                payload.data, message, ignore_unknown_fields=self._ignore_unknown_fields
            )
        except (json_format.ParseError, UnicodeDecodeError) as error:
            raise RuntimeError("Failed parsing") from error


class BinaryProtoPayloadConverter(EncodingPayloadConverter):
    """Protobuf messages in their own encoding. By default only read: JSON comes first when writing."""

    @property
    def encoding(self) -> str:
        return "binary/protobuf"

    def to_payload(self, value: Any) -> common_pb.Payload | None:
        if not isinstance(value, Message):
            return None
        return _message_payload(b"binary/protobuf", value, value.SerializeToString())

    def from_payload(self, payload: common_pb.Payload, type_hint: type | None = None) -> Any:
        message = _new_message(payload)
        try:
            message.ParseFromString(payload.data)
        except DecodeError as error:
            raise RuntimeError("Failed parsing") from error
        return message


class AdvancedJSONEncoder(json.JSONEncoder):
    """JSON with datetimes (ISO 8601), dataclasses, objects with a ``dict()`` method, iterables as lists, and UUIDs."""

    def default(self, o: Any) -> Any:
        if isinstance(o, datetime):
            return o.isoformat()
        if dataclasses.is_dataclass(o) and not isinstance(o, type):
            return dataclasses.asdict(o)
        as_dict = getattr(o, "dict", None)
        if callable(as_dict):
            return as_dict()
        kind, name = type(o).__name__, getattr(o, "__qualname__", "")
        if isinstance(o, Awaitable):  # before iterables: futures are both
            raise TypeError(
                f"Object of type {kind} is not JSON serializable: {name or kind} was not awaited;"
                " is an `await` missing?"
            )
        if isinstance(o, Iterable):
            return list(o)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        if isinstance(o, uuid.UUID):
            return str(o)
        raise TypeError(
            f"Object of type {kind} is not JSON serializable: pass plain data or dataclasses, or give the"
            " client a data_converter that knows it"
        )


class JSONPlainPayloadConverter(EncodingPayloadConverter):
    """Anything that JSON can hold; type hints rebuild dataclasses, enums, dates and so on when reading.

    Args:
        encoder: JSON encoder class; None for the standard one.
        decoder: JSON decoder class; None for the standard one.
        encoding: The ``encoding`` metadata.
        custom_type_converters: Asked first, in order, when a hint is applied.
    """

    def __init__(
        self,
        *,
        encoder: type[json.JSONEncoder] | None = AdvancedJSONEncoder,
        decoder: type[json.JSONDecoder] | None = None,
        encoding: str = "json/plain",
        custom_type_converters: Sequence[JSONTypeConverter] = (),
    ) -> None:
        super().__init__()
        self._encoding = encoding
        self._encoding_bytes = encoding.encode()
        # One encoder for all values: making one for each costs more than encoding a small value.
        self._encode = (encoder or json.JSONEncoder)(separators=(",", ":"), sort_keys=True).encode
        self._decoder = decoder
        self._custom_type_converters = custom_type_converters

    @property
    def encoding(self) -> str:
        return self._encoding

    def to_payload(self, value: Any) -> common_pb.Payload | None:
        if hasattr(value, "parse_obj"):
            warnings.warn(
                "A Pydantic model is converted through its dict() method, which loses types:"
                " use a data converter made for Pydantic",
                stacklevel=2,
            )
        return common_pb.Payload(
            metadata={"encoding": self._encoding_bytes}, data=self._encode(value).encode()
        )

    def from_payload(self, payload: common_pb.Payload, type_hint: type | None = None) -> Any:
        try:
            value = json.loads(payload.data, cls=self._decoder)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise RuntimeError("Failed parsing") from error
        if type_hint is None:
            return value
        return value_to_type(type_hint, value, self._custom_type_converters)
