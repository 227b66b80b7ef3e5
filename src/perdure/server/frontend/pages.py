"""Pages of history: which stored bytes answer a read, and where the next page begins (rules 12, 25 to 27).

Role: cut rows at event boundaries without parsing events, and the token that travels between pages.
Not here: waiting for events, filters (`history_reads`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from perdure.history.transition import EventRow
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
    """Framed events that follow the last one: shown to the worker, never stored (rule 8)."""


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


def cut(rows: Iterable[EventRow], first_event_id: int, last_event_id: int, events_max: int) -> Page:
    """The events from `first_event_id` to `last_event_id`, as many as one page holds, at least one.

    Args:
        rows: Rows in order that hold at least the wanted events, and perhaps others at both ends.
        first_event_id: The first wanted event.
        last_event_id: The last wanted event.
        events_max: How many events a page may hold; its bytes are bounded too.
    """
    parts: list[bytes] = []
    size, next_id = 0, first_event_id
    last = min(last_event_id, first_event_id + events_max - 1)
    for row in rows:
        row_last = row.first_event_id + row.count - 1
        if row_last < first_event_id:
            continue
        if row.first_event_id > last:
            break
        is_wanted_whole = row.first_event_id >= first_event_id and row_last <= last
        if is_wanted_whole and size + len(row.data) <= PAGE_BYTES_MAX:
            parts.append(row.data)
            size, next_id = size + len(row.data), row_last + 1
            continue
        for event_id, framed in enumerate(frames(row.data), row.first_event_id):
            if event_id < first_event_id:
                continue
            if event_id > last or (parts and size + len(framed) > PAGE_BYTES_MAX):
                return Page(b"".join(parts), next_id)
            parts.append(framed)
            size, next_id = size + len(framed), event_id + 1
    return Page(b"".join(parts), next_id)


def tail_bytes(events: Iterable[history.HistoryEvent]) -> bytes:
    """Events that were never stored, framed like stored ones."""
    return b"".join(frame(event.SerializeToString()) for event in events)
