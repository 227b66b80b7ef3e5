"""History events as messages and as bytes.

An event is built once, from its attributes alone: `event(attributes, …)` knows type and field by the attributes' class.
Framed bytes are a serialised `History`, so that the rows of a run concatenate into one without parsing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from perdure.wire.api import common, enums, history, sdk
from perdure.wire.errors import DataLoss
from perdure.wire.splice import varint
from perdure.wire.times import NS_PER_SECOND

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from perdure.core.ids import EntityKey

_SUFFIX = "_event_attributes"
_EVENTS_TAG = b"\x0a"  # field 1 of History, length-delimited
_CUT_SHORT = "The stored history is damaged: a row ends within an event."


def _attribute_fields() -> dict[type[Message], tuple[enums.EventType.ValueType, str]]:
    table: dict[type[Message], tuple[enums.EventType.ValueType, str]] = {}
    for field in history.HistoryEvent.DESCRIPTOR.fields:
        if field.name.endswith(_SUFFIX) and field.message_type is not None:
            event_type = enums.EventType.Value(
                f"EVENT_TYPE_{field.name.removesuffix(_SUFFIX).upper()}"
            )
            table[getattr(history, field.message_type.name)] = (event_type, field.name)
    return table


ATTRIBUTE_FIELDS = _attribute_fields()
"""Attributes class -> (event type, field of HistoryEvent)."""

FIELD_OF_TYPE: dict[int, str] = dict(ATTRIBUTE_FIELDS.values())


def event(
    attributes: Message,
    *,
    event_id: int = 0,
    time_ns: int = 0,
    user_metadata: sdk.UserMetadata | None = None,
    links: Sequence[common.Link] = (),
    worker_may_ignore: bool = False,
) -> history.HistoryEvent:
    """The event with these attributes. Id and time are 0 while it is buffered."""
    event_type, field = ATTRIBUTE_FIELDS[type(attributes)]
    # Field by field: protobuf takes longer for keyword arguments.
    message = history.HistoryEvent()
    message.event_id = event_id
    message.event_type = event_type
    message.task_id = event_id
    getattr(message, field).CopyFrom(attributes)
    if time_ns:
        at = message.event_time  # as `set_timestamp`, without a call for each event
        at.seconds, at.nanos = divmod(time_ns, NS_PER_SECOND)
    if user_metadata is not None:
        message.user_metadata.CopyFrom(user_metadata)
    if links:
        message.links.extend(links)
    if worker_may_ignore:
        message.worker_may_ignore = True
    return message


def attributes_of(message: history.HistoryEvent) -> Message:
    """The event's attributes, whatever its type."""
    return getattr(message, FIELD_OF_TYPE[message.event_type])


def execution_of(key: EntityKey) -> common.WorkflowExecution:
    """The run as events and answers name it."""
    return common.WorkflowExecution(workflow_id=key.name, run_id=key.run_id)


def frame(serialised_event: bytes) -> bytes:
    """One event as an entry of a serialised `History`."""
    return _EVENTS_TAG + varint(len(serialised_event)) + serialised_event


def parse_rows(rows: Sequence[bytes]) -> history.History:
    """The history of concatenated rows."""
    return history.History.FromString(b"".join(rows))


def frames(data: bytes) -> Iterator[bytes]:
    """The framed events of a serialised `History`, one by one and without parsing them.

    Raises:
        DataLoss: The bytes are something else: the database is damaged.
    """
    position, end = 0, len(data)
    while position < end:
        start = position
        if data[position] != _EVENTS_TAG[0]:
            raise DataLoss("The stored history is damaged: a row holds something else than events.")
        position += 1
        length = shift = 0
        while True:
            if position == end:
                raise DataLoss(_CUT_SHORT)
            byte = data[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        position += length
        if position > end:
            raise DataLoss(_CUT_SHORT)
        yield data[start:position]


def parse_framed(framed: bytes) -> history.HistoryEvent:
    """The event of one frame.

    Raises:
        DataLoss: It is none: the database is damaged.
    """
    try:
        (parsed,) = history.History.FromString(framed).events
    except (DecodeError, ValueError):
        raise DataLoss("The stored history is damaged: an event cannot be parsed.") from None
    return parsed
