"""One converter per payload encoding. The order in `composite` decides which one converts a value.

Encodings: `binary/null` None · `binary/plain` bytes · `json/protobuf` and `binary/protobuf` messages ·
`json/plain` everything else. JSON is compact with sorted keys, so that equal values give equal bytes.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
import warnings
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Literal, Union, cast, get_origin

from google.protobuf import json_format, symbol_database
from google.protobuf.message import DecodeError, Message

from perdure.converter.typed import JSONTypeConverter, value_to_type
from perdure.wire.api import common as common_pb

_SYMBOLS = symbol_database.Default()
_decode = json.JSONDecoder().decode
"""What `json.loads` ends in, after 33 of 70 steps."""


def _as_text(data: bytes) -> str | bytes:
    """JSON that begins as UTF-8 does, as text: given bytes, `json.loads` first looks for five other encodings."""
    if len(data) > 1 and 0 < data[0] < 0x80 and data[1]:
        return data.decode(errors="surrogatepass")
    return data


class EncodingPayloadConverter(ABC):
    """Converts one value to one payload of one encoding, or declines.

    Example:
        ```python
        from decimal import Decimal
        from typing import Any

        from perdure.converter import (
            CompositePayloadConverter,
            DataConverter,
            DefaultPayloadConverter,
        )
        from perdure.converter import EncodingPayloadConverter


        class DecimalConverter(EncodingPayloadConverter):
            @property
            def encoding(self) -> str:
                return "text/decimal"

            def to_payload(self, value: Any) -> Any:
                if not isinstance(value, Decimal):
                    return None
                payload = DefaultPayloadConverter().to_payload(str(value))
                payload.metadata["encoding"] = self.encoding.encode()
                return payload

            def from_payload(self, payload: Any, type_hint: Any = None) -> Decimal:
                return Decimal(payload.data.decode().strip('"'))


        class ShopConverter(CompositePayloadConverter):
            def __init__(self) -> None:
                super().__init__(
                    DecimalConverter(), *DefaultPayloadConverter.default_encoding_payload_converters
                )


        converter = DataConverter(payload_converter_class=ShopConverter)
        payloads = await converter.encode([Decimal("9.90")])
        assert await converter.decode(payloads) == [Decimal("9.90")]
        ```
    """

    @property
    @abstractmethod
    def encoding(self) -> str:
        """The `encoding` metadata of the payloads that this converter writes and reads."""

    @abstractmethod
    def to_payload(self, value: Any) -> common_pb.Payload | None:
        """Convert a value.

        Args:
            value: The value.

        Returns:
            The payload; None when the value is not one for this converter.

        Raises:
            TypeError, ValueError, RuntimeError: The value is one for this converter, but cannot be converted.
        """

    @abstractmethod
    def from_payload(self, payload: common_pb.Payload, type_hint: type | None = None) -> Any:
        """Convert a payload that has this encoding.

        Args:
            payload: The payload.
            type_hint: The expected type, if known.

        Returns:
            The value.

        Raises:
            RuntimeError: The data is malformed.
        """


class BinaryNullPayloadConverter(EncodingPayloadConverter):
    """Converts None."""

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
    """Converts bytes, unchanged."""

    @property
    def encoding(self) -> str:
        return "binary/plain"

    def to_payload(self, value: Any) -> common_pb.Payload | None:
        if not isinstance(value, bytes):
            return None
        return common_pb.Payload(metadata={"encoding": b"binary/plain"}, data=value)

    def from_payload(self, payload: common_pb.Payload, type_hint: type | None = None) -> Any:
        if type_hint is None or _holds_bytes(type_hint):
            return payload.data
        # Another type: its rules decide, and refuse what does not fit.
        return value_to_type(type_hint, payload.data)


def _holds_bytes(hint: Any) -> bool:
    """Whether bytes are what the hint asks for: `Sequence[int]` and protocols are as good as `bytes`."""
    kind: Any = get_origin(hint) or hint
    if kind in (Literal, Union, UnionType, Annotated) or not isinstance(kind, type):
        return False
    try:
        return issubclass(bytes, kind)
    except TypeError:  # a protocol that cannot be asked
        return True


def _message_payload(encoding: bytes, message: Message, data: bytes) -> common_pb.Payload:
    name = message.DESCRIPTOR.full_name.encode()
    return common_pb.Payload(metadata={"encoding": encoding, "messageType": name}, data=data)


def _new_message(payload: common_pb.Payload) -> Message:
    """An empty message of the payload's type.

    Raises:
        RuntimeError: No imported module defines that type.
    """
    name = payload.metadata.get("messageType", b"<unknown>").decode(errors="replace")
    try:
        message_type: Any = _SYMBOLS.GetSymbol(name)
    except KeyError as error:
        raise RuntimeError(
            f"Unknown Protobuf type {name}: import the module generated for it in this process"
        ) from error
    return message_type()


class JSONProtoPayloadConverter(EncodingPayloadConverter):
    """Converts protobuf messages as JSON.

    Args:
        ignore_unknown_fields: Whether unknown fields are ignored when reading. False makes them an error.
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
        except Exception as error:
            # Many kinds: the reader of JSON checks few shapes itself.
            raise RuntimeError("Failed parsing") from error


