"""Facts as bytes: a format byte, then MessagePack of the struct by field name, so that new fields are additive.

The store sees bytes only; this is the one place that knows both forms. The entity's type defines its kinds of facts.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.entity.entity_type import DamagedEntityError, UnknownRowError
from perdure.entity.transition import FactChange
from perdure.storage.port import FactRow

if TYPE_CHECKING:
    from perdure.entity.entity_type import EntityType

FORMAT = b"\x01"

_encode = msgspec.msgpack.Encoder().encode


@cache
def _decoder(struct: type[msgspec.Struct]) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(struct)


def encode_fact(change: FactChange) -> FactRow:
    value = None if change.value is None else FORMAT + _encode(change.value)
    return FactRow(int(change.kind), change.key, value)


def decode_fact(entity_type: EntityType[Any], row: FactRow) -> FactChange:
    """The fact that a row of an entity of this type holds.

    Raises:
        UnknownRowError: A newer version of Perdure wrote it.
        DamagedEntityError: It is damaged.
    """
    struct = entity_type.fact_types.get(row.kind)
    value = row.value
    if struct is None or value is None or value[:1] != FORMAT:
        raise UnknownRowError(
            f"fact {row.kind}/{row.key} is of an unknown kind or format; a newer version of Perdure wrote it"
        )
    try:
        return FactChange(row.kind, row.key, _decoder(struct).decode(value[1:]))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DamagedEntityError(f"fact {row.kind}/{row.key} cannot be decoded") from error
