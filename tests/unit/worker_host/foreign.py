"""Objects that raise, or take note, when a search through all objects looks at them."""

from __future__ import annotations

import weakref
from typing import Any

from typing_extensions import override

EVALUATED: list[str] = []


class Lazy:
    """Evaluated on any access, even to its class, as Django's lazy settings are."""

    __slots__ = ("__weakref__", "held")

    @override
    def __getattribute__(self, name: str) -> Any:
        EVALUATED.append(name)
        return object.__getattribute__(self, name)

    @override
    def __str__(self) -> str:
        EVALUATED.append("str")
        return "text"

    @override
    def __eq__(self, other: object) -> bool:
        EVALUATED.append("==")
        return self is other

    @override
    def __hash__(self) -> int:
        return 1


def _refuse(_self: object) -> Any:
    raise RuntimeError("not configured")


class Raising:
    """Not configured: its class cannot be asked for."""

    __slots__ = ("__weakref__", "held")

    locals()["__class__"] = property(_refuse)


class Unseen(type):
    """Makes classes whose attributes cannot be asked for."""

    locals()["__dict__"] = property(_refuse)


class LazyDict(dict[Any, Any]):
    """Calls what it holds, whenever something is asked for."""

    def _evaluated(self, *_args: Any) -> Any:
        EVALUATED.append("dict")

    get = items = values = __iter__ = __contains__ = __getitem__ = __setitem__ = _evaluated


class LazyList(list[Any]):
    def _evaluated(self, *_args: Any) -> Any:
        EVALUATED.append("list")

    __iter__ = __getitem__ = __setitem__ = _evaluated


def dead_proxy() -> Any:
    """A proxy that outlived what it stands for."""
    return weakref.proxy(Raising())


def held_by(kind: Any, value: Any) -> Any:
    holder = kind()
    kind.held.__set__(holder, value)
    return holder
