"""Removing a guard: one function of the server with one piece of its text replaced, for a while.

Invariant: the text must be there exactly once. When the server changes, its guards here change with it.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast


@dataclass(frozen=True)
class Edit:
    """A change of source text.

    Attributes:
        owner: The class or module that has the function.
        name: Of the function.
        old: A piece of its text.
        new: What stands there instead.
    """

    owner: type | ModuleType
    name: str
    old: str
    new: str

    def changed(self) -> tuple[Any, Any]:
        """The function as it is, and as it would be."""
        original = vars(self.owner)[self.name]
        source = textwrap.dedent(inspect.getsource(original))
        assert source.count(self.old) == 1, f"{self.name} has {source.count(self.old)}: {self.old}"
        text = "from __future__ import annotations\n" + source.replace(self.old, self.new)
        module = sys.modules[original.__module__]
        made: dict[str, Any] = {}
        exec(compile(text, f"<{self.name} changed>", "exec"), vars(module), made)
        return original, made[self.name]

    @contextmanager
    def in_force(self) -> Generator[None]:
        """The changed function wherever the server has it."""
        original, changed = self.changed()
        owners: list[Any] = [self.owner]
        if isinstance(self.owner, ModuleType):
            owners = [m for name, m in sys.modules.items() if name.startswith("perdure.")]
        places: list[tuple[Any, str]] = []
        for owner in owners:
            names = cast("dict[str, Any]", vars(owner))
            places += [(owner, name) for name, value in list(names.items()) if value is original]
        try:
            for owner, name in places:
                setattr(owner, name, changed)
            yield
        finally:
            for owner, name in places:
                setattr(owner, name, original)
