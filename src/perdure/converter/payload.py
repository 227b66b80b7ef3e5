"""The interface of payload converters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, overload

from perdure.types import AnyType
from perdure.wire.api import common as common_pb


class PayloadConverter(ABC):
    """Values to payloads and back. Synchronous and deterministic: workflow code runs it.

    A `perdure.common.RawValue` passes in either direction (as value, as type hint) unconverted.
    """

    default: ClassVar[PayloadConverter]

    @abstractmethod
    def to_payloads(self, values: Sequence[Any]) -> list[common_pb.Payload]:
        """The payloads of `values`: at least one, at most as many as there are values."""

    @abstractmethod
    def from_payloads(
        self, payloads: Sequence[common_pb.Payload], type_hints: list[type] | None = None
    ) -> list[Any]:
        """The values of `payloads`.

        Args:
            payloads: What to convert.
            type_hints: Expected types, one for each payload, or None.
        """

    def to_payloads_wrapper(self, values: Sequence[Any]) -> common_pb.Payloads:
        """`to_payloads`, wrapped in a ``Payloads`` message."""
        return common_pb.Payloads(payloads=self.to_payloads(values))

    def from_payloads_wrapper(self, payloads: common_pb.Payloads | None) -> list[Any]:
        """`from_payloads` of a ``Payloads`` message; an empty or missing one gives no values."""
        if payloads is None or not payloads.payloads:
            return []
        return self.from_payloads(payloads.payloads)

    def to_payload(self, value: Any) -> common_pb.Payload:
        """The payload of one value."""
        return self.to_payloads([value])[0]

    @overload
    def from_payload(self, payload: common_pb.Payload) -> Any: ...
    @overload
    def from_payload(self, payload: common_pb.Payload, type_hint: type[AnyType]) -> AnyType: ...
    def from_payload(self, payload: common_pb.Payload, type_hint: type | None = None) -> Any:
        """The value of one payload, as `type_hint` when given."""
        return self.from_payloads([payload], [type_hint] if type_hint else None)[0]
