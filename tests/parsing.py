"""No garbage is collected while Python source is parsed.

pytest parses what it imports, and a finalizer that logs a traceback parses as well: a task of an ended workflow whose
exception nobody retrieved does so, in whatever test the collector runs. CPython before 3.11.8 and 3.12.2 then raises
`SystemError: AST constructor recursion depth mismatch` (python/cpython#106905), in a test that is not concerned.
"""

from __future__ import annotations

import ast
import functools
import gc
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import pytest

P = ParamSpec("P")
R = TypeVar("R")


def without_collection(function: Callable[P, R]) -> Callable[P, R]:
    """The function, during which the collector is off."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            return function(*args, **kwargs)
        finally:
            if was_enabled:
                gc.enable()

    return wrapper


def pytest_configure(config: pytest.Config) -> None:
    """Wrap `ast.parse` until the session ends."""
    original = ast.parse
    ast.parse = without_collection(original)

    def restore() -> None:
        ast.parse = original

    config.add_cleanup(restore)
