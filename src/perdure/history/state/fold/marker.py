"""How markers, search attributes and memo change the state.

Search attributes and memo are merged key by key; a payload without value (no data, null, or an empty list)
removes its key, as the reference does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from perdure.history.state.fold.evolve import evolves
from perdure.wire.api import common, enums, history

if TYPE_CHECKING:
    from perdure.history.state.run_state import RunState

PayloadMap = tuple[tuple[str, bytes], ...]
"""Sorted (key, serialised Payload)."""

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
