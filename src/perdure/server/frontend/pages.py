"""Pages of history: the stored bytes that answer a read, and where the next page begins (S-12, S-25 to S-27).

Role: cut rows at event boundaries without parsing events, and the token between pages. Lists are cut by size as well.
Not here: waiting for events, filters (`history_reads`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, NamedTuple, TypeVar

import msgspec
from google.protobuf.message import Message

from perdure.core.units import MINUTE_NS
from perdure.history.draft.tokens import DECODE_ERRORS
from perdure.server.common import seals
from perdure.server.common.namespace_facts import NamespaceFact
from perdure.wire.api import history
from perdure.wire.errors import InvalidArgument
from perdure.wire.events import frame, frames

PAGE_BYTES_MAX = 2 * 1024 * 1024
"""Half the limit of a gRPC message, so that a page always fits together with the rest of its response."""


_EventId = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
HISTORY = "history"
"""What a token of a history is for, as `page_body` wants it."""
UNSEALED_NS = 10 * MINUTE_NS
"""For how long after an upgrade tokens without a seal are taken: pages are read one soon after the other."""


class HistoryToken(msgspec.Struct, frozen=True, array_like=True, tag="h"):
    """The position of a reader in the history of one run."""

    run_id: str
    next_event_id: _EventId
    last_event_id: _EventId = 0
    """The last event to read; 0: up to the end of the history."""
    tail: bytes = b""
    """Framed events that follow the last one: shown to the worker, never stored (S-8)."""


class ReverseToken(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """The position of a reader that goes from the last event to the first."""

    run_id: str
    last_event_id: _EventId
    """The event with which the next page begins."""


class Page(NamedTuple):
    """`data` is a serialised `History`."""

    data: bytes
    next_event_id: int


_encoder = msgspec.msgpack.Encoder()
_Token = TypeVar("_Token", HistoryToken, ReverseToken)
_Entry = TypeVar("_Entry", bound=Message)


def encode_token(token: HistoryToken | ReverseToken, key: bytes) -> bytes:
    """The token for the next page, sealed with the key of the namespace. It says of which run."""
    return seals.seal(_encoder.encode(token), key, seals.PAGE, HISTORY)


def decode_token(body: bytes, run_id: str, kind: type[_Token]) -> _Token:
    """The token with this body. Raises InvalidArgument if it is malformed or of another kind of read or run."""
    try:
        token = msgspec.msgpack.decode(body, type=kind)
    except DECODE_ERRORS:
        raise invalid_page_token() from None
    if run_id and token.run_id != run_id:
        raise InvalidArgument("RunId in the request does not match the NextPageToken.")
    return token


def page_body(data: bytes, namespace: NamespaceFact, read: str, now_ns: int) -> bytes:
    """What is inside a page token.

    Args:
        data: The token.
        namespace: Of the request.
        read: What the request reads.
        now_ns: The node's time.

    Raises:
        InvalidArgument: The token was not issued for this namespace and read.
    """
    if seals.is_genuine(data, namespace.token_key, seals.PAGE, read):
        return seals.body_of(data)
    if seals.is_sealed(data) or now_ns > namespace.unsealed_until_ns + UNSEALED_NS:
        raise invalid_page_token()
    return data


def invalid_page_token() -> InvalidArgument:
    return InvalidArgument("Invalid NextPageToken.")


def cut(rows: Sequence[bytes], first_event_id: int, last_event_id: int) -> Page:
    """The first events of these rows, as many as fit into one page, but at least one.

    Args:
        rows: Framed events from `first_event_id` to `last_event_id`, no others.
        first_event_id: Id of the first event.
        last_event_id: Id of the last event.
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


def cut_reversed(rows: Sequence[bytes], last_event_id: int) -> Page:
    """Like `cut`, but from the last event towards the first. `next_event_id` is lower than those of the page."""
    taken: list[bytes] = []
    size, next_id = 0, last_event_id
    for framed in reversed(list(frames(b"".join(rows)))):
        if taken and size + len(framed) > PAGE_BYTES_MAX:
            break
        taken.append(framed)
        size, next_id = size + len(framed), next_id - 1
    return Page(b"".join(taken), next_id)


def fitting(entries: Iterable[_Entry]) -> list[_Entry]:
    """The first entries of a list, as many as fit into one page, but at least one."""
    taken: list[_Entry] = []
    size_bytes = 0
    for entry in entries:
        size_bytes += entry.ByteSize()
        if taken and size_bytes > PAGE_BYTES_MAX:
            break
        taken.append(entry)
    return taken


def tail_bytes(events: Iterable[history.HistoryEvent]) -> bytes:
    """Frame events that were never stored like stored ones."""
    return b"".join(frame(event.SerializeToString()) for event in events)
