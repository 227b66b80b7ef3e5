"""Names and types of workflows and handlers, and the checks that need those.

The checks run in the caller's process, before anything is sent. A wrong number of arguments, or an obviously wrong
type, would otherwise only show in a worker's log.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from perdure.common.signatures import check_arity
from perdure.converter import DefaultPayloadConverter, PayloadConverter


@dataclass(frozen=True)
class Target:
    """A workflow or handler, as the caller named it.

    Attributes:
        name: Workflow type, or name of the signal, query or update.
        arg_types: Types of the parameters; None when unknown.
        ret_type: Type of the result; None when unknown.
        fn: The user's function; None when the caller gave a name.
    """

    name: str
    arg_types: Sequence[type] | None = None
    ret_type: type | None = None
    fn: Callable[..., Any] | None = None

    def check(self, args: Sequence[Any], what: str, converter: PayloadConverter) -> None:
        """Check arguments against the function, if it is known.

        Raises:
            TypeError: Their number is wrong, or a type is.
        """
        if self.fn is None:
            return
        check_arity(self.fn, args, f"{what} {self.name}")
        # Another converter may convert one type to another.
        if self.arg_types is not None and type(converter) is DefaultPayloadConverter:
            for index, (kind, value) in enumerate(zip(self.arg_types, args, strict=False)):
                if not _may_become(kind, value):
                    raise TypeError(
                        f"Argument {index + 1} of {what} {self.name} is of type {type(value).__name__},"
                        f" but {getattr(kind, '__name__', kind)} is expected"
                    )


_SCALARS = (str, bytes, int, float, bool)
# The types that each scalar hint accepts after a round trip through JSON.
_ACCEPTED: dict[type, tuple[type, ...]] = {
    str: (str,),
    bytes: (bytes,),
    int: (int, float),
    float: (int, float),
    bool: (bool,),
}


def _may_become(kind: Any, value: Any) -> bool:
    """False only when decoding `value` as `kind` is sure to fail."""
    if not isinstance(value, _SCALARS):
        # Objects may serialize to anything (dates and UUIDs become strings); None and raw values ignore hints.
        return True
    accepted = _ACCEPTED.get(kind) if isinstance(kind, type) else None
    if accepted is not None:
        return isinstance(value, accepted)
    return not dataclasses.is_dataclass(kind)


def workflow_target(workflow: str | type | Callable[..., Any]) -> Target:
    """The target of a workflow that is given by type name, by class, or by its run method.

    Raises:
        ValueError: It is not decorated, or it is dynamic.
    """
    if isinstance(workflow, str):
        return Target(workflow)
    from perdure.workflow._definition import Definition

    if isinstance(workflow, type):
        definition = Definition.must_from_class(workflow)
    else:
        definition = Definition.must_from_run_fn(workflow)
    if definition.name is None:
        raise ValueError("Cannot invoke dynamic workflow explicitly: give its type as a string")
    return Target(definition.name, definition.arg_types, definition.ret_type, definition.run_fn)


def handler_target(kind: str, handler: str | Callable[..., Any]) -> Target:
    """The target of a signal, query or update that is given by name or by decorated method.

    Args:
        kind: `"signal"`, `"query"` or `"update"`.
        handler: The name or method.

    Raises:
        RuntimeError: The method is not decorated as such, or it is dynamic.
    """
    if isinstance(handler, str):
        return Target(handler)
    from perdure.workflow._handler_definitions import (
        QueryDefinition,
        SignalDefinition,
        UpdateDefinition,
    )

    finders = {
        "signal": SignalDefinition.from_fn,
        "query": QueryDefinition.from_fn,
        "update": UpdateDefinition.from_fn,
    }
    definition = finders[kind](handler)
    if definition is None:
        name = getattr(handler, "__qualname__", repr(handler))
        raise RuntimeError(
            f"{kind.capitalize()} definition not found on {name}, is it decorated with @workflow.{kind}?"
        )
    if definition.name is None:
        raise RuntimeError(f"Cannot invoke dynamic {kind} definition")
    return Target(definition.name, definition.arg_types, definition.ret_type, definition.fn)
