"""Histories from and to JSON, in every spelling that tools of this API write.

Pure. Enum values come as `EVENT_TYPE_TIMER_FIRED` (the protobuf form), `TimerFired` (older command lines and web
pages) or numbers; instead of a list of fields, a walk beside the message descriptors finds every enum.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from os.path import commonprefix
from typing import Any, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from perdure.wire.api import history

_PLACE = re.compile(r"Failed to parse (\w+) field")


def history_from_json(value: str | Mapping[str, Any]) -> history.History:
    """Read a history; unknown fields are ignored, the argument stays as it is.

    Args:
        value: JSON text, or what parsing it gives: an object with a list `events`.

    Raises:
        ValueError: It is no JSON, has another shape, or a field has an impossible value.
    """
    document = _parsed(value) if isinstance(value, str) else value
    if not isinstance(document, Mapping):
        raise ValueError("JSON history not a dictionary")  # noqa: TRY004 - the shape of data, not of a call
    events: object = cast("Mapping[str, object]", document).get("events")
    if not isinstance(events, list):
        raise ValueError("History does not have iterable 'events'")  # noqa: TRY004
    read = history.History()
    for number, event in enumerate(cast("list[object]", events), start=1):
        if not isinstance(event, Mapping):
            raise ValueError("Event not a dictionary")  # noqa: TRY004
        _read_event(cast("Mapping[str, Any]", event), read.events.add(), number)
    return read


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON history is nested too deeply") from None


def _read_event(given: Mapping[str, Any], event: history.HistoryEvent, number: int) -> None:
    try:
        fixed = _fix_message(history.HistoryEvent.DESCRIPTOR, given)
        json_format.ParseDict(fixed, event, ignore_unknown_fields=True)
    except json_format.ParseError as error:
        # The message of the error ends with the value, which may be a payload.
        path = ".".join(_PLACE.findall(str(error))) or "it"
        raise ValueError(f"Event {number} of the history: {path} has an impossible value") from None
    except Exception as error:  # noqa: BLE001 - of many kinds, see below
        # The reader checks few shapes itself: a text in the place of a map gives an AttributeError, an infinite number
        # an OverflowError, half of a surrogate pair a SystemError, a value that is nested too deeply a RecursionError.
        raise ValueError(
            f"Event {number} of the history has an impossible value ({type(error).__name__})"
        ) from None


def history_to_json(value: history.History) -> str:
    """The protobuf JSON form, as text."""
    return json_format.MessageToJson(value)


def history_to_dict(value: history.History) -> dict[str, Any]:
    """The protobuf JSON form, as a dictionary."""
    return json_format.MessageToDict(value)


def _fix_message(descriptor: Descriptor, value: Mapping[str, Any]) -> dict[str, Any]:
    fields = _fields(descriptor)
    return {
        key: _fix_field(fields[key], item) if key in fields else item for key, item in value.items()
    }


@functools.cache
def _fields(descriptor: Descriptor) -> dict[str, FieldDescriptor]:
    fields = {field.name: field for field in descriptor.fields}
    return fields | {field.json_name: field for field in descriptor.fields}


def _fix_field(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is not None:
        return _each(value, functools.partial(_fix_enum, field.enum_type))
    message = field.message_type
    if message is None:
        return value
    if message.GetOptions().map_entry:
        return {
            key: _fix_field(message.fields_by_name["value"], item) for key, item in value.items()
        }
    return _each(value, functools.partial(_fix_nested, message))


def _fix_nested(descriptor: Descriptor, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value  # times and durations are text
    return _fix_message(descriptor, cast("Mapping[str, Any]", value))


def _each(value: Any, fix: Callable[[Any], Any]) -> Any:
    if isinstance(value, list):
        return [fix(item) for item in cast("list[Any]", value)]
    return fix(value)


def _fix_enum(enum: EnumDescriptor, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return _spellings(enum).get(_plain(value), value)


@functools.cache
def _spellings(enum: EnumDescriptor) -> dict[str, str]:
    """Every value's name by its plain form without the words that all of them begin with."""
    names = [value.name for value in enum.values]
    prefix = commonprefix(names).rpartition("_")[0]  # noqa: RUF071 - of names, not of paths
    return {_plain(name.removeprefix(prefix)): name for name in names}


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
