"""Search attributes: the known names, and the operator calls that add, remove and list them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perdure.wire.api import common, enums, operatorservice
from perdure.wire.errors import (
    AlreadyExists,
    InvalidArgument,
    shown,
)

if TYPE_CHECKING:
    from perdure.server.common.namespace_facts import NamespaceFact
    from perdure.server.frontend.call import Call
    from perdure.server.frontend.services import Services

_Type = enums.IndexedValueType

SYSTEM_ATTRIBUTES: dict[str, enums.IndexedValueType.ValueType] = {
    "CloseTime": _Type.INDEXED_VALUE_TYPE_DATETIME,
    "ExecutionDuration": _Type.INDEXED_VALUE_TYPE_INT,
    "ExecutionStatus": _Type.INDEXED_VALUE_TYPE_KEYWORD,
    "ExecutionTime": _Type.INDEXED_VALUE_TYPE_DATETIME,
    "HistoryLength": _Type.INDEXED_VALUE_TYPE_INT,
    "HistorySizeBytes": _Type.INDEXED_VALUE_TYPE_INT,
    "ParentRunId": _Type.INDEXED_VALUE_TYPE_KEYWORD,
    "ParentWorkflowId": _Type.INDEXED_VALUE_TYPE_KEYWORD,
    "RootRunId": _Type.INDEXED_VALUE_TYPE_KEYWORD,
    "RootWorkflowId": _Type.INDEXED_VALUE_TYPE_KEYWORD,
    "RunId": _Type.INDEXED_VALUE_TYPE_KEYWORD,
    "StartTime": _Type.INDEXED_VALUE_TYPE_DATETIME,
    "StateTransitionCount": _Type.INDEXED_VALUE_TYPE_INT,
    "TaskQueue": _Type.INDEXED_VALUE_TYPE_KEYWORD,
    "WorkflowId": _Type.INDEXED_VALUE_TYPE_KEYWORD,
    "WorkflowType": _Type.INDEXED_VALUE_TYPE_KEYWORD,
}
"""Set by the server for each run."""

PREDEFINED_ATTRIBUTES: dict[str, enums.IndexedValueType.ValueType] = {
    "BatcherNamespace": _Type.INDEXED_VALUE_TYPE_KEYWORD,
    "BatcherUser": _Type.INDEXED_VALUE_TYPE_KEYWORD,
    "BinaryChecksums": _Type.INDEXED_VALUE_TYPE_KEYWORD_LIST,
    "BuildIds": _Type.INDEXED_VALUE_TYPE_KEYWORD_LIST,
    "TemporalChangeVersion": _Type.INDEXED_VALUE_TYPE_KEYWORD_LIST,
    "TemporalNamespaceDivision": _Type.INDEXED_VALUE_TYPE_KEYWORD,
    "TemporalScheduledById": _Type.INDEXED_VALUE_TYPE_KEYWORD,
    "TemporalScheduledStartTime": _Type.INDEXED_VALUE_TYPE_DATETIME,
    "TemporalSchedulePaused": _Type.INDEXED_VALUE_TYPE_BOOL,
}
"""Names with a fixed meaning that callers and workers may set."""


def check_search_attributes(namespace: NamespaceFact, value: common.SearchAttributes) -> None:
    """Raise InvalidArgument for a name that callers may not set or that is not registered."""
    for name in value.indexed_fields:
        if name in SYSTEM_ATTRIBUTES:
            raise InvalidArgument(f"{shown(name)} attribute can't be set in SearchAttributes")
        if name not in namespace.search_attributes and name not in PREDEFINED_ATTRIBUTES:
            raise InvalidArgument(
                f"Namespace {shown(namespace.name)} has no mapping defined for search attribute {shown(name)}: "
                "register it with AddSearchAttributes first."
            )


def lack_types(value: common.SearchAttributes) -> bool:
    """Whether any value lacks its type."""
    return any(not payload.metadata.get("type") for payload in value.indexed_fields.values())


def note_types(namespace: NamespaceFact, value: common.SearchAttributes) -> None:
    """Add the registered type to the values that lack one, because clients that read values expect it.

    Args:
        namespace: The namespace that registered the types.
        value: Changed in place. It must not be part of a caller's request.
    """
    for name, payload in value.indexed_fields.items():
        if not payload.metadata.get("type"):
            kind = namespace.search_attributes.get(name) or PREDEFINED_ATTRIBUTES.get(name)
            if kind:
                payload.metadata["type"] = _type_name(kind).encode()


def _type_name(kind: int) -> str:
    """`KeywordList` for INDEXED_VALUE_TYPE_KEYWORD_LIST."""
    snake = _Type.Name(_Type.ValueType(kind)).removeprefix("INDEXED_VALUE_TYPE_")
    return "".join(part.capitalize() for part in snake.split("_"))


async def add_search_attributes(
    services: Services, call: Call, request: operatorservice.AddSearchAttributesRequest
) -> operatorservice.AddSearchAttributesResponse:
    namespace = services.namespace(request.namespace)
    if not request.search_attributes:
        raise InvalidArgument("SearchAttributes are not set on request.")
    for name, kind in request.search_attributes.items():
        if name in SYSTEM_ATTRIBUTES or name in PREDEFINED_ATTRIBUTES:
            raise InvalidArgument(f"Search attribute {shown(name)} is reserved by system.")
        if kind not in _Type.values() or kind == _Type.INDEXED_VALUE_TYPE_UNSPECIFIED:
            raise InvalidArgument(f"Unknown search attribute type: {kind}.")
    wanted = {name: int(kind) for name, kind in request.search_attributes.items()}

    def add(fact: NamespaceFact) -> NamespaceFact:
        for name, kind in wanted.items():
            if fact.search_attributes.get(name, kind) != kind:
                raise AlreadyExists(
                    f"Search attribute {shown(name)} already exists with another type."
                )
        return msgspec.structs.replace(fact, search_attributes=fact.search_attributes | wanted)

    await services.engine.namespaces.change(namespace.namespace_id, add)
    return operatorservice.AddSearchAttributesResponse()


async def remove_search_attributes(
    services: Services, call: Call, request: operatorservice.RemoveSearchAttributesRequest
) -> operatorservice.RemoveSearchAttributesResponse:
    namespace = services.namespace(request.namespace)

    def remove(fact: NamespaceFact) -> NamespaceFact:
        remaining = dict(fact.search_attributes)
        for name in dict.fromkeys(request.search_attributes):
            if remaining.pop(name, None) is None:
                raise InvalidArgument(f"Search attribute {shown(name)} doesn't exist.")
        return msgspec.structs.replace(fact, search_attributes=remaining)

    await services.engine.namespaces.change(namespace.namespace_id, remove)
    return operatorservice.RemoveSearchAttributesResponse()


async def list_search_attributes(
    services: Services, call: Call, request: operatorservice.ListSearchAttributesRequest
) -> operatorservice.ListSearchAttributesResponse:
    namespace = services.namespace(request.namespace)
    custom = {name: _Type.ValueType(kind) for name, kind in namespace.search_attributes.items()}
    return operatorservice.ListSearchAttributesResponse(
        custom_attributes=custom, system_attributes=SYSTEM_ATTRIBUTES | PREDEFINED_ATTRIBUTES
    )
