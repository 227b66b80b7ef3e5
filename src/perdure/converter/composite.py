"""A payload converter made of encoding converters, and the default one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

from perdure.common.raw import RawValue
from perdure.converter.context import SerializationContext, WithSerializationContext
from perdure.converter.encodings import (
    BinaryNullPayloadConverter,
    BinaryPlainPayloadConverter,
    BinaryProtoPayloadConverter,
    EncodingPayloadConverter,
    JSONPlainPayloadConverter,
    JSONProtoPayloadConverter,
)
from perdure.converter.payload import PayloadConverter
from perdure.wire.api import common as common_pb


class CompositePayloadConverter(PayloadConverter, WithSerializationContext):
    """Writes with the first converter that takes the value; reads with the one that the encoding names.

    `with_context` needs subclasses to have a constructor without parameters.

    Args:
        converters: Converters, in the order in which they are tried.

    Attributes:
        converters: The converters by encoding.
    """

    converters: Mapping[bytes, EncodingPayloadConverter]
    _asks: tuple[object, int, bool] | None = None

    def __init__(self, *converters: EncodingPayloadConverter) -> None:
        self.converters = _by_encoding(converters)

    def to_payloads(self, values: Sequence[Any]) -> list[common_pb.Payload]:
        """Convert values, each to one payload.

        Args:
            values: The values.

        Raises:
            RuntimeError: No converter takes a value.
        """
        return [self._to_payload(index, value) for index, value in enumerate(values)]

    def _to_payload(self, index: int, value: Any) -> common_pb.Payload:
        if isinstance(value, RawValue):
            return value.payload
        for converter in self.converters.values():
            payload = converter.to_payload(value)
            if payload is not None:
                return payload
        raise RuntimeError(f"Value at index {index} of type {type(value)} has no known converter")

    def from_payloads(
        self, payloads: Sequence[common_pb.Payload], type_hints: list[type] | None = None
    ) -> list[Any]:
        """Convert payloads, each to one value.

        Args:
            payloads: The payloads.
            type_hints: The expected types, one for each payload, if known.

        Raises:
            KeyError: A payload has an encoding that no converter reads.
            RuntimeError: A payload is malformed.
        """
        hints: Sequence[type | None] = type_hints or ()
        values: list[Any] = []
        for index, payload in enumerate(payloads):
            hint = hints[index] if index < len(hints) else None
            values.append(self._from_payload(index, payload, hint))
        return values

    def _from_payload(self, index: int, payload: common_pb.Payload, hint: type | None) -> Any:
        if hint is RawValue:
            return RawValue(payload)
        encoding = payload.metadata.get("encoding", b"<unknown>")
        converter = self.converters.get(encoding)
        if converter is None:
            raise KeyError(f"Unknown payload encoding {encoding.decode(errors='replace')}")
        try:
            return converter.from_payload(payload, hint)
        except RuntimeError as error:
            raise RuntimeError(
                f"Payload at index {index} with encoding {encoding.decode()} could not be converted"
            ) from error

    def with_context(self, context: SerializationContext) -> Self:
        converters = self.get_converters_with_context(context)
        if converters is None:
            return self
        made = type(self)()
        made.converters = _by_encoding(converters)
        return made

    def get_converters_with_context(
        self, context: SerializationContext
    ) -> list[EncodingPayloadConverter] | None:
        """The converters for a context; None when none of them depends on it.

        Args:
            context: What the payloads belong to.
        """
        if not self._asks_for_context():
            return None
        before = list(self.converters.values())
        after = [
            converter.with_context(context)
            if isinstance(converter, WithSerializationContext)
            else converter
            for converter in before
        ]
        changed = any(new is not old for new, old in zip(after, before, strict=True))
        return after if changed else None

    def _asks_for_context(self) -> bool:
        """Whether any converter may change; the answer is kept, as every payload's owner asks."""
        converters = self.converters
        cached = self._asks
        if cached is None or cached[0] is not converters or cached[1] != len(converters):
            asks = any(isinstance(each, WithSerializationContext) for each in converters.values())
            cached = self._asks = (converters, len(converters), asks)
        return cached[2]


def _by_encoding(
    converters: Iterable[EncodingPayloadConverter],
) -> dict[bytes, EncodingPayloadConverter]:
    return {converter.encoding.encode(): converter for converter in converters}


class DefaultPayloadConverter(CompositePayloadConverter):
    """Converts None, bytes, protobuf messages, and everything that JSON supports."""

    default_encoding_payload_converters: ClassVar[tuple[EncodingPayloadConverter, ...]] = (
        BinaryNullPayloadConverter(),
        BinaryPlainPayloadConverter(),
        JSONProtoPayloadConverter(),
        BinaryProtoPayloadConverter(),
        JSONPlainPayloadConverter(),  # last: it declines nothing
    )

    def __init__(self) -> None:
        super().__init__(*DefaultPayloadConverter.default_encoding_payload_converters)


PayloadConverter.default = DefaultPayloadConverter()
