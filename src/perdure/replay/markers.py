"""Markers that the engine itself records: patches and local activities.

Invariants: written as JSON so that people can read them in any UI, never touched by a user's
payload codec; both the old raw-byte form and the JSON form of patch markers are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from perdure.replay.events import MARKER_RECORDED
from perdure.wire.api import common

if TYPE_CHECKING:
    from perdure.wire.api import history

PATCH_MARKER: Final = "core_patch"
LOCAL_ACTIVITY_MARKER: Final = "core_local_activity"
CHANGE_VERSION_KEY: Final = "TemporalChangeVersion"
"""Search attribute that lists the patches of a run."""
MAX_CHANGE_VERSION_BYTES: Final = 2048
"""Servers refuse larger search attribute values, so a larger list is not upserted at all."""

_PATCH_DATA: Final = "patch-data"


class Patch(NamedTuple):
    """What a patch marker says."""

    patch_id: str
    deprecated: bool


def json_payload(value: Any, **metadata: bytes) -> common.Payload:
    """A ``json/plain`` payload as every SDK reads it."""
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return common.Payload(metadata={"encoding": b"json/plain", **metadata}, data=data)


def patch_details(patch_id: str, *, deprecated: bool) -> dict[str, common.Payloads]:
    """Marker details for ``patch_id``."""
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
    """Bytes of the first payload under ``key``, without inserting ``key`` into a protobuf map."""
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
