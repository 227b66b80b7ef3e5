"""What the decorators of signals, queries and updates store on the functions.

Invariants: a definition does not change after its decorator ran, except for an update's validator.
Not here: the decorators (`_handlers`), running handlers (`perdure.worker.host.handlers`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any, cast

from perdure.common.signatures import type_hints_from_func
from perdure.workflow._callables import (
    arity_text,
    is_async,
    is_raw_values,
    name_of,
    positional_arity,
)

SIGNAL_MARK = "__perdure_signal__"
QUERY_MARK = "__perdure_query__"


class HandlerUnfinishedPolicy(Enum):
    """What to do about a handler that is still running when the workflow closes."""

    WARN_AND_ABANDON = 1
    """Warn (TMPRL1102) and abandon it."""
    ABANDON = 2
    """Abandon it silently."""


class UnfinishedUpdateHandlersWarning(RuntimeWarning):
    """The workflow closed while update handlers were running. Their callers get an error."""


class UnfinishedSignalHandlersWarning(RuntimeWarning):
    """The workflow closed while signal handlers were running."""


@dataclass(frozen=True)
class HandlerDefinition:
    """What every handler has.

    Attributes:
        name: Name of the signal, query or update; None for the dynamic handler.
        is_method: True when the function takes `self` (decorated), False when it was set at run time.
        dynamic_vararg: The dynamic handler takes `*args` (old form) instead of a sequence of RawValue.
    """

    name: str | None
    fn: Callable[..., Any]
    is_method: bool
    description: str | None = None
    unfinished_policy: HandlerUnfinishedPolicy = HandlerUnfinishedPolicy.WARN_AND_ABANDON
    arg_types: list[type] | None = field(init=False, default=None)
    ret_type: type | None = field(init=False, default=None)
    dynamic_vararg: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        arg_types, ret_type = type_hints_from_func(self.fn)
        if self.name is None:
            vararg = _dynamic_takes_varargs(self.fn, arg_types, is_method=self.is_method)
            object.__setattr__(self, "dynamic_vararg", vararg)
        object.__setattr__(self, "arg_types", arg_types)
        object.__setattr__(self, "ret_type", ret_type)

    def bind(self, instance: object) -> Callable[..., Any]:
        """The function, with the workflow object in place when it is a method."""
        return bind(self.fn, instance) if self.is_method else self.fn

    def misfit(self, args: Sequence[object]) -> str | None:
        """Why the handler cannot be called with these arguments; None when their number is right."""
        fewest, most = positional_arity(self.fn, bound=self.is_method)
        if fewest <= len(args) and (most is None or len(args) <= most):
            return None
        return f"{name_of(self.fn)} takes {arity_text(fewest, most)} argument(s), but {len(args)} were given"


class SignalDefinition(HandlerDefinition):
    """A signal handler."""

    @staticmethod
    def from_fn(fn: object) -> SignalDefinition | None:
        return cast("SignalDefinition | None", getattr(fn, SIGNAL_MARK, None))


class QueryDefinition(HandlerDefinition):
    """A query handler."""

    @staticmethod
    def from_fn(fn: object) -> QueryDefinition | None:
        return cast("QueryDefinition | None", getattr(fn, QUERY_MARK, None))


@dataclass(frozen=True)
class UpdateDefinition(HandlerDefinition):
    """An update handler and its validator."""

    validator: Callable[..., None] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dynamic_vararg:
            message = "Dynamic updates do not support a vararg third param, use Sequence[RawValue]"
            raise RuntimeError(message)

    def bind_validator(self, instance: object) -> Callable[..., Any] | None:
        """The validator, with the workflow object in place, or None."""
        if self.validator is None:
            return None
        return bind(self.validator, instance) if self.is_method else self.validator

    def set_validator(self, validator: Callable[..., None]) -> None:
        """Attach the validator, once. It is called, not awaited, so it must not be async."""
        if is_async(validator):
            message = "Update validator must not be an async function"
            raise ValueError(message)
        if self.validator is not None:
            message = f"Validator already set for update {self.name}"
            raise RuntimeError(message)
        object.__setattr__(self, "validator", validator)

    @staticmethod
    def from_fn(fn: object) -> UpdateDefinition | None:
        found = getattr(fn, "_defn", None)
        return found if isinstance(found, UpdateDefinition) else None


def bind(fn: Callable[..., Any], instance: object) -> Callable[..., Any]:
    """`fn` with its first argument in place; `inspect` still sees an async function when it is one."""
    return partial(fn, instance)


def signal_name(signal: str | Callable[..., Any]) -> str:
    """The name of a signal given as a name or as a decorated method.

    Raises:
        RuntimeError: The method is not a signal, or is the dynamic signal handler.
    """
    if isinstance(signal, str):
        return signal
    definition = SignalDefinition.from_fn(signal)
    if definition is None:
        message = f"Signal definition not found on {name_of(signal)}, is it decorated with @workflow.signal?"
        raise RuntimeError(message)
    if definition.name is None:
        message = "Cannot invoke dynamic signal definition"
        raise RuntimeError(message)
    return definition.name


def _dynamic_takes_varargs(
    fn: Callable[..., Any], arg_types: list[type] | None, *, is_method: bool
) -> bool:
    """Check a dynamic handler's parameters; True for the old `*args` form."""
    parameters = list(inspect.signature(fn).parameters.values())
    expected = 3 if is_method else 2
    if (
        len(parameters) == expected
        and parameters[-2].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        and parameters[-1].kind is inspect.Parameter.VAR_POSITIONAL
    ):
        return True
    if not arg_types or arg_types[0] is not str or not is_raw_values(arg_types[-1]):
        message = (
            f"Dynamic handler {name_of(fn)} must have 3 arguments: self, str, and Sequence[RawValue]"
            if is_method
            else f"Dynamic handler {name_of(fn)} must have 2 arguments: str and Sequence[RawValue]"
        )
        raise RuntimeError(message)
    return False
