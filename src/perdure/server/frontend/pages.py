"""Pages of history: which stored bytes answer a read, and where the next page begins (S-12, S-25 to S-27).

Role: cut rows at event boundaries without parsing events, and the token that travels between pages.
Not here: waiting for events, filters (`history_reads`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from perdure.wire.api import history
from perdure.wire.errors import InvalidArgument
from perdure.wire.events import frame, frames

PAGE_BYTES_MAX = 2 * 1024 * 1024
"""Half of what a gRPC message may hold: a page always fits beside the rest of its response."""


class HistoryToken(msgspec.Struct, frozen=True, array_like=True, tag="h"):
    """Where a reader of one run's history is."""

    run_id: str
    next_event_id: int
    last_event_id: int = 0
    """The last event to read; 0: as far as the history reaches."""
    tail: bytes = b""
    """Framed events that follow the last one: shown to the worker, never stored (S-8)."""


class Page(NamedTuple):
    """`data` is a serialised `History`."""

    data: bytes
    next_event_id: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(HistoryToken)


def encode_token(token: HistoryToken) -> bytes:
    return _encoder.encode(token)


def decode_token(data: bytes, run_id: str) -> HistoryToken:
    """The token in `data`; InvalidArgument when it is none, or of another run than the one asked for."""
    try:
        token = _decoder.decode(data)
    except msgspec.DecodeError:
        raise InvalidArgument("Invalid NextPageToken.") from None
    if run_id and token.run_id != run_id:
        raise InvalidArgument("RunId in the request does not match the NextPageToken.")
    return token


def cut(rows: Sequence[bytes], first_event_id: int, last_event_id: int) -> Page:
    """The events of these rows, as many as the bytes of one page hold, at least one.

    Args:
        rows: Framed events from `first_event_id` to `last_event_id`, no others.
        first_event_id: The first of them.
        last_event_id: The last of them.
    """
    data = b"".join(rows)
    if len(data) <= PAGE_BYTES_MAX:
        return Page(data, last_event_id + 1)
    size, next_id = 0, first_event_id
    for framed in frames(data):
        if size and size + len(framed) > PAGE_BYTES_MAX:
            break
        size, next_id = size + len(framed), next_id + 1
    return Page(data[:size], next_id)


def tail_bytes(events: Iterable[history.HistoryEvent]) -> bytes:
    """Events that were never stored, framed like stored ones."""
    return b"".join(frame(event.SerializeToString()) for event in events)
