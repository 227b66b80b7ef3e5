"""Memo and search attributes: upserts, and the workflow's own view of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from perdure.common import SearchAttributePair, TypedSearchAttributes
from perdure.common.search_attributes import (
    SearchAttributeIndexedValueType,
    key_guessed_from_values,
)
from perdure.common.signatures import UNSET
from perdure.converter import (
    encode_search_attribute_values,
    encode_typed_search_attribute_value,
)
from perdure.replay import commands
from perdure.wire.api import common as common_pb

if TYPE_CHECKING:
    from perdure.common import SearchAttributes, SearchAttributeUpdate
    from perdure.worker.host.state import RunState

_LIST = SearchAttributeIndexedValueType.KEYWORD_LIST


def memo(state: RunState) -> Mapping[str, Any]:
    """All values, converted without type hints, once."""
    if state.memo is None:
        convert = state.converters.workflow.payload.from_payload
        state.memo = {key: convert(payload) for key, payload in state.info.raw_memo.items()}
    return state.memo


def memo_value(state: RunState, key: str, default: Any, type_hint: type | None) -> Any:
    """One value.

    Raises:
        KeyError: The key does not exist, and there is no default.
    """
    payload = state.info.raw_memo.get(key)
    if payload is None:
        if default is UNSET:
            message = f"Memo does not have a value for key {key}"
            raise KeyError(message)
        return default
    converter: Any = state.converters.workflow.payload
    return converter.from_payload(payload, type_hint)


def upsert_memo(state: RunState, updates: Mapping[str, Any]) -> None:
    """Change the memo; None removes a key."""
    state.check_mutable("upsert memo")
    if not updates:
        return
    convert = state.converters.workflow.payload
    # Convert everything first, so that an error leaves no partial change.
    payloads = {key: convert.to_payload(value) for key, value in updates.items()}
    memo_message = common_pb.Memo()
    for key, payload in payloads.items():
        memo_message.fields[key].CopyFrom(payload)
    state.issue(commands.ModifyProperties(upserted_memo=memo_message, site=state.site()))
    raw = cast("dict[str, common_pb.Payload]", state.info.raw_memo)
    for key, payload in payloads.items():
        if updates[key] is None:
            raw.pop(key, None)
        else:
            raw[key] = payload
        if state.memo is not None:
            state.memo.pop(key, None)
            if updates[key] is not None:
                state.memo[key] = convert.from_payload(payload)


def upsert_search_attributes(
    state: RunState, attributes: SearchAttributes | Sequence[SearchAttributeUpdate[Any]]
) -> None:
    """Change search attributes, in history and in the workflow's own view."""
    state.check_mutable("upsert search attributes")
    message = common_pb.SearchAttributes()
    if isinstance(attributes, Mapping):
        for name, values in attributes.items():
            message.indexed_fields[name].CopyFrom(encode_search_attribute_values(values))
    else:
        for update in attributes:
            payload = encode_typed_search_attribute_value(update.key, update.value)
            message.indexed_fields[update.key.name].CopyFrom(payload)
    state.issue(commands.UpsertSearchAttributes(search_attributes=message, site=state.site()))
    if isinstance(attributes, Mapping):
        _apply_untyped(state, attributes)
    else:
        for update in attributes:
            _apply_typed(state, update)


def _apply_typed(state: RunState, update: SearchAttributeUpdate[Any]) -> None:
    untyped = cast("dict[str, Any]", state.info.search_attributes)
    name = update.key.name
    if update.value is None:
        untyped[name] = []
        _replace(state, name, None)
        return
    is_list = update.key.indexed_value_type == _LIST
    untyped[name] = list(update.value) if is_list else [update.value]
    _replace(state, name, SearchAttributePair(update.key, update.value))


def _apply_untyped(state: RunState, attributes: SearchAttributes) -> None:
    # The deprecated form has no types, so they are inferred from the values.
    untyped = cast("dict[str, Any]", state.info.search_attributes)
    for name, values in attributes.items():
        untyped[name] = values
        key = key_guessed_from_values(name, values)
        value: Any = values
        if not values:
            _replace(state, name, None)
        elif key is not None:
            is_list = key.indexed_value_type == _LIST
            _replace(state, name, SearchAttributePair(key, value if is_list else value[0]))


def _replace(state: RunState, name: str, pair: SearchAttributePair[Any] | None) -> None:
    current = state.info.typed_search_attributes
    pairs = [known for known in current.search_attributes if known.key.name != name]
    if pair is not None:
        pairs.append(pair)
    # Info is frozen for users; the run keeps this one field current (see Info).
    object.__setattr__(state.info, "typed_search_attributes", TypedSearchAttributes(pairs))
