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


@dataclass(frozen=True)
class DataConverter(WithSerializationContext):
    """How values and errors travel.

    Attributes:
        payload_converter_class: Made once for this converter; needs no constructor arguments.
        payload_codec: Applied to every payload outside workflow code.
        failure_converter_class: Made once for this converter.
        payload_converter: The instance in use.
        failure_converter: The instance in use.

    Example:
        >>> dataclasses.replace(DataConverter.default, payload_codec=EncryptionCodec())
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
        """Convert, then encode with the codec."""
        return await self.encode_payloads(self.payload_converter.to_payloads(values))

    async def decode(
        self, payloads: Sequence[common_pb.Payload], type_hints: list[type] | None = None
    ) -> list[Any]:
        """Decode with the codec, then convert (to `type_hints` when given)."""
        plain = await self.decode_payloads(payloads)
        return self.payload_converter.from_payloads(plain, type_hints)

    async def encode_wrapper(self, values: Sequence[Any]) -> common_pb.Payloads:
        """`encode`, wrapped in a ``Payloads`` message."""
        return common_pb.Payloads(payloads=await self.encode(values))

    async def decode_wrapper(
        self, payloads: common_pb.Payloads | None, type_hints: list[type] | None = None
    ) -> list[Any]:
        """`decode` of a ``Payloads`` message; an empty or missing one gives no values."""
        if payloads is None or not payloads.payloads:
            return []
        return await self.decode(payloads.payloads, type_hints)

    async def encode_failure(self, exception: BaseException, failure: failure_pb.Failure) -> None:
        """Convert `exception` into `failure`, then encode its payloads."""
        self.failure_converter.to_failure(exception, self.payload_converter, failure)
        if self.payload_codec is not None:
            await apply_to_failure_payloads(failure, self.payload_codec.encode_wrapper)

    async def decode_failure(self, failure: failure_pb.Failure) -> BaseException:
        """The exception of `failure`, which stays as it is."""
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
        if isinstance(payload_codec, WithSerializationContext):
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
        """The codec's half of `encode`."""
        if self.payload_codec is None:
            return list(payloads)
        return await self.payload_codec.encode(list(payloads))

    async def decode_payloads(
        self, payloads: Sequence[common_pb.Payload]
    ) -> list[common_pb.Payload]:
        """The codec's half of `decode`."""
        if self.payload_codec is None:
            return list(payloads)
        return await self.payload_codec.decode(list(payloads))

    async def encode_memo(self, memo: Mapping[str, Any]) -> common_pb.Memo:
        """A memo message; values that are payloads already stay as they are."""
        encoded = common_pb.Memo()
        for key, value in memo.items():
            payload = (
                value if isinstance(value, common_pb.Payload) else (await self.encode([value]))[0]
            )
            encoded.fields[key].CopyFrom(payload)
        return encoded

    async def decode_memo(self, memo: common_pb.Memo) -> Mapping[str, Any]:
        """All values of a memo."""
        return {key: (await self.decode([value]))[0] for key, value in memo.fields.items()}

    async def decode_memo_field(
        self, memo: common_pb.Memo, key: str, default: Any, type_hint: type | None
    ) -> Any:
        """One value of a memo.

        Raises:
            KeyError: It is not there, and `default` is `UNSET`.
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
