"""Warnings about large values in what is sent.

Role: tell users of values that the server will soon refuse, in the process that sends them and before they are sent.
Sizes are those after the codec. Nothing is refused here: that is the server's right.

Invariant: a value itself never reaches the log, only the name of its field and its size.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from google.protobuf.any_pb2 import Any as AnyMessage

from perdure.service.config import PayloadLimitsConfig
from perdure.wire.api import common
from perdure.wire.payload_fields import is_map, payload_fields

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

log = logging.getLogger("perdure.service")

_MEMO = common.Memo.DESCRIPTOR.full_name


class Oversized(NamedTuple):
    """One field above its limit."""

    field: str
    """Its path in the request."""
    size_bytes: int
    limit_bytes: int


class SizeWarnings:
    """Looks at requests on their way out.

    Args:
        limits: Sizes in bytes; 0 turns a warning off.
    """

    def __init__(self, limits: PayloadLimitsConfig) -> None:
        self._payloads_bytes = limits.payloads_warn_size
        self._memo_bytes = limits.memo_warn_size
        wanted = [size for size in (self._payloads_bytes, self._memo_bytes) if size > 0]
        self._least_bytes = min(wanted, default=None)

    def check(self, method: str, request: Message) -> None:
        """Log a warning if the request has large fields.

        Args:
            method: Names the call in the warning.
            request: As it will be sent.
        """
        # Nearly all requests are smaller than the smallest limit: then nothing is walked.
        if self._least_bytes is None or request.ByteSize() <= self._least_bytes:
            return
        found = list(self.oversized(request))
        if not found:
            return
        largest = max(found, key=_size_bytes)
        log.warning(
            "%s sends %d bytes in %s, above the warning limit of %d bytes (PayloadLimitsConfig)%s. "
            "Large values make histories slow, and the server refuses them at some size: "
            "keep them elsewhere and pass references.",
            method,
            largest.size_bytes,
            largest.field,
            largest.limit_bytes,
            f"; {len(found) - 1} more of its fields are above theirs" if len(found) > 1 else "",
        )

    def oversized(self, request: Message) -> Iterator[Oversized]:
        """The fields of a request that are above their limits."""
        yield from self._below(request, "")

    def _below(self, message: Message, path: str) -> Iterator[Oversized]:
        for field in payload_fields(cast("Descriptor", message.DESCRIPTOR)):
            name = f"{path}{field.name}"
            value: Any = getattr(message, field.name)
            if is_map(field):
                size_bytes = sum(len(key) + each.ByteSize() for key, each in value.items())
                is_memo = message.DESCRIPTOR.full_name == _MEMO
                yield from self._judge(name, size_bytes, is_memo=is_memo)
            elif field.is_repeated:
                for index, item in enumerate(value):
                    yield from self._value(item, f"{name}[{index}]")
            elif message.HasField(field.name):
                yield from self._value(value, name)

    def _value(self, value: Message, name: str) -> Iterator[Oversized]:
        if isinstance(value, (common.Payload, common.Payloads, AnyMessage)):
            yield from self._judge(name, value.ByteSize(), is_memo=False)
        else:
            yield from self._below(value, f"{name}.")

    def _judge(self, name: str, size_bytes: int, *, is_memo: bool) -> Iterator[Oversized]:
        limit_bytes = self._memo_bytes if is_memo else self._payloads_bytes
        if 0 < limit_bytes < size_bytes:
            yield Oversized(name, size_bytes, limit_bytes)


def _size_bytes(field: Oversized) -> int:
    return field.size_bytes


NO_WARNINGS = SizeWarnings(PayloadLimitsConfig(payloads_warn_size=0, memo_warn_size=0))
