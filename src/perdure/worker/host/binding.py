"""References to functions that were bound before the functions were replaced.

`from time import time`, `field(default_factory=time.time)` and `{"now": datetime.now}` keep the original, so the guard
and the asyncio replacements would not see its calls. Before a worker runs its first workflow, it therefore searches for
such references and overwrites them with the replacements, which behave like the originals outside workflows. The
garbage collector finds the objects that refer to a function. The search takes tens of milliseconds, once for each set
of replacements.

| Holder | How |
|---|---|
| modules, classes, tables, lists, closures, default arguments, `dataclasses.Field` and the like | replaced |
| partial functions | changed in place |
| tuples, static methods | rebuilt, and the references to them are replaced |
| pydantic models, data classes and adapters | their schema is compiled again |

The search sees every object of the process, including lazy objects and dead proxies. It therefore uses `type()` instead
of `isinstance`, which reads `__class__`, and calls no method that a subclass may have overridden.

Skipped: this library, which needs the originals, and modules that wait in real time (`_REAL_TIME`).
Not here: references that the garbage collector does not track.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import sys
import threading
from types import BuiltinFunctionType, CellType, FunctionType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, cast

from perdure.core import capi
from perdure.worker.host import compiled

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger(__name__)

_class_methods: dict[tuple[type, str], None] = {}
_done: dict[type, int] = {}
_all_done = 0
_lock = threading.RLock()
_dict: Any = dict
_list: Any = list
_partial: Any = functools.partial

_REAL_TIME = frozenset(
    (
        "asyncio", "concurrent", "logging", "multiprocessing", "perdure", "queue", "selectors", "socketserver",
        "subprocess", "threading",
    )
)  # fmt: skip
_UNSEEN = "The determinism guard does not see calls of %s through a %s"
_DEPTH = 4
"""How many levels of immutable containers may surround a reference."""


class _Table(dict[int, tuple[Any, Any]]):
    """Objects and their replacements, by the ids of the objects. Of its own type, so that it is not rebound itself."""


_replacements = _Table()


def replaced(original: Any, replacement: Any) -> None:
    """Record that a function of the standard library has been replaced."""
    # Keep the original alive, so that its id is not reused.
    _replacements[id(original)] = (original, replacement)


def replaced_in_class(cls: type, name: str) -> None:
    """Record that a method written in C has been replaced in its class."""
    _class_methods[cls, name] = None


def rebind(cls: type) -> list[str]:
    """Bind the replacements in the modules of a class and its bases. Returns the names that were bound.

    Done once per class and set of replacements, because a module that is imported late may have bound an original.
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
    """Replace all references to the originals. Done once per set of replacements."""
    global _all_done  # noqa: PLW0603  # once per process
    if len(_replacements) + len(_class_methods) == _all_done:
        return
    with _lock:
        size = len(_replacements) + len(_class_methods)
        if size == _all_done:
            return
        table = _Table(_replacements)
        table.update(_bound_methods())
        for _ in range(_DEPTH):
            _rebound.update(table)
            table = _replace(table)
            if not table:
                break
        compiled.rebuild(_rebound)
        _rebound.clear()
        _all_done = size


_rebound = _Table()
"""What the search has replaced so far. After a search that failed, schemas may refer to these replacements."""


def _bound_methods() -> Iterator[tuple[int, tuple[Any, Any]]]:
    """Objects such as `datetime.now`, which are created on each attribute access."""
    originals = {
        original: replacement
        for original, replacement in _replacements.values()
        if isinstance(original, BuiltinFunctionType)
    }
    class_methods = {name for _, name in _class_methods}
    builtins = [each for each in gc.get_objects() if type(each) is BuiltinFunctionType]
    for each in builtins:
        if id(each) in _replacements:
            continue  # it is an original
        if id(each) in _rebound:
            yield id(each), _rebound[id(each)]
            continue
        if each in originals:
            yield id(each), (each, originals[each])
            continue
        if each.__name__ not in class_methods:
            continue
        owner: Any = each.__self__
        kind = cast("type[object]", type(owner))
        for cls, name in _class_methods:
            if each.__name__ == name and issubclass(owner if issubclass(kind, type) else kind, cls):
                try:
                    new = getattr(owner, name)
                except Exception:  # whatever a subclass raises  # noqa: BLE001
                    _log.warning(_UNSEEN, name, kind, exc_info=True)
                else:
                    yield id(each), (each, new)


