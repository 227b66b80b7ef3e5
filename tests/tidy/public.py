"""The public names and their docstrings, for the tests of the documentation.

A public name is what a public module exports, and each public method and property of an exported class.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import textwrap
from typing import Any, NamedTuple, cast

MODULES = (
    "activity",
    "client",
    "common",
    "converter",
    "embedded",
    "exceptions",
    "service",
    "testing",
    "worker",
    "workflow",
)
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Name(NamedTuple):
    """One public name."""

    shown: str
    """For instance `client.Client.start_workflow`."""
    object: Any
    """The class or function."""
    as_property: Any = None
    """The property of which `object` is the getter, if it is one."""

    @property
    def doc(self) -> str:
        """The docstring, or that of the method that this one overrides. Without indentation."""
        return inspect.getdoc(self.as_property or self.object) or ""

    @property
    def has_own_docstring(self) -> bool:
        return bool(self.object.__doc__)

    def section(self, title: str) -> str | None:
        """The text of a section of the docstring, such as `Raises`; None without one."""
        found = re.search(rf"^{title}:\n((?: {{4}}.*\n?|\n)+)", self.doc, re.MULTILINE)
        return textwrap.dedent(found[1]) if found else None

    @property
    def examples(self) -> list[str]:
        """The code of the docstring's examples."""
        return FENCE.findall((self.section("Example") or "") + "\n")


@functools.cache
def names() -> tuple[Name, ...]:
    found: dict[str, Name] = {}
    seen: set[int] = set()
    for module_name in MODULES:
        module = importlib.import_module(f"perdure.{module_name}")
        for exported in _exported(module):
            value = getattr(module, exported)
            own = str(getattr(value, "__module__", "")).startswith("perdure.")
            if id(value) in seen or not own:
                continue
            if not (inspect.isclass(value) or inspect.isfunction(value)):
                continue
            seen.add(id(value))
            shown = f"{module_name}.{exported}"
            found[shown] = Name(shown, value)
            if inspect.isclass(value):
                found |= {name.shown: name for name in _members(shown, value)}
    return tuple(found.values())


def _exported(module: Any) -> list[str]:
    names = cast("dict[str, Any]", vars(module))
    if "__all__" in names:
        return names["__all__"]
    return [
        name
        for name, value in names.items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def _members(prefix: str, owner: type) -> list[Name]:
    found: list[Name] = []
    for name, member in vars(owner).items():
        inner: Any = member
        if isinstance(member, classmethod | staticmethod):
            inner = cast("Any", member).__func__
        elif isinstance(member, property):
            inner = member.fget
        if not name.startswith("_") and inspect.isfunction(inner):
            found.append(
                Name(f"{prefix}.{name}", inner, member if isinstance(member, property) else None)
            )
    return found
