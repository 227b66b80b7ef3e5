"""Markers that the engine itself records: patches and local activities.

Invariants: written as JSON so that people can read them in any UI, never touched by a user's
payload codec; both the old raw-byte form and the JSON form of patch markers are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from perdure.replay.events import MARKER_RECORDED
from perdure.wire.api import common

if TYPE_CHECKING:
    from perdure.wire.api import failure as failures
    from perdure.wire.api import history

PATCH_MARKER: Final = "core_patch"
LOCAL_ACTIVITY_MARKER: Final = "core_local_activity"
CHANGE_VERSION_KEY: Final = "TemporalChangeVersion"
"""Search attribute that lists the patches of a run."""
MAX_CHANGE_VERSION_BYTES: Final = 2048
"""Servers refuse larger search attribute values, so a larger list is not upserted at all."""

_PATCH_DATA: Final = "patch-data"
_LOCAL_DATA: Final = "data"

ENGINE_DETAILS: Final[Mapping[str, frozenset[str]]] = {
    PATCH_MARKER: frozenset({_PATCH_DATA, "patch_id", "deprecated"}),
    LOCAL_ACTIVITY_MARKER: frozenset({_LOCAL_DATA}),
}
"""Marker name -> the details that the engine writes for itself; the others are a user's payloads."""


class Patch(NamedTuple):
    """What a patch marker says."""

    patch_id: str
    deprecated: bool


def json_payload(value: Any, **metadata: bytes) -> common.Payload:
    """A `json/plain` payload as every SDK reads it."""
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return common.Payload(metadata={"encoding": b"json/plain", **metadata}, data=data)


def patch_details(patch_id: str, *, deprecated: bool) -> dict[str, common.Payloads]:
    """Marker details for `patch_id`."""
    payload = json_payload({"id": patch_id, "deprecated": deprecated})
    return {_PATCH_DATA: common.Payloads(payloads=[payload])}


def change_version_payload(patch_ids: Iterable[str]) -> common.Payload | None:
    """TemporalChangeVersion for these patches, or None when the list has become too large."""
    payload = json_payload(sorted(patch_ids), type=b"KeywordList")
    return payload if len(payload.data) < MAX_CHANGE_VERSION_BYTES else None


def read_patch(event: history.HistoryEvent) -> Patch | None:
    """The patch of a patch marker event; None for anything else, or when it is malformed."""
    if event.event_type != MARKER_RECORDED:
        return None
    attributes = event.marker_recorded_event_attributes
    if attributes.marker_name != PATCH_MARKER:
        return None
    return _decode_patch(attributes.details)


def _decode_patch(details: Mapping[str, common.Payloads]) -> Patch | None:
    if _PATCH_DATA in details:
        data = first_data(details, _PATCH_DATA)
        try:
            decoded: Any = json.loads(data or b"")
            return Patch(str(decoded["id"]), bool(decoded["deprecated"]))
        except (ValueError, KeyError, TypeError):
            return None
    patch_id, deprecated = first_data(details, "patch_id"), first_data(details, "deprecated")
    if patch_id is None or not deprecated:
        return None
    try:
        return Patch(patch_id.decode(), deprecated[0] != 0)
    except UnicodeDecodeError:
        return None


def first_data(details: Mapping[str, common.Payloads], key: str) -> bytes | None:
    """Bytes of the first payload under `key`, without inserting `key` into a protobuf map."""
    if key not in details:
        return None
    payloads = details[key].payloads
    return payloads[0].data if payloads else None


def is_local_activity_marker(event: history.HistoryEvent) -> bool:
    """Whether the event records a local activity's outcome."""
    return (
        event.event_type == MARKER_RECORDED
        and event.marker_recorded_event_attributes.marker_name == LOCAL_ACTIVITY_MARKER
    )


class LocalActivityMarker(msgspec.Struct, frozen=True):
    """What a local activity's marker says; times are nanoseconds since the epoch."""

    seq: int
    attempt: int
    activity_id: str
    activity_type: str
    complete_time_ns: int | None
    backoff_ns: int | None
    original_schedule_time_ns: int | None
    activation_index: int | None
    result: common.Payload | None = None
    failure: failures.Failure | None = None


def local_activity_details(
    marker: LocalActivityMarker, arguments: Sequence[common.Payload] | None
) -> dict[str, common.Payloads]:
    """Marker details; `arguments` are included on request only, they can be large."""
    data = {
        "seq": marker.seq,
        "attempt": marker.attempt,
        "activity_id": marker.activity_id,
        "activity_type": marker.activity_type,
        "complete_time": _to_parts(marker.complete_time_ns),
        "backoff": _to_parts(marker.backoff_ns),
        "original_schedule_time": _to_parts(marker.original_schedule_time_ns),
        "activation_index": marker.activation_index,
    }
    details = {_LOCAL_DATA: common.Payloads(payloads=[json_payload(data)])}
    if marker.result is not None:
        details["result"] = common.Payloads(payloads=[marker.result])
    if arguments is not None:
        details["input"] = common.Payloads(payloads=arguments)
    return details


def read_local_activity(event: history.HistoryEvent) -> LocalActivityMarker | None:
    """What a local activity's marker event says; None when it cannot be read."""
    attributes = event.marker_recorded_event_attributes
    details = attributes.details
    try:
        data: dict[str, Any] = json.loads(first_data(details, _LOCAL_DATA) or b"")
        result = None
        if "result" in details and details["result"].payloads:
            result = details["result"].payloads[-1]
        failure = attributes.failure if attributes.HasField("failure") else None
        return LocalActivityMarker(
            seq=int(data["seq"]),
            attempt=int(data["attempt"]),
            activity_id=str(data["activity_id"]),
            activity_type=str(data["activity_type"]),
            complete_time_ns=_from_parts(data.get("complete_time")),
            backoff_ns=_from_parts(data.get("backoff")),
            original_schedule_time_ns=_from_parts(data.get("original_schedule_time")),
            activation_index=data.get("activation_index"),
            # Neither result nor failure: an empty payload, as the official core has it.
            result=common.Payload() if result is None and failure is None else result,
            failure=failure,
        )
    except (ValueError, KeyError, TypeError):
        return None


def _to_parts(ns: int | None) -> dict[str, int] | None:
    if ns is None:
        return None
    seconds, nanos = divmod(ns, 1_000_000_000)
    return {"seconds": seconds, "nanos": nanos}


def _from_parts(parts: dict[str, int] | None) -> int | None:
    return None if parts is None else parts["seconds"] * 1_000_000_000 + parts["nanos"]
