"""Small conversions between the API's messages and engine values."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeVar

_V = TypeVar("_V")
_EMPTY: Final[Mapping[str, object]] = MappingProxyType({})


def ordered_map(fields: Mapping[str, _V]) -> Mapping[str, _V]:
    """A protobuf map in key order: its own order is not deterministic (trap 40)."""
    if not fields:
        return _EMPTY  # pyright: ignore[reportReturnType]
    return {key: fields[key] for key in sorted(fields)}