class BinaryProtoPayloadConverter(EncodingPayloadConverter):
    """Converts protobuf messages in their binary encoding. By default it only reads, because JSON is tried first."""

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
    """A JSON encoder for further types.

    They are datetimes (as ISO 8601), dataclasses, objects with a `dict()` method, iterables (as lists) and UUIDs.
    """

    def default(self, o: Any) -> Any:
        if isinstance(o, datetime):
            return o.isoformat()
        if dataclasses.is_dataclass(o) and not isinstance(o, type):
            return dataclasses.asdict(o)
        if isinstance(o, Mapping):
            return dict(o)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        if isinstance(o, Enum):  # before iterables: flags are both
            raise TypeError(
                f"Object of type {type(o).__name__} is not JSON serializable: derive the enum from str or int too"
            )
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
    """Converts everything that JSON supports. Type hints rebuild dataclasses, enums, dates and more when reading.

    Args:
        encoder: JSON encoder class. None: the standard one.
        decoder: JSON decoder class. None: the standard one.
        encoding: The `encoding` metadata.
        custom_type_converters: Tried first, in order, when a type hint is applied.
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
        kind = encoder or json.JSONEncoder
        self._encode = kind(separators=(",", ":"), sort_keys=True).encode
        self._encode_unsorted = kind(separators=(",", ":")).encode
        self._decoder = decoder
        self._custom_type_converters = custom_type_converters

    @property
    def encoding(self) -> str:
        return self._encoding

    def _text(self, value: Any) -> str:
        try:
            return self._encode(value)
        except TypeError as error:
            # Keys of different types cannot be sorted; what was consumed cannot be encoded a second time.
            if "not supported between instances" not in str(error) or _has_iterator(value):
                raise
            return self._encode_unsorted(value)

    def to_payload(self, value: Any) -> common_pb.Payload | None:
        if hasattr(value, "parse_obj"):
            warnings.warn(
                "A Pydantic model is converted through its dict() method, which loses types:"
                " use a data converter made for Pydantic",
                stacklevel=2,
            )
        payload = common_pb.Payload(data=self._text(value).encode())
        # Protobuf would copy a dict given to the constructor in Python.
        payload.metadata["encoding"] = self._encoding_bytes
        return payload

    def from_payload(self, payload: common_pb.Payload, type_hint: type | None = None) -> Any:
        try:
            text = _as_text(payload.data)
            if self._decoder is None and isinstance(text, str):
                value = _decode(text)
            else:
                value = json.loads(text, cls=self._decoder)
        except (ValueError, RecursionError) as error:
            # Not JSON, not UTF-8, a number of too many digits, or nested too deeply.
            raise RuntimeError("Failed parsing") from error
        if type_hint is None:
            return value
        return value_to_type(type_hint, value, self._custom_type_converters)


def _has_iterator(value: Any) -> bool:
    """Whether a value holds something that can be read once only."""
    if isinstance(value, Iterator):
        return True
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return any(_has_iterator(getattr(value, each.name)) for each in dataclasses.fields(value))
    if isinstance(value, Mapping):
        return any(map(_has_iterator, cast("Mapping[Any, Any]", value).values()))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(_has_iterator, cast("Iterable[Any]", value)))
    return False