def _own_cells() -> set[int]:
    """The cells in which the replacements keep the originals."""
    functions = (getattr(new, "__func__", new) for _, new in _replacements.values())
    return {id(cell) for each in functions for cell in getattr(each, "__closure__", None) or ()}


def _replace(table: _Table) -> _Table:
    """Replace references. Returns the holders that cannot be changed themselves, with their replacements."""
    originals = [original for original, _ in table.values()]
    ours = {id(originals), *map(id, table.values()), *_own_cells()}
    made = _Table()
    for holder in gc.get_referrers(*originals):
        kind = cast("type[object]", type(holder))
        if id(holder) in ours or kind is _Table:
            continue
        try:
            new = _changed(holder, table)
        except Exception:  # whatever a metaclass raises  # noqa: BLE001
            _log.warning(
                "A %s keeps a reference to a function that was replaced", kind, exc_info=True
            )
            continue
        if new is not None:
            made[id(holder)] = (holder, new)
    return made


def _changed(holder: Any, table: _Table) -> Any:
    """Replace what a holder refers to. Returns a replacement for the holder if it cannot be changed itself."""
    new: Any = None
    kind = cast("type[object]", type(holder))
    if issubclass(kind, dict):
        _change_dict(holder, table)
    elif issubclass(kind, list):
        items = [_of(table, item) for item in _list.__iter__(holder)]
        _list.__setitem__(holder, slice(None), items)
    elif kind is CellType:
        holder.cell_contents = _of(table, holder.cell_contents)
    elif kind is FunctionType:
        if _top(holder.__module__) not in _REAL_TIME:
            holder.__defaults__ = _of(table, holder.__defaults__)
    elif issubclass(kind, _partial):
        _change_partial(holder, table)
    elif kind is tuple:
        new = tuple(_of(table, item) for item in holder)
    elif kind is staticmethod:
        new = _of(table, holder.__func__)
        if not hasattr(new, "__func__"):
            new = cast("Any", staticmethod)(new)
    else:
        _change_slots(holder, table)
    return new


def _of(table: _Table, value: Any) -> Any:
    found = table.get(id(value))
    return value if found is None else found[1]


def _top(module: Any) -> str:
    return module.partition(".")[0] if type(module) is str else ""


def _change_dict(holder: dict[Any, Any], table: _Table) -> None:
    has = functools.partial(_dict.__contains__, holder)
    if _top(_dict.get(holder, "__name__" if has("__spec__") else "__module__")) in _REAL_TIME:
        return
    owner: Any = None
    if has("__module__") and has("__doc__"):  # a class: its attributes are cached elsewhere
        referrers = gc.get_referrers(holder)
        owner = next((each for each in referrers if issubclass(type(each), type)), None)
    for key, value in list(_dict.items(holder)):
        if id(value) not in table or (type(key) is str and key == "__wrapped__"):
            continue
        if owner is None:
            _dict.__setitem__(holder, key, _of(table, value))
        else:
            with contextlib.suppress(TypeError):  # an immutable class of an extension module
                setattr(owner, key, _of(table, value))


def _change_partial(holder: Any, table: _Table) -> None:
    function, args, keywords, attributes = _partial.__reduce__(holder)[2]
    args = tuple(_of(table, each) for each in _of(table, args))
    state = (_of(table, function), args, keywords, attributes)
    _partial.__setstate__(holder, state)


def _change_slots(holder: Any, table: _Table) -> None:
    for kind in type(holder).__mro__:
        for slot in list(vars(kind).values()):
            if type(slot) is not MemberDescriptorType:
                continue
            try:
                value = slot.__get__(holder, kind)
            except (AttributeError, TypeError):  # empty, or the slot of another class
                continue
            if id(value) not in table:
                continue
            try:
                slot.__set__(holder, _of(table, value))
            except (
                AttributeError,
                TypeError,
            ):  # read-only, as the default factory of a msgspec struct
                if not capi.replace_member(holder, value, _of(table, value)):
                    _log.warning(_UNSEEN, value, kind)
