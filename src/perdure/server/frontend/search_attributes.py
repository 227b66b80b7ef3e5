"""Search attributes: the known names, and the operator calls that add, remove and list them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perdure.history.commands.search_attributes import (
    PREDEFINED_ATTRIBUTES,
    SYSTEM_ATTRIBUTES,
    BadSearchAttributes,
    SearchAttributesTooLarge,
    check_attributes,
    name_problem,
)
from perdure.wire.api import common, enums, operatorservice
from perdure.wire.errors import AlreadyExists, InvalidArgument, ResourceExhausted, shown

if TYPE_CHECKING:
    from perdure.core.limits import Limits
    from perdure.server.common.namespace_facts import NamespaceFact
    from perdure.server.frontend.call import Call
    from perdure.server.frontend.services import Services

_Type = enums.IndexedValueType


def check_search_attributes(
    namespace: NamespaceFact, value: common.SearchAttributes, limits: Limits
) -> None:
    """Raise InvalidArgument for attributes that callers may not set, are not registered, or do not fit."""
    if not value.indexed_fields:
        return
    try:
        check_attributes(value, namespace.search_attributes, namespace.name, limits)
    except (BadSearchAttributes, SearchAttributesTooLarge) as error:
        raise InvalidArgument(str(error)) from None


async def add_search_attributes(
    services: Services, call: Call, request: operatorservice.AddSearchAttributesRequest
) -> operatorservice.AddSearchAttributesResponse:
    namespace = services.namespace(request.namespace)
    if not request.search_attributes:
        raise InvalidArgument("SearchAttributes are not set on request.")
    for name, kind in request.search_attributes.items():
        if problem := name_problem(name, services.limits.id_length_max):
            raise InvalidArgument(problem)
        if kind not in _Type.values() or kind == _Type.INDEXED_VALUE_TYPE_UNSPECIFIED:
            raise InvalidArgument(f"Unknown search attribute type: {kind}.")
    wanted = {name: int(kind) for name, kind in request.search_attributes.items()}

    def add(fact: NamespaceFact) -> NamespaceFact:
        for name, kind in wanted.items():
            if fact.search_attributes.get(name, kind) != kind:
                raise AlreadyExists(
                    f"Search attribute {shown(name)} already exists with another type."
                )
        registered = fact.search_attributes | wanted
        if len(registered) > services.limits.registered_search_attributes_max:
            raise ResourceExhausted(
                f"Namespace {shown(fact.name)} cannot have more than "
                f"{services.limits.registered_search_attributes_max} search attributes."
            )
        return msgspec.structs.replace(fact, search_attributes=registered)

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
