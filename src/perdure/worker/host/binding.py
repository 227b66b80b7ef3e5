"""Functions that a workflow's module imported by name before they were replaced.

`from time import time` binds the original function: neither the guard nor the pinned asyncio functions would
see its calls. When a workflow class is first used, such names in the modules of the class and its bases are
bound to the replacements, which behave like the originals outside workflows.

Not here: modules that workflow code merely imports; the audit hook and the replayer catch what matters there.
"""

from __future__ import annotations

import sys
from typing import Any

_replacements: dict[int, tuple[Any, Any]] = {}
_done: dict[type, int] = {}


def replaced(original: Any, replacement: Any) -> None:
    """Note that a function of the standard library has been replaced."""
    # The original is kept as well: its id must not be used again.
    _replacements[id(original)] = (original, replacement)


def rebind(cls: type) -> list[str]:
    """Bind the replacements in the modules of a class and its bases; the names that were bound.

    Done once per class and set of replacements.
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
