"""Questions about callables and arguments that several modules of the vocabulary ask.

Not here: definitions of workflows and handlers (`_definition`, `_handlers`).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast, get_args, get_origin

from perdure.common import RawValue
from perdure.common.signatures import parameters_of

if TYPE_CHECKING:
    from collections.abc import Callable


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether calling `fn` gives a coroutine (also for instances with an async `__call__`)."""
    if inspect.iscoroutinefunction(fn):
        return True
    call = getattr(fn, "__call__", None)  # the method itself, not its result  # noqa: B004
    return inspect.iscoroutinefunction(call)


def name_of(fn: Callable[..., Any]) -> str:
    """The plain name of a function, method or callable instance, for messages and defaults."""
    return cast("str", getattr(fn, "__name__", type(fn).__name__))


def is_defined_on(fn: Callable[..., Any], cls: type) -> bool:
    """Whether `fn` is a plain function written in the body of `cls` itself, not inherited."""
    return (
        inspect.isfunction(fn)
        and inspect.getmodule(fn) is inspect.getmodule(cls)
        and fn.__qualname__.rsplit(".", 1)[0] == cls.__name__
    )


def is_raw_values(hint: object) -> bool:
    """Whether a type hint is `Sequence[RawValue]`, from `typing` or from `collections.abc`."""
    return get_origin(hint) is Sequence and get_args(hint) == (RawValue,)


def same_parameters(left: Callable[..., Any], right: Callable[..., Any]) -> bool:
    """Whether two functions take the same parameters, apart from their names."""

    def shape(fn: Callable[..., Any]) -> list[inspect.Parameter]:
        return [p.replace(name="x") for p in inspect.signature(fn).parameters.values()]

    return shape(left) == shape(right)


def positional_arity(fn: Callable[..., Any], *, bound: bool) -> tuple[int, int | None]:
    """Fewest and most positional arguments of `fn`; the most is None for `*args`.

    Args:
        fn: The function.
        bound: Whether the first parameter (`self`) is supplied elsewhere.
    """
    fewest, most = 0, 0
    for parameter in parameters_of(fn):
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            return max(0, fewest - bound), None
        if parameter.kind in {
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        }:
            most += 1
            fewest += parameter.default is inspect.Parameter.empty
    return max(0, fewest - bound), most - bound


def arity_text(fewest: int, most: int | None) -> str:
    """How many arguments that is, for messages."""
    if most == fewest:
        return str(fewest)
    return f"{fewest} to {'any number' if most is None else most}"
