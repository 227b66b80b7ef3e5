"""The data converter: payload converter, codec and failure converter as one value."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from perdure.common.signatures import UNSET
from perdure.converter.codec import PayloadCodec, apply_to_failure_payloads
from perdure.converter.composite import DefaultPayloadConverter
from perdure.converter.context import SerializationContext, WithSerializationContext
from perdure.converter.failure import DefaultFailureConverter, FailureConverter
from perdure.converter.payload import PayloadConverter
from perdure.wire.api import common as common_pb
from perdure.wire.api import failure as failure_pb
from perdure.wire.failures import bound


@dataclass(frozen=True)
class DataConverter(WithSerializationContext):
    """Converts values and errors: a payload converter, an optional codec and a failure converter.

    Attributes:
        payload_converter_class: Instantiated once for this converter, without arguments.
        payload_codec: Applied to every payload outside workflow code.
        failure_converter_class: Instantiated once for this converter, without arguments.
        payload_converter: The payload converter in use.
        failure_converter: The failure converter in use.

    Example:
        ```python
        from dataclasses import dataclass

        from perdure.client import DataConverter


        @dataclass
        class Order:
            id: str
            total: int


        payloads = await DataConverter.default.encode([Order("order-7", total=42)])
        assert payloads[0].data == b'{"id":"order-7","total":42}'
        assert await DataConverter.default.decode(payloads, [Order]) == [Order("order-7", total=42)]
        ```
    """

    payload_converter_class: type[PayloadConverter] = DefaultPayloadConverter
    payload_codec: PayloadCodec | None = None
    failure_converter_class: type[FailureConverter] = DefaultFailureConverter
    payload_converter: PayloadConverter = dataclasses.field(init=False)
    failure_converter: FailureConverter = dataclasses.field(init=False)

    default: ClassVar[DataConverter]

    def __post_init__(self) -> None:
        object.__setattr__(self, "payload_converter", self.payload_converter_class())
        object.__setattr__(self, "failure_converter", self.failure_converter_class())

    async def encode(self, values: Sequence[Any]) -> list[common_pb.Payload]:
        """Convert values to payloads, and encode them with the codec.

        Args:
            values: The values.
        """
        return await self.encode_payloads(self.payload_converter.to_payloads(values))

    async def decode(
        self, payloads: Sequence[common_pb.Payload], type_hints: list[type] | None = None
    ) -> list[Any]:
        """Decode payloads with the codec, and convert them to values.

        Args:
            payloads: The payloads.
            type_hints: The expected types, one for each payload, if known.
        """
        plain = await self.decode_payloads(payloads)
        return self.payload_converter.from_payloads(plain, type_hints)

    async def encode_wrapper(self, values: Sequence[Any]) -> common_pb.Payloads:
        """Convert and encode values to a `Payloads` message.

        Args:
            values: The values.
        """
        return common_pb.Payloads(payloads=await self.encode(values))

    async def decode_wrapper(
        self, payloads: common_pb.Payloads | None, type_hints: list[type] | None = None
    ) -> list[Any]:
        """Decode and convert a `Payloads` message. An empty or missing one gives no values.

        Args:
            payloads: The message, or None.
            type_hints: The expected types, one for each payload, if known.
        """
        if payloads is None or not payloads.payloads:
            return []
        return await self.decode(payloads.payloads, type_hints)

    async def encode_failure(self, exception: BaseException, failure: failure_pb.Failure) -> None:
        """Write an exception into a failure message, and encode its payloads.

        Args:
            exception: The exception.
            failure: The message to change.
        """
        self.failure_converter.to_failure(exception, self.payload_converter, failure)
        bound(failure)
        if self.payload_codec is not None:
            await apply_to_failure_payloads(failure, self.payload_codec.encode_wrapper)

    async def decode_failure(self, failure: failure_pb.Failure) -> BaseException:
        """Decode a failure message, and make an exception of it. The message is not changed.

        Args:
            failure: The message.
        """
        if self.payload_codec is not None:
            copy = failure_pb.Failure()
            copy.CopyFrom(failure)
            await apply_to_failure_payloads(copy, self.payload_codec.decode_wrapper)
            failure = copy
        return self.failure_converter.from_failure(failure, self.payload_converter)

    def with_context(self, context: SerializationContext) -> Self:
        payload_converter: object = self.payload_converter
        failure_converter: object = self.failure_converter
        payload_codec: object = self.payload_codec
        if isinstance(payload_converter, WithSerializationContext):
            payload_converter = payload_converter.with_context(context)
        if isinstance(failure_converter, WithSerializationContext):
            failure_converter = failure_converter.with_context(context)
        if payload_codec is not None and isinstance(payload_codec, WithSerializationContext):
            payload_codec = payload_codec.with_context(context)
        if (
            payload_converter is self.payload_converter
            and failure_converter is self.failure_converter
            and payload_codec is self.payload_codec
        ):
            return self
        made = dataclasses.replace(self)
        object.__setattr__(made, "payload_converter", payload_converter)
        object.__setattr__(made, "failure_converter", failure_converter)
        object.__setattr__(made, "payload_codec", payload_codec)
        return made

    # ── for the library's own use ─────────────────────────────────────────────────────────────────

    async def encode_payloads(
        self, payloads: Sequence[common_pb.Payload]
    ) -> list[common_pb.Payload]:
        """Encode payloads with the codec, without conversion.

        Args:
            payloads: The payloads.
        """
        if self.payload_codec is None:
            return list(payloads)
        return await self.payload_codec.encode(list(payloads))

    async def decode_payloads(
        self, payloads: Sequence[common_pb.Payload]
    ) -> list[common_pb.Payload]:
        """Decode payloads with the codec, without conversion.

        Args:
            payloads: The payloads.
        """
        if self.payload_codec is None:
            return list(payloads)
        return await self.payload_codec.decode(list(payloads))

    async def encode_memo(self, memo: Mapping[str, Any]) -> common_pb.Memo:
        """Convert and encode a memo. Values that are payloads already are not converted.

        Args:
            memo: Values by key.
        """
        encoded = common_pb.Memo()
        for key, value in memo.items():
            payload = (
                value if isinstance(value, common_pb.Payload) else (await self.encode([value]))[0]
            )
            encoded.fields[key].CopyFrom(payload)
        return encoded

    async def decode_memo(self, memo: common_pb.Memo) -> Mapping[str, Any]:
        """Decode and convert all values of a memo.

        Args:
            memo: The message.
        """
        return {key: (await self.decode([value]))[0] for key, value in memo.fields.items()}

    async def decode_memo_field(
        self, memo: common_pb.Memo, key: str, default: Any, type_hint: type | None
    ) -> Any:
        """Decode and convert one value of a memo.

        Args:
            memo: The message.
            key: The key.
            default: Returned when the memo has no such key; `UNSET` for no default.
            type_hint: The expected type, if known.

        Raises:
            KeyError: The memo has no such key, and `default` is `UNSET`.
        """
        if key not in memo.fields:
            if default is UNSET:
                raise KeyError(f"Memo does not have a value for key {key}")
            return default
        return (await self.decode([memo.fields[key]], [type_hint] if type_hint else None))[0]


DataConverter.default = DataConverter()
PayloadConverter.default = DataConverter.default.payload_converter
FailureConverter.default = DataConverter.default.failure_converter


def default() -> DataConverter:
    """The same as `DataConverter.default`. The older name."""
    return DataConverter.default
