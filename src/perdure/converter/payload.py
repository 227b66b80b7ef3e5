"""The interface of payload converters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, overload

from perdure.types import AnyType
from perdure.wire.api import common as common_pb


class PayloadConverter(ABC):
    """Converts values to payloads and back. Synchronous and deterministic, because workflow code runs it.

    A `perdure.common.RawValue` is not converted, in either direction.
    """

    default: ClassVar[PayloadConverter]

    @abstractmethod
    def to_payloads(self, values: Sequence[Any]) -> list[common_pb.Payload]:
        """Convert values.

        Args:
            values: The values.

        Returns:
            At least one payload, and at most as many as there are values.
        """

    @abstractmethod
    def from_payloads(
        self, payloads: Sequence[common_pb.Payload], type_hints: list[type] | None = None
    ) -> list[Any]:
        """Convert payloads.

        Args:
            payloads: The payloads.
            type_hints: The expected types, one for each payload, if known.
        """

    def to_payloads_wrapper(self, values: Sequence[Any]) -> common_pb.Payloads:
        """Convert values to a `Payloads` message.

        Args:
            values: The values.
        """
        return common_pb.Payloads(payloads=self.to_payloads(values))

    def from_payloads_wrapper(self, payloads: common_pb.Payloads | None) -> list[Any]:
        """Convert a `Payloads` message. An empty or missing one gives no values.

        Args:
            payloads: The message, or None.
        """
        if payloads is None or not payloads.payloads:
            return []
        return self.from_payloads(payloads.payloads)

    def to_payload(self, value: Any) -> common_pb.Payload:
        """Convert one value.

        Args:
            value: The value.
        """
        return self.to_payloads([value])[0]

    @overload
    def from_payload(self, payload: common_pb.Payload) -> Any: ...
    @overload
    def from_payload(self, payload: common_pb.Payload, type_hint: type[AnyType]) -> AnyType: ...
    def from_payload(self, payload: common_pb.Payload, type_hint: type | None = None) -> Any:
        """Convert one payload.

        Args:
            payload: The payload.
            type_hint: The expected type, if known.
        """
        return self.from_payloads([payload], [type_hint] if type_hint else None)[0]
