"""Warnings about large values in what is sent.

Role: tell users of values that the server will soon refuse, in the process that sends them and before they are sent.
Sizes are those after the codec. Nothing is refused here: that is the server's right.

Invariant: a value itself never reaches the log, only the name of its field and its size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from google.protobuf.any_pb2 import Any as AnyMessage

from perdure.core.user_code import quiet_logger
from perdure.service.config import PayloadLimitsConfig
from perdure.wire.api import common, failure
from perdure.wire.payload_fields import is_map, payload_fields, value_type

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.message import Message

log = quiet_logger("perdure.service")

_MEMO = common.Memo.DESCRIPTOR.full_name
_FAILURE = failure.Failure.DESCRIPTOR.full_name


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
        if self._least_bytes is None or (size_bytes := request.ByteSize()) <= self._least_bytes:
            return
        # Memos have by far the smaller limit. Up to the other one, only memos can be too large, and most requests have
        # none.
        only_memos = not 0 < self._payloads_bytes < size_bytes
        found = list(self._below(request, "", only_memos=only_memos))
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
        yield from self._below(request, "", only_memos=False)

    def _below(self, message: Message, path: str, *, only_memos: bool) -> Iterator[Oversized]:
        descriptor = cast("Descriptor", message.DESCRIPTOR)
        for field in _memo_fields(descriptor) if only_memos else payload_fields(descriptor):
            name = f"{path}{field.name}"
            value: Any = getattr(message, field.name)
            if is_map(field):
                size_bytes = sum(len(key) + each.ByteSize() for key, each in value.items())
                is_memo = message.DESCRIPTOR.full_name == _MEMO
                yield from self._judge(name, size_bytes, is_memo=is_memo)
            elif field.is_repeated:
                for index, item in enumerate(value):
                    yield from self._value(item, f"{name}[{index}]", only_memos=only_memos)
            elif message.HasField(field.name):
                yield from self._value(value, name, only_memos=only_memos)

    def _value(self, value: Message, name: str, *, only_memos: bool) -> Iterator[Oversized]:
        if isinstance(value, (common.Payload, common.Payloads, AnyMessage)):
            yield from self._judge(name, value.ByteSize(), is_memo=False)
        else:
            yield from self._below(value, f"{name}.", only_memos=only_memos)

    def _judge(self, name: str, size_bytes: int, *, is_memo: bool) -> Iterator[Oversized]:
        limit_bytes = self._memo_bytes if is_memo else self._payloads_bytes
        if 0 < limit_bytes < size_bytes:
            yield Oversized(name, size_bytes, limit_bytes)


_with_memos: dict[str, tuple[FieldDescriptor, ...]] = {}


def _memo_fields(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    """The fields of a message type that may contain a memo; for a memo itself, all fields."""
    found = _with_memos.get(descriptor.full_name)
    if found is None:
        found = tuple(
            field
            for field in payload_fields(descriptor)
            if descriptor.full_name == _MEMO or _may_hold_memo(value_type(field))
        )
        _with_memos[descriptor.full_name] = found
    return found


def _may_hold_memo(descriptor: Descriptor | None) -> bool:
    if descriptor is None or descriptor.full_name == _MEMO:
        return descriptor is not None
    # A failure is the only message that can contain itself, and it contains no memo.
    return descriptor.full_name != _FAILURE and bool(_memo_fields(descriptor))


def _size_bytes(field: Oversized) -> int:
    return field.size_bytes


NO_WARNINGS = SizeWarnings(PayloadLimitsConfig(payloads_warn_size=0, memo_warn_size=0))
