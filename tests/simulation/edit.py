"""Replaces a piece of the source of one function of the server, for the length of a block.

Invariant: the old text occurs exactly once. When the server changes, the edits in `guards` change with it.
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
        owner: The class or module of the function.
        name: The name of the function.
        old: A piece of its source.
        new: The replacement.
    """

    owner: type | ModuleType
    name: str
    old: str
    new: str

    def changed(self) -> tuple[Any, Any]:
        """The original function and the changed one."""
        original = vars(self.owner)[self.name]
        source = textwrap.dedent(inspect.getsource(original))
        assert source.count(self.old) == 1, (
            f"{self.name}: {source.count(self.old)} occurrences of {self.old}"
        )
        text = "from __future__ import annotations\n" + source.replace(self.old, self.new)
        module = sys.modules[original.__module__]
        made: dict[str, Any] = {}
        exec(compile(text, f"<{self.name} changed>", "exec"), vars(module), made)
        return original, made[self.name]

    @contextmanager
    def in_force(self) -> Generator[None]:
        """Use the changed function, in every module that imported the original."""
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
