"""Facts as bytes: a format byte, then MessagePack of the struct by field name, so that new fields are additive.

The store sees bytes only; this is the one place that knows both sides.
"""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.entity.transition import FactChange
from perdure.history.state.facts import FACT_TYPES
from perdure.history.state.pointer import CURRENT_RUN, CurrentRun
from perdure.server.common.namespace_facts import NAMESPACE, NamespaceFact
from perdure.storage.port import FactRow

FORMAT = b"\x01"
TYPES: dict[int, type[msgspec.Struct]] = {
    **FACT_TYPES,
    CURRENT_RUN: CurrentRun,
    NAMESPACE: NamespaceFact,
}

_encode = msgspec.msgpack.Encoder().encode
_decoders: dict[int, msgspec.msgpack.Decoder[Any]] = {
    kind: msgspec.msgpack.Decoder(struct) for kind, struct in TYPES.items()
}


class UnknownFactError(Exception):
    """A fact of a kind or format that this version does not know: a newer version wrote it."""


def encode_fact(change: FactChange) -> FactRow:
    value = None if change.value is None else FORMAT + _encode(change.value)
    return FactRow(int(change.kind), change.key, value)


def decode_fact(row: FactRow) -> FactChange:
    decoder = _decoders.get(row.kind)
    value = row.value
    if decoder is None or value is None or value[:1] != FORMAT:
        raise UnknownFactError(
            f"fact {row.kind}/{row.key} is of an unknown kind or format; a newer version of Perdure wrote it"
        )
    return FactChange(row.kind, row.key, decoder.decode(value[1:]))
