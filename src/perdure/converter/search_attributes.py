"""Search attributes to payloads and back: always default JSON without codec, because the server reads them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from perdure.common.search_attributes import (
    SearchAttributeIndexedValueType,
    SearchAttributeKey,
    SearchAttributePair,
    SearchAttributes,
    SearchAttributeValue,
    SearchAttributeValues,
    TypedSearchAttributes,
    key_from_metadata_type,
)
from perdure.converter.composite import DefaultPayloadConverter
from perdure.wire.api import common as common_pb

_CONVERTER = DefaultPayloadConverter()
_UNREADABLE = (KeyError, RuntimeError, ValueError, TypeError, OverflowError)
"""What reading raises when the value has another encoding, is no JSON or no datetime, or is too large a number."""


def encode_search_attributes(
    attributes: SearchAttributes | TypedSearchAttributes, api: common_pb.SearchAttributes
) -> None:
    """Write search attributes into an API message.

    Args:
        attributes: The attributes. A mapping of names to lists of values is deprecated.
        api: The message to change.

    Raises:
        TypeError: A value does not fit its key.
        ValueError: A datetime has no time zone.
    """
    if isinstance(attributes, TypedSearchAttributes):
        for key, value in attributes:
            api.indexed_fields[key.name].CopyFrom(encode_typed_search_attribute_value(key, value))
        return
    for name, values in attributes.items():
        api.indexed_fields[name].CopyFrom(encode_search_attribute_values(values))


def encode_maybe_typed_search_attributes(
    untyped: SearchAttributes | None,
    typed: TypedSearchAttributes | None,
    api: common_pb.SearchAttributes,
) -> None:
    """Write whichever of the two is given into `api`.

    Raises:
        ValueError: Both are given.
    """
    if untyped:
        if typed:
            raise ValueError(
                "Cannot provide both deprecated search attributes and typed search attributes"
            )
        encode_search_attributes(untyped, api)
    elif typed:
        encode_search_attributes(typed, api)


def encode_typed_search_attribute_value(
    key: SearchAttributeKey[Any], value: SearchAttributeValue | None
) -> common_pb.Payload:
    """Make the payload of one value.

    Args:
        key: The attribute.
        value: The value. None makes the payload that removes the attribute.

    Raises:
        TypeError: The value does not fit the key.
        ValueError: A datetime has no time zone.
    """
    if value is None:
        # Without "type" metadata: the server takes a typed null for a value.
        return _CONVERTER.to_payload(None)
    if not isinstance(value, key.origin_value_type):
        raise TypeError(
            f"Value of type {type(value)} not suitable for indexed value type"
            f" {key.indexed_value_type!r} of {key.name}"
        )
    if isinstance(value, datetime):
        value = _datetime_text(value)
    elif isinstance(value, Sequence) and not all(
        isinstance(item, str) for item in cast("Sequence[object]", value)
    ):
        raise TypeError("All values of a keyword list must be strings")
    payload = _CONVERTER.to_payload(value)
    payload.metadata["type"] = key.metadata_type.encode()
    return payload


def _datetime_text(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("Timezone must be present on all search attribute dates")
    return value.isoformat()


def encode_search_attribute_values(values: SearchAttributeValues) -> common_pb.Payload:
    """Make the payload of a list of values without a type. Deprecated.

    Args:
        values: The values.

    Raises:
        TypeError: It is not a list, or the values have mixed or unknown types.
        ValueError: A datetime has no time zone.
    """
    if not isinstance(cast("object", values), list):
        raise TypeError("Search attribute values must be lists")
    safe: list[str | int | float | bool] = []
    kind: type | None = None
    for value in values:
        if isinstance(value, datetime):
            safe.append(_datetime_text(value))
            continue
        item = cast("object", value)
        if not isinstance(item, str | int | float | bool):
            raise TypeError(
                f"Search attribute value of type {type(item).__name__}"
                " not one of str, int, float, bool, or datetime"
            )
        if kind is not None and type(item) is not kind:
            raise TypeError("Search attribute values must have the same type for the same key")
        kind = type(item)
        safe.append(item)
    return _CONVERTER.to_payload(safe)


def decode_search_attributes(api: common_pb.SearchAttributes) -> SearchAttributes:
    """Read search attributes as lists of values by name; those that cannot be read are left out. Deprecated.

    Args:
        api: The API message.
    """
    decoded: dict[str, Any] = {}
    for name, payload in api.indexed_fields.items():
        try:
            value: Any = _CONVERTER.from_payload(payload)
            values = cast("list[Any]", value) if isinstance(value, list) else [value]
            if payload.metadata.get("type") == b"Datetime":
                values = [datetime.fromisoformat(item) for item in values]
        except _UNREADABLE:
            continue
        decoded[name] = values
    return decoded


def decode_typed_search_attributes(api: common_pb.SearchAttributes) -> TypedSearchAttributes:
    """Read search attributes. Those with an unknown type, or with a value that does not fit it, are left out.

    Args:
        api: The API message.
    """
    pairs: list[SearchAttributePair[Any]] = []
    for name, payload in api.indexed_fields.items():
        metadata_type = payload.metadata.get("type")
        type_name = metadata_type.decode(errors="replace") if metadata_type else ""
        key = key_from_metadata_type(name, type_name)
        if key is None:
            continue
        try:
            value = _typed_value(key.indexed_value_type, _CONVERTER.from_payload(payload))
        except _UNREADABLE:
            continue
        if isinstance(value, key.origin_value_type):
            pairs.append(SearchAttributePair(key, value))
    return TypedSearchAttributes(pairs)


def _typed_value(kind: SearchAttributeIndexedValueType, value: Any) -> Any:
    """The value as its type has it; None when it does not fit.

    Raises:
        ValueError: It is a text that is no datetime.
        TypeError: It is no text, and should be a datetime.
        OverflowError: It is a number that is too large.
    """
    if kind is SearchAttributeIndexedValueType.KEYWORD_LIST:
        items = cast("list[Any]", value) if isinstance(value, list) else [value]
        return items if all(isinstance(item, str) for item in items) else None
    if isinstance(value, list):
        # Some servers wrap single values.
        items = cast("list[Any]", value)
        if len(items) != 1:
            return None
        value = items[0]
    if kind is SearchAttributeIndexedValueType.DATETIME:
        return datetime.fromisoformat(value)
    if kind is SearchAttributeIndexedValueType.DOUBLE and isinstance(value, int):
        return float(value)  # visibility returns whole numbers as JSON integers
    return value


def decode_search_attribute_value(payload: common_pb.Payload) -> SearchAttributeValue:
    """One value, as the groups of a count hold it."""
    value: Any = _CONVERTER.from_payload(payload)
    if isinstance(value, str) and payload.metadata.get("type") == b"Datetime":
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(value)
    return value
