"""References to functions that were bound before the functions were replaced.

`from time import time`, `field(default_factory=time.time)` and `{"now": datetime.now}` keep the original: neither the
guard nor the pinned asyncio functions would see its calls. So the first run that a worker hosts looks for such
references and puts the replacements there, which behave like the originals outside workflows. The garbage collector
knows who refers to a function; this takes tens of milliseconds, once for each set of replacements.

| Holder | How |
|---|---|
| modules, classes, tables, lists, closures, default arguments, `dataclasses.Field` and the like | replaced |
| partial functions | given the replacement |
| tuples, static methods | made anew, and the references to them are replaced |
| pydantic models, data classes and adapters | their compiled schema is made anew |

Left out: this library, whose bound originals are meant, and modules that wait in real time (`_REAL_TIME`).
Not here: references that the garbage collector does not know.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import sys
from types import BuiltinFunctionType, CellType, FunctionType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, cast

from perdure.core import capi
from perdure.worker.host import compiled

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger(__name__)

_replacements: dict[int, tuple[Any, Any]] = {}
_class_methods: dict[tuple[type, str], None] = {}
_done: dict[type, int] = {}
_all_done = 0

_REAL_TIME = frozenset(
    (
        "asyncio", "concurrent", "logging", "multiprocessing", "perdure", "queue", "selectors", "socketserver",
        "subprocess", "threading",
    )
)  # fmt: skip
_DEPTH = 4
"""How many containers that cannot be changed may lie around a reference."""


def replaced(original: Any, replacement: Any) -> None:
    """Note that a function of the standard library has been replaced."""
    # The original is kept as well: its id must not be used again.
    _replacements[id(original)] = (original, replacement)


def replaced_in_class(cls: type, name: str) -> None:
    """Note that a method that is written in C has been replaced in its class."""
    _class_methods[cls, name] = None


def rebind(cls: type) -> list[str]:
    """Bind the replacements in the modules of a class and its bases; the names that were bound.

    Done once per class and set of replacements. A module that is loaded late may still have found an original.
    """
    if _done.get(cls) == len(_replacements):
        return []
    _done[cls] = len(_replacements)
    bound: list[str] = []
    for name in dict.fromkeys(base.__module__ for base in cls.__mro__):
        module = sys.modules.get(name)
        if module is None or name == "builtins" or name.startswith("perdure."):
            continue
        for attribute, value in list(vars(module).items()):
            found = _replacements.get(id(value))
            if found is not None:
                setattr(module, attribute, found[1])
                bound.append(f"{name}.{attribute}")
    return bound


def rebind_everywhere() -> None:
    """Put the replacements wherever the originals are referred to; once per set of replacements."""
    global _all_done  # noqa: PLW0603  # once per process
    size = len(_replacements) + len(_class_methods)
    if size == _all_done:
        return
    _all_done = size
    table = _Table(_replacements)
    table.update(_bound_methods())
    rebound: dict[int, tuple[Any, Any]] = {}
    for _ in range(_DEPTH):
        rebound |= table
        table = _replace(table)
        if not table:
            break
    compiled.rebuild(rebound)


class _Table(dict[int, tuple[Any, Any]]):
    """Objects and what replaces them, by the ids of the objects. A type of its own, so that it is not rebound."""


def _bound_methods() -> Iterator[tuple[int, tuple[Any, Any]]]:
    """Objects such as `datetime.now`: each time that one is asked for, it is made anew."""
    originals = {
        original: replacement
        for original, replacement in _replacements.values()
        if isinstance(original, BuiltinFunctionType)
    }
    for each in gc.get_objects():
        if type(each) is not BuiltinFunctionType:
            continue
        owner: Any = each.__self__
        if each in originals:
            yield id(each), (each, originals[each])
            continue
        for cls, name in _class_methods:
            is_its_own = (
                issubclass(owner, cls) if isinstance(owner, type) else isinstance(owner, cls)
            )
            if is_its_own and each.__name__ == name:
                yield id(each), (each, getattr(owner, name))


def _own_cells() -> set[int]:
    """The cells in which the replacements keep the originals."""
    functions = (getattr(new, "__func__", new) for _, new in _replacements.values())
    return {id(cell) for each in functions for cell in getattr(each, "__closure__", None) or ()}


def _replace(table: _Table) -> _Table:
    """Replace references; what could not be changed, and what it is to be replaced by, is returned."""
    originals = [original for original, _ in table.values()]
    ours = {id(originals), *map(id, table.values()), *_own_cells()}
    made = _Table()
    for holder in gc.get_referrers(*originals):
        if id(holder) in ours or isinstance(holder, _Table):
            continue
        new = _changed(holder, table)
        if new is not None:
            made[id(holder)] = (holder, new)
    return made


def _changed(holder: Any, table: _Table) -> Any:
    """Replace what a holder refers to; what replaces the holder, if it cannot be changed itself."""
    new: Any = None
    if isinstance(holder, dict):
        _change_dict(cast("dict[Any, Any]", holder), table)
    elif isinstance(holder, list):
        items = cast("list[Any]", holder)
        items[:] = [_of(table, item) for item in items]
    elif isinstance(holder, CellType):
        holder.cell_contents = _of(table, holder.cell_contents)
    elif isinstance(holder, FunctionType):
        if _top(holder.__module__) not in _REAL_TIME:
            holder.__defaults__ = _of(table, holder.__defaults__)
    elif isinstance(holder, functools.partial):
        _change_partial(cast("Any", holder), table)
    elif type(holder) is tuple:
        new = tuple(_of(table, item) for item in cast("tuple[Any, ...]", holder))
    elif type(holder) is staticmethod:
        new = _of(table, cast("Any", holder).__func__)
        if not hasattr(new, "__func__"):
            new = cast("Any", staticmethod)(new)
    else:
        _change_slots(holder, table)
    return new


def _of(table: _Table, value: Any) -> Any:
    found = table.get(id(value))
    return value if found is None else found[1]


def _top(module: Any) -> str:
    return str(module).partition(".")[0]


def _change_dict(holder: dict[Any, Any], table: _Table) -> None:
    if _top(holder.get("__name__" if "__spec__" in holder else "__module__")) in _REAL_TIME:
        return
    owner = None
    if (
        "__module__" in holder and "__doc__" in holder
    ):  # a class: its attributes are cached elsewhere
        owner = next((each for each in gc.get_referrers(holder) if isinstance(each, type)), None)
    for key, value in list(holder.items()):
        if id(value) not in table or key == "__wrapped__":
            continue
        if owner is None:
            holder[key] = _of(table, value)
        else:
            with contextlib.suppress(TypeError):  # a class of an extension that nobody can change
                setattr(owner, key, _of(table, value))


def _change_partial(holder: Any, table: _Table) -> None:
    function, args, keywords, attributes = holder.__reduce__()[2]
    args = tuple(_of(table, each) for each in _of(table, args))
    holder.__setstate__((_of(table, function), args, keywords, attributes))


def _change_slots(holder: Any, table: _Table) -> None:
    for kind in type(holder).__mro__:
        for name, slot in list(vars(kind).items()):
            if not isinstance(slot, MemberDescriptorType):
                continue
            value = getattr(holder, name, None)
            if id(value) not in table:
                continue
            try:
                slot.__set__(holder, _of(table, value))
            except (
                AttributeError,
                TypeError,
            ):  # read-only, as the default factory of a msgspec struct
                if not capi.replace_member(holder, value, _of(table, value)):
                    _log.warning(
                        "The calls of %s by a %s are not seen inside workflows", value, kind
                    )
