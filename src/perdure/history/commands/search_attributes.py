"""Which search attributes callers and workers may set: names, values, sizes and numbers. Pure.

The rules are the reference server's; `tests/reference/scripts/search_attributes.py` compares them row by row. Messages
name the attribute and its type, never the value.

Not here: registering names (`server.frontend.search_attributes`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, cast

from perdure.history.state.fold.marker import has_no_value
from perdure.wire.api import common, enums
from perdure.wire.errors import shown

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from perdure.core.limits import Limits
    from perdure.wire.api import history

    _BeginsRun = (
        history.WorkflowExecutionStartedEventAttributes
        | history.StartChildWorkflowExecutionInitiatedEventAttributes
        | history.WorkflowExecutionContinuedAsNewEventAttributes
    )

Type = enums.IndexedValueType

SYSTEM_ATTRIBUTES: dict[str, Type.ValueType] = {
    "CloseTime": Type.INDEXED_VALUE_TYPE_DATETIME,
    "ExecutionDuration": Type.INDEXED_VALUE_TYPE_INT,
    "ExecutionStatus": Type.INDEXED_VALUE_TYPE_KEYWORD,
    "ExecutionTime": Type.INDEXED_VALUE_TYPE_DATETIME,
    "HistoryLength": Type.INDEXED_VALUE_TYPE_INT,
    "HistorySizeBytes": Type.INDEXED_VALUE_TYPE_INT,
    "ParentRunId": Type.INDEXED_VALUE_TYPE_KEYWORD,
    "ParentWorkflowId": Type.INDEXED_VALUE_TYPE_KEYWORD,
    "RootRunId": Type.INDEXED_VALUE_TYPE_KEYWORD,
    "RootWorkflowId": Type.INDEXED_VALUE_TYPE_KEYWORD,
    "RunId": Type.INDEXED_VALUE_TYPE_KEYWORD,
    "StartTime": Type.INDEXED_VALUE_TYPE_DATETIME,
    "StateTransitionCount": Type.INDEXED_VALUE_TYPE_INT,
    "TaskQueue": Type.INDEXED_VALUE_TYPE_KEYWORD,
    "WorkflowId": Type.INDEXED_VALUE_TYPE_KEYWORD,
    "WorkflowType": Type.INDEXED_VALUE_TYPE_KEYWORD,
}
"""Set by the server for each run."""

PREDEFINED_ATTRIBUTES: dict[str, Type.ValueType] = {
    "BatcherNamespace": Type.INDEXED_VALUE_TYPE_KEYWORD,
    "BatcherUser": Type.INDEXED_VALUE_TYPE_KEYWORD,
    "BinaryChecksums": Type.INDEXED_VALUE_TYPE_KEYWORD_LIST,
    "BuildIds": Type.INDEXED_VALUE_TYPE_KEYWORD_LIST,
    "TemporalChangeVersion": Type.INDEXED_VALUE_TYPE_KEYWORD_LIST,
    "TemporalNamespaceDivision": Type.INDEXED_VALUE_TYPE_KEYWORD,
    "TemporalScheduledById": Type.INDEXED_VALUE_TYPE_KEYWORD,
    "TemporalScheduledStartTime": Type.INDEXED_VALUE_TYPE_DATETIME,
    "TemporalSchedulePaused": Type.INDEXED_VALUE_TYPE_BOOL,
}
"""Names with a fixed meaning that callers and workers may set."""

RESERVED_PREFIX = "Temporal"
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


class BadSearchAttributes(ValueError):
    """A name or a value that may not be set, or too many of them; the message says which."""


class SearchAttributesTooLarge(ValueError):
    """A value, or all of them together, over the limit."""


def check_attributes(
    value: common.SearchAttributes, registered: Mapping[str, int], namespace: str, limits: Limits
) -> None:
    """Check attributes that a caller or a worker wants to set.

    Args:
        value: The attributes.
        registered: The custom attributes of the namespace, with their types.
        namespace: Its name, for messages.
        limits: Its limits.

    Raises:
        BadSearchAttributes: A name is not registered or belongs to the server, a value is not of its type, or there are
            too many.
        SearchAttributesTooLarge: They are too large.
    """
    fields = value.indexed_fields
    for name in fields:
        if not (name in registered or name in PREDEFINED_ATTRIBUTES or name in SYSTEM_ATTRIBUTES):
            raise BadSearchAttributes(
                f"Namespace {shown(namespace)} has no mapping defined for search attribute {shown(name)}: "
                "register it with AddSearchAttributes first."
            )
    if len(fields) > limits.search_attributes_max:
        raise BadSearchAttributes(
            f"number of search attributes {len(fields)} exceeds limit {limits.search_attributes_max}"
        )
    for name in fields:
        if name in SYSTEM_ATTRIBUTES:
            raise BadSearchAttributes(f"{shown(name)} attribute can't be set in SearchAttributes")
        kind = PREDEFINED_ATTRIBUTES.get(name) or registered[name]
        if not _fits(fields[name], kind):
            raise BadSearchAttributes(
                f"invalid value for search attribute {shown(name)} of type {type_name(kind)}"
            )
    _check_sizes(value, limits)


def _check_sizes(value: common.SearchAttributes, limits: Limits) -> None:
    fields = value.indexed_fields
    for name in fields:
        size_bytes, limit = len(fields[name].data), limits.search_attribute_bytes_max
        if size_bytes > limit:
            raise SearchAttributesTooLarge(
                f"search attribute {shown(name)} value size {size_bytes} exceeds size limit {limit}"
            )
    if fields and (size_bytes := value.ByteSize()) > limits.search_attributes_bytes_max:
        raise SearchAttributesTooLarge(
            f"total size of search attributes {size_bytes} exceeds size limit {limits.search_attributes_bytes_max}"
        )


def name_types(value: common.SearchAttributes, registered: Mapping[str, int]) -> None:
    """Add the registered type to the values that name none, because clients that read values expect it.

    Args:
        value: Changed in place. It must not be part of a caller's request.
        registered: The custom attributes of the namespace, with their types.
    """
    for name, payload in value.indexed_fields.items():
        if "type" not in payload.metadata:
            kind = registered.get(name) or PREDEFINED_ATTRIBUTES.get(name)
            if kind:
                payload.metadata["type"] = type_name(kind).encode()


def drop_empty(attributes: _BeginsRun) -> None:
    """Remove entries without a value from the memo and the search attributes of a new run, in place."""
    if attributes.HasField("memo"):
        _drop_empty(attributes.memo.fields)
        if not attributes.memo.fields:
            attributes.ClearField("memo")
    if attributes.HasField("search_attributes"):
        _drop_empty(attributes.search_attributes.indexed_fields)
        if not attributes.search_attributes.indexed_fields:
            attributes.ClearField("search_attributes")


def _drop_empty(fields: MutableMapping[str, common.Payload]) -> None:
    for name in [name for name, payload in fields.items() if has_no_value(payload)]:
        del fields[name]


def name_problem(name: str, bytes_max: int) -> str:
    """Why a name cannot be registered; empty if it can.

    The reference server takes any text that is not reserved. A name that cannot be seen could not be used in a query,
    and names of any length would make the list of names too large to be sent.
    """
    if (
        name in SYSTEM_ATTRIBUTES
        or name in PREDEFINED_ATTRIBUTES
        or name.startswith(RESERVED_PREFIX)
    ):
        return f"Search attribute {shown(name)} is reserved by system."
    if not name.strip() or not name.isprintable():
        return f"Search attribute name {shown(name)} is empty or has control characters."
    size_bytes = len(name.encode())
    if size_bytes > bytes_max:
        return f"Search attribute name has {size_bytes} bytes; the limit is {bytes_max}."
    return ""


def type_name(kind: int) -> str:
    """`KeywordList` for INDEXED_VALUE_TYPE_KEYWORD_LIST."""
    snake = Type.Name(Type.ValueType(kind)).removeprefix("INDEXED_VALUE_TYPE_")
    return "".join(part.capitalize() for part in snake.split("_"))


def _fits(payload: common.Payload, kind: int) -> bool:
    """Whether a value is of the registered type. Null and an empty list remove the attribute; any type has them."""
    encoding = payload.metadata.get("encoding")
    if encoding == b"binary/null":
        return True
    if encoding != b"json/plain":
        return False
    try:
        value: Any = json.loads(payload.data, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    if value is None:
        return True
    if kind == Type.INDEXED_VALUE_TYPE_KEYWORD_LIST:
        return isinstance(value, list) and all(
            item is None or isinstance(item, str) for item in cast("list[Any]", value)
        )
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return not items or (len(items) == 1 and (items[0] is None or _is_one(items[0], kind)))
    return _is_one(value, kind)


def _no_constant(_: str) -> NoReturn:
    raise ValueError("not JSON: NaN or Infinity")


def _is_one(value: Any, kind: int) -> bool:
    match kind:
        case Type.INDEXED_VALUE_TYPE_TEXT | Type.INDEXED_VALUE_TYPE_KEYWORD:
            return isinstance(value, str)
        case Type.INDEXED_VALUE_TYPE_INT:
            return type(value) is int and -(2**63) <= value < 2**63
        case Type.INDEXED_VALUE_TYPE_DOUBLE:
            return type(value) in (int, float) and _is_finite(value)
        case Type.INDEXED_VALUE_TYPE_BOOL:
            return isinstance(value, bool)
        case Type.INDEXED_VALUE_TYPE_DATETIME:
            return isinstance(value, str) and _is_datetime(value)
        case _:
            return False


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _is_datetime(text: str) -> bool:
    if not _RFC_3339.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
