"""Turns messages and errors into JSON values that can be compared, stored and read.

Values that differ in every run are replaced: ids and tokens by numbered placeholders (equal values get the same one),
and times by `<time>`, with the number of whole minutes before or after the start if there is at least one. All other
set fields keep their values. Not here: which differences are expected (`differences`), and how results are compared
(`compare`).
"""

from __future__ import annotations

import re
import time
from typing import Any, cast

from google.protobuf import symbol_database
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.core.units import SECOND_NS
from perdure.wire.api import common
from perdure.wire.errors import RpcError, to_status
from perdure.wire.times import duration_ns, timestamp_ns

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
AGAIN = "~"
"""Added to the ids of a script each time it is played again on the same server."""
_TOKENS = {"task_token", "next_page_token", "run_id_token"}
_MEASURED = {
    "task_id": "<task id>",
    "history_size_bytes": "<size>",
    "size_bytes": "<size>",
    "execution_duration": "<duration>",
    "state_transition_count": "<count>",
}
# The server's measure of its load, and the column of a search attribute.
_LEFT_OUT = {"poller_scaling_decision", "custom_search_attribute_aliases"}
# The reference keeps these in maps, so their order is random.
_UNORDERED = {
    "pending_activities": "activity_id",
    "pending_children": "workflow_id",
    "pollers": "identity",
}


class Normaliser:
    """Normalises the answers of one server to one script."""

    def __init__(self, now_ns: int | None = None) -> None:
        self.now_ns = time.time_ns() if now_ns is None else now_ns
        self._placeholders: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}

    def message(self, message: Message) -> Any:
        """A message as a JSON value."""
        match message:
            case Timestamp():
                return self._time(message)
            case Duration():
                return f"{duration_ns(message) / SECOND_NS:g}s"
            case AnyMessage():
                return self._any(message)
            case common.Payload():
                return self._payload(message)
            case common.Payloads():
                return [self._payload(payload) for payload in message.payloads]
            case _:
                fields = sorted(message.ListFields(), key=lambda pair: pair[0].number)
                return {
                    field.name: self._field(field, value)
                    for field, value in fields
                    if field.name not in _LEFT_OUT
                }

    def error(self, error: RpcError) -> Any:
        """An error as a JSON value: code, message, details."""
        status = to_status(error)
        result: dict[str, Any] = {
            "code": error.status_code.name,
            "message": self.text(error.message),
        }
        if status.details:
            result["details"] = [self._any(detail) for detail in status.details]
        return result

    def text(self, text: str) -> str:
        """A text with placeholders for ids."""
        shown = text.replace(AGAIN, "")
        return _UUID.sub(lambda found: self._placeholder("id", found[0]), shown)

    def _placeholder(self, kind: str, value: str) -> str:
        known = self._placeholders.get((kind, value))
        if known is None:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            known = self._placeholders[kind, value] = f"<{kind} {self._counts[kind]}>"
        return known

    def _field(self, field: FieldDescriptor, value: Any) -> Any:
        if field.name in _MEASURED:
            return _MEASURED[field.name]
        if _is_map(field):
            entry = cast("Any", field.message_type).fields_by_name["value"]
            pairs = ((str(key), value[key]) for key in value)
            return {self.text(key): self._one(entry, item) for key, item in sorted(pairs)}
        if field.is_repeated:
            items = list(value)
            if field.name in _UNORDERED:
                key = _UNORDERED[field.name]
                items.sort(key=lambda item: str(getattr(item, key)))
            return [self._one(field, item) for item in items]
        return self._one(field, value)

    def _one(self, field: FieldDescriptor, value: Any) -> Any:
        if isinstance(value, Message):
            return self.message(value)
        if field.enum_type is not None:
            named = field.enum_type.values_by_number.get(value)
            return named.name if named is not None else value
        if isinstance(value, bytes):
            if field.name in _TOKENS:
                return self._placeholder("token", value.hex())
            return self.text(value.decode(errors="backslashreplace"))
        if isinstance(value, str):
            return self.text(value)
        return value

    def _time(self, message: Timestamp) -> str:
        if message.seconds < 0:
            return "<no time>"
        minutes = int((timestamp_ns(message) - self.now_ns) / SECOND_NS / 60)
        return f"<time {minutes:+}m>" if minutes else "<time>"

    def _any(self, message: AnyMessage) -> Any:
        name = message.TypeName()
        try:
            unpacked: Message = symbol_database.Default().GetSymbol(name)()
        except KeyError:
            return {"@type": name}
        message.Unpack(unpacked)
        fields = self.message(unpacked)
        return {"@type": name, "fields": fields}

    def _payload(self, payload: common.Payload) -> str:
        text = self.text(payload.data.decode(errors="backslashreplace"))
        metadata = {
            key: value.decode(errors="backslashreplace") for key, value in payload.metadata.items()
        }
        encoding = metadata.pop("encoding", "")
        shown = " ".join(f"{key}={metadata[key]}" for key in sorted(metadata))
        return " ".join(part for part in (encoding, shown, text) if part)


def _is_map(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return kind is not None and kind.GetOptions().map_entry
