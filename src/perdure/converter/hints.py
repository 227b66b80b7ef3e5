"""What the parts of a generic type are: fields, type variables and element types, as `typed` asks for them.

Role: `Box[Item]` has a field whose annotation is `T`. This module says that it is an `Item`, also for fields that were
inherited, for named tuples and typed dictionaries, for `Self`, and for aliases of the `type` statement.

Invariants: everything here depends on the hint alone, so answers are cached. Not here: values (`typed`).
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

import typing_extensions

_LITERALS = (Literal, typing_extensions.Literal)
_SELVES: tuple[Any, ...] = (vars(typing)["Self"], vars(typing_extensions)["Self"])
_QUALIFIERS = (
    typing.Final,
    typing.Required,
    typing.NotRequired,
    typing_extensions.ReadOnly,
)
# The statement's class, and the one with which older versions spell it.
_ALIASES: tuple[Any, ...] = (
    typing_extensions.TypeAliasType,
    vars(typing).get("TypeAliasType", typing_extensions.TypeAliasType),
)
HINTS_REMEMBERED_MAX = 1024


class Part(NamedTuple):
    """A field of a dataclass, a named tuple or a typed dictionary."""

    name: str
    hint: Any
    is_init: bool = True


def origin_of(hint: Any) -> Any:
    """The class of a generic alias; any other hint itself."""
    return getattr(hint, "__origin__", hint)


def args_of(hint: Any) -> tuple[Any, ...]:
    """What stands in the brackets of a hint."""
    return getattr(hint, "__args__", ())


def is_union(hint: Any) -> bool:
    """Whether a hint is a union, in either spelling."""
    return origin_of(hint) is typing.Union or isinstance(hint, types.UnionType)


def meant(hint: Any) -> Any:
    """What a hint stands for: without `NewType`, `Annotated`, `Final` and the like, aliases and bounds of variables."""
    while True:
        inner = _meant_once(hint)
        if inner is hint:
            return hint
        hint = inner


def _meant_once(hint: Any) -> Any:
    if (supertype := getattr(hint, "__supertype__", None)) is not None:
        return supertype
    if hasattr(hint, "__metadata__"):
        return hint.__origin__
    if origin_of(hint) in _QUALIFIERS:
        return args_of(hint)[0]
    if isinstance(hint, TypeVar):
        if getattr(hint, "has_default", bool)():
            return getattr(hint, "__default__", Any)
        if hint.__bound__ is not None:
            return _resolved(hint.__bound__, hint.__module__)
        return typing.Union[hint.__constraints__] if hint.__constraints__ else Any  # noqa: UP007 - made at run time
    alias = origin_of(hint)
    if isinstance(alias, _ALIASES):
        return _substituted(
            alias.__value__, dict(zip(alias.__type_params__, args_of(hint), strict=False))
        )
    return hint


def _resolved(bound: Any, module: str) -> Any:
    """The bound of a variable, which may be the name of a class that is defined later."""
    if not isinstance(bound, typing.ForwardRef):
        return bound
    return getattr(sys.modules.get(module), bound.__forward_arg__, Any)


def parts_of(hint: Any) -> tuple[Part, ...]:
    """The fields of a dataclass, a named tuple or a typed dictionary, generic or not.

    Raises:
        NameError: An annotation names something that its module does not have.
    """
    return _cached(_parts)(hint)


def elements_of(hint: Any) -> tuple[Any, ...]:
    """The element types of a collection: of the hint, or of the generic class that its class is made from."""
    return args_of(hint) or _cached(_inherited_elements)(hint)


def _cached(find: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any], tuple[Any, ...]]:
    def found(hint: Any) -> tuple[Any, ...]:
        try:
            return find(hint)
        except TypeError:
            # A hint without hash, such as `Box[Annotated[int, []]]`.
            return find.__wrapped__(hint)  # pyright: ignore[reportFunctionMemberAccess]

    return found


@functools.lru_cache(maxsize=HINTS_REMEMBERED_MAX)
def _parts(hint: Any) -> tuple[Part, ...]:
    cls = origin_of(hint)
    by_class = _variables(hint)
    known = {
        each: _substituted(annotation, {**by_class.get(owner, {}), **dict.fromkeys(_SELVES, hint)})
        for owner in reversed(_lineage(cls))
        for each, annotation in _own_annotations(owner).items()
    }
    if dataclasses.is_dataclass(cls):
        return tuple(
            Part(each.name, known[each.name], each.init) for each in dataclasses.fields(cls)
        )
    names = getattr(cls, "_fields", None) or known
    return tuple(Part(name, known.get(name, Any)) for name in names)


@functools.lru_cache(maxsize=HINTS_REMEMBERED_MAX)
def _inherited_elements(hint: Any) -> tuple[Any, ...]:
    for base in getattr(origin_of(hint), "__orig_bases__", ()):
        if args_of(base) and origin_of(base) is not typing.Generic:
            return args_of(base)
    return ()


def _lineage(cls: Any) -> tuple[type, ...]:
    # A typed dictionary has no bases at run time but those in `__orig_bases__`; its hints hold them all.
    return (cls,) if typing_extensions.is_typeddict(cls) else cls.__mro__


def _own_annotations(owner: type) -> dict[str, Any]:
    own = typing_extensions.get_annotations(owner)
    if not own:
        return {}
    # Bases have type parameters of their own, perhaps of the same name: each class is looked at by itself.
    alone = type(owner.__name__, (), {"__annotations__": own, "__module__": owner.__module__})
    parameters = {each.__name__: each for each in getattr(owner, "__type_params__", ())}
    return typing_extensions.get_type_hints(alone, localns=parameters or None)


def _variables(hint: Any) -> dict[Any, dict[Any, Any]]:
    """For each class of a type's lineage, what its type variables are."""
    found: dict[Any, dict[Any, Any]] = {}
    waiting: list[Any] = [hint]
    while waiting:
        each = waiting.pop()
        cls = origin_of(each)
        if cls in found or not isinstance(cls, type):
            continue
        variables, args = getattr(cls, "__parameters__", ()), args_of(each)
        known = dict(zip(variables, args, strict=True)) if len(variables) == len(args) else {}
        found[cls] = known
        bases = cls.__dict__.get("__orig_bases__", cls.__bases__)
        waiting.extend(_substituted(base, known) for base in bases)
    return found


def _substituted(hint: Any, known: Mapping[Any, Any]) -> Any:
    """`hint`, with what is known in place of type variables."""
    if isinstance(hint, TypeVar) or any(hint is each for each in _SELVES):
        return known.get(hint, hint)
    args = args_of(hint)
    if not args or origin_of(hint) in _LITERALS:
        return hint
    made = tuple(_substituted(each, known) for each in args)
    if all(new is old for new, old in zip(made, args, strict=True)):
        return hint
    if is_union(hint):
        return typing.Union[made]  # noqa: UP007 - made at run time
    if (copy := getattr(hint, "copy_with", None)) is not None:
        return copy(made)
    return origin_of(hint)[made]
