"""Reads user callables: positional arguments, their types, the type of the result.

For the library only (client, worker, workflow, activity). Nothing here calls user code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final, get_type_hints
from weakref import WeakKeyDictionary

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Unset:
    """The type of `UNSET`."""

    def __repr__(self) -> str:
        return "<unset>"


UNSET: Final[Any] = Unset()
"""Default of `arg` parameters, where None is a legitimate argument."""


def arg_or_args(arg: Any, args: Sequence[Any]) -> Sequence[Any]:
    """The arguments of a call that has `arg` and `args`.

    Raises:
        ValueError: Both were given.
    """
    if arg is UNSET:
        return args
    if args:
        raise ValueError("Cannot have arg and args")
    return [arg]


def _underlying_function(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn`, or the user's `__call__` when `fn` is a class or a callable object.

    The `__call__` of functions, methods and builtins is not written in Python, so they stay themselves.
    """
    cls: type = fn if isinstance(fn, type) else type(fn)
    call = getattr(cls, "__call__", None)  # noqa: B004 - the function itself is wanted
    return call if inspect.isfunction(call) else fn


def has_self(fn: Callable[..., Any]) -> bool:
    """Whether the first parameter is an unannotated (or `Self`) parameter called `self`."""
    first = next(iter(inspect.signature(fn).parameters.values()), None)
    return first is not None and _is_self(first)


def _is_self(parameter: inspect.Parameter) -> bool:
    return parameter.name == "self" and (
        parameter.annotation is inspect.Parameter.empty
        or str(parameter.annotation) in {"typing.Self", "Self"}
    )


def type_hints_from_func(fn: Callable[..., Any]) -> tuple[list[type] | None, type | None]:
    """The types of `fn`'s positional parameters, and of its result.

    `self` is left out, and parameters that cannot be given by position. A parameter without annotation has the type
    None (no conversion); so has the result.

    Raises:
        NameError: An annotation names something that its module does not have.
    """
    fn = _underlying_function(fn)
    known = _hints.get(fn) if inspect.isfunction(fn) else None
    if known is None:
        known = _type_hints(fn)
        if inspect.isfunction(fn):
            _hints[fn] = known
    argument_types, result = known
    return None if argument_types is None else list(argument_types), result


# Every start and every step asks; asking `inspect` each time was a tenth of a worker's CPU time. Weak: closures may go.
_hints: WeakKeyDictionary[Callable[..., Any], tuple[Sequence[type] | None, type | None]] = (
    WeakKeyDictionary()
)
_parameters: WeakKeyDictionary[Callable[..., Any], Sequence[inspect.Parameter]] = (
    WeakKeyDictionary()
)


def parameters_of(fn: Callable[..., Any]) -> Sequence[inspect.Parameter]:
    """The parameters of `inspect.signature`, remembered for plain functions."""
    if not inspect.isfunction(fn):
        return tuple(inspect.signature(fn).parameters.values())
    found = _parameters.get(fn)
    if found is None:
        found = _parameters[fn] = tuple(inspect.signature(fn).parameters.values())
    return found


def _type_hints(fn: Callable[..., Any]) -> tuple[Sequence[type] | None, type | None]:
    hints = get_type_hints(fn)
    result: type | None = hints.get("return")
    argument_types: list[type] = []
    for index, parameter in enumerate(parameters_of(fn)):
        if index == 0 and _is_self(parameter):
            continue
        if parameter.kind not in POSITIONAL:
            continue  # `*args` have their own type, and the others cannot be given by position
        argument_types.append(hints.get(parameter.name))  # pyright: ignore[reportArgumentType]
    return argument_types, result


def types_of_arguments(
    fn: Callable[..., Any], types: list[type] | None, count: int
) -> list[type] | None:
    """A type for each of `count` arguments: some may have been left out, and `*args` may take any number.

    Args:
        fn: The function that is called with them.
        types: Those of its positional parameters; None when unknown.
        count: Of the arguments that were given.
    """
    if types is None or len(types) == count:
        return types
    if len(types) > count:
        return types[:count]
    rest = next((p for p in parameters_of(fn) if p.kind is inspect.Parameter.VAR_POSITIONAL), None)
    hint = None if rest is None else get_type_hints(_underlying_function(fn)).get(rest.name)
    return [*types, *([hint] * (count - len(types)))]  # pyright: ignore[reportReturnType]


def check_arity(fn: Callable[..., Any], args: Sequence[Any], what: str) -> None:
    """Check that `fn` can be called with `args`, before anything travels.

    Args:
        fn: The user's function; a leading `self` does not count.
        args: The arguments that were given.
        what: What is called, for the message: `"Workflow Greeting"`.

    Raises:
        TypeError: There are too few or too many.
    """
    known = _arities.get(fn) if inspect.isfunction(fn) else None
    if known is None:
        known = _arity(fn)
        if inspect.isfunction(fn):
            _arities[fn] = known
    required, names = known
    if names is None or required <= len(args) <= len(names):
        return
    expected = str(required) if required == len(names) else f"{required} to {len(names)}"
    told = ", ".join(names)
    raise TypeError(f"{what} takes {expected} argument(s) ({told}), but {len(args)} were given")


_arities: WeakKeyDictionary[Callable[..., Any], tuple[int, Sequence[str] | None]] = (
    WeakKeyDictionary()
)


def _arity(fn: Callable[..., Any]) -> tuple[int, Sequence[str] | None]:
    """How many arguments `fn` needs, and the names of all that it takes by position; None: any number."""
    parameters = parameters_of(fn)
    if parameters and _is_self(parameters[0]):
        parameters = parameters[1:]
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return 0, None
    positional = [p for p in parameters if p.kind in POSITIONAL]
    required = sum(p.default is inspect.Parameter.empty for p in positional)
    return required, [p.name for p in positional]
