"""Task tokens: opaque to workers, they name one attempt of one task.

A token of another attempt, or of a task that has ended, is answered with NotFound (S-13 and S-31).
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from perdure.core.ids import EntityKey, run_key, workflow_id_key
from perdure.wire.errors import InvalidArgument


class WorkflowTaskToken(msgspec.Struct, frozen=True, tag="w", array_like=True, gc=False):
    namespace_id: str
    workflow_id: str
    run_id: str
    scheduled_event_id: int
    started_event_id: int
    attempt: int
    started_ns: int

    @property
    def entity(self) -> EntityKey:
        return run_key(self.namespace_id, self.workflow_id, self.run_id)


class ActivityTaskToken(msgspec.Struct, frozen=True, tag="a", array_like=True, gc=False):
    namespace_id: str
    workflow_id: str
    run_id: str
    scheduled_event_id: int
    attempt: int
    activity_id: str
    stamp: int = 0

    @property
    def entity(self) -> EntityKey:
        return run_key(self.namespace_id, self.workflow_id, self.run_id)


class QueryToken(msgspec.Struct, frozen=True, tag="q", array_like=True):
    """A query that was dispatched on its own."""

    namespace_id: str
    query_id: str
    workflow_id: str = ""
    """Of the run that is queried: its owner keeps the query."""

    @property
    def entity(self) -> EntityKey:
        return workflow_id_key(self.namespace_id, self.workflow_id)


TaskToken = WorkflowTaskToken | ActivityTaskToken | QueryToken
T = TypeVar("T", bound=TaskToken)

_decoder = msgspec.msgpack.Decoder(TaskToken)
_encoder = msgspec.msgpack.Encoder()
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError)
"""What msgspec raises for bytes of others; a text that is not UTF-8 is no `DecodeError` to it."""


def encode_token(token: TaskToken) -> bytes:
    return _encoder.encode(token)


def entity_of(data: bytes) -> EntityKey | None:
    """The entity whose owner knows the task of a token; None if it is no token."""
    try:
        return _decoder.decode(data).entity
    except DECODE_ERRORS:
        return None


def decode_token(data: bytes, kind: type[T]) -> T:
    """The token in `data`; InvalidArgument when it is none, or of another kind."""
    try:
        token = _decoder.decode(data)
    except DECODE_ERRORS:
        raise not_issued() from None
    if not isinstance(token, kind):
        raise InvalidArgument("Task token is of another kind of task.")
    return token


def not_issued() -> InvalidArgument:
    """The error for bytes that no worker got from here."""
    return InvalidArgument("Task token is not valid: it was not issued by this server.")
