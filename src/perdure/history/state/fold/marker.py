"""How markers, search attributes and memo change the state.

Search attributes and memo are merged key by key; a payload without value (no data, null, or an empty list)
removes its key, as the reference does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from perdure.history.state.fold.evolve import evolves
from perdure.wire.api import common, enums, history

if TYPE_CHECKING:
    from perdure.history.state.run_state import RunState

PayloadMap = tuple[tuple[str, bytes], ...]
"""Sorted (key, serialised Payload)."""

BUILD_IDS = "BuildIds"
"""The search attribute that lists the builds of the workers that completed workflow tasks of the run."""
BUILD_IDS_BYTES_MAX = 2_048
"""The limit for its value. Above it, the oldest builds are dropped first."""
_UNVERSIONED = "unversioned"
_NOTHING = frozenset({b"", b"null", b"[]"})
"""Data of a payload that removes its key."""


def payload_map(fields: Mapping[str, common.Payload]) -> PayloadMap:
    """A protobuf map of payloads as the state keeps it."""
    items = ((key, value.SerializeToString(deterministic=True)) for key, value in fields.items())
    return tuple(sorted(items))


def has_no_value(payload: common.Payload) -> bool:
    """Whether a payload means that its key has no value: no data, null, or an empty list."""
    return payload.data in _NOTHING


def merged(old: PayloadMap, changes: Mapping[str, common.Payload]) -> PayloadMap:
    """`old` with the changes applied; a null payload removes its key."""
    result = dict(old)
    for key, value in changes.items():
        if has_no_value(value):
            result.pop(key, None)
        else:
            result[key] = value.SerializeToString(deterministic=True)
    return tuple(sorted(result.items()))


def with_build(attributes: PayloadMap, build_id: str, *, is_versioned: bool) -> PayloadMap:
    """The search attributes with this build in `BuildIds`, after its worker has completed a task (S-50)."""
    old = b""
    for name, value in attributes:
        if name == BUILD_IDS:
            old = value
    new = _named(old, build_id, is_versioned)
    if new == old:
        return attributes
    return tuple(sorted({**dict(attributes), BUILD_IDS: new}.items()))


@lru_cache(maxsize=256)
def _named(old: bytes, build_id: str, is_versioned: bool) -> bytes:
    # Cached, because a program has few builds and many runs.
    if is_versioned:
        first, name = [], f"versioned:{build_id}"
    else:
        first, name = [_UNVERSIONED], f"{_UNVERSIONED}:{build_id}"
    others = [each for each in _names(old) if each != _UNVERSIONED]
    if name not in others:
        others.append(name)
    data = _json(first + others)
    while len(data) > BUILD_IDS_BYTES_MAX and len(others) > 1:
        del others[0]
        data = _json(first + others)
    payload = common.Payload(
        metadata={"encoding": b"json/plain", "type": b"KeywordList"}, data=data
    )
    return payload.SerializeToString(deterministic=True)


def _names(value: bytes) -> list[str]:
    """The names in the attribute. A caller or an earlier version may have set it to anything."""
    try:
        names: Any = json.loads(common.Payload.FromString(value).data) if value else []
    except (ValueError, RecursionError):
        return []
    if not isinstance(names, list):
        return []
    return [
        name or "" for name in cast("list[Any]", names) if name is None or isinstance(name, str)
    ]


def _json(names: list[str]) -> bytes:
    return json.dumps(names, ensure_ascii=False, separators=(",", ":")).encode()


@evolves(enums.EVENT_TYPE_MARKER_RECORDED)
def _marker_recorded(state: RunState, event: history.HistoryEvent) -> None:
    """A marker concerns only the worker that replays it."""


@evolves(enums.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
def _search_attributes(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.upsert_workflow_search_attributes_event_attributes
    fields = attributes.search_attributes.indexed_fields
    state.search_attributes = merged(state.search_attributes, fields)


@evolves(enums.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED)
def _properties(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.workflow_properties_modified_event_attributes
    state.memo = merged(state.memo, attributes.upserted_memo.fields)
