"""Turns garbage collection off while Python source is parsed.

pytest parses the modules that it imports. A finalizer that logs a traceback parses as well, for example when a task of
an ended workflow has an exception that was never retrieved. If the collector runs such a finalizer during a parse,
CPython before 3.11.8 and 3.12.2 raises `SystemError: AST constructor recursion depth mismatch`
(python/cpython#106905), in whichever test happens to run.
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
    """Wrap a function so that the collector is off during each call."""

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
