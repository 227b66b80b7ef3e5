"""Finds tests that assert nothing, and tests that are skipped, in the syntax tree.

A test asserts when it has an `assert` statement, `pytest.raises`, `pytest.warns` or `pytest.fail`; when it calls a
method whose name begins with `assert` or `check`; or when it calls a function in `tests` that asserts. Calls of other
methods do not count, because the method that is called is not known.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import NamedTuple

ASSERTING_CALLS = frozenset({"pytest.raises", "pytest.warns", "pytest.fail"})
ASSERTING_METHODS = ("assert", "check")
SKIPS = frozenset({"skip", "skipif", "importorskip", "xfail"})
"""Functions and marks of pytest."""
SKIPS_OF_UNITTEST = frozenset(
    {"SkipTest", "expectedFailure", "skip", "skipIf", "skipTest", "skipUnless"}
)
IGNORED_FILES = frozenset({"collect_ignore", "collect_ignore_glob", "pytest_ignore_collect"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Named(NamedTuple):
    """A function at the top of a module."""

    module: str
    name: str


class Suite:
    """All modules in `tests`. Calls are followed from a test through its helper functions."""

    def __init__(self, trees: Mapping[str, ast.Module]) -> None:
        self._trees = trees
        self._functions: dict[Named, Function] = {}
        self._imports: dict[Named, Named] = {}
        for module, tree in trees.items():
            for node in tree.body:
                if isinstance(node, Function):
                    self._functions[Named(module, node.name)] = node
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    for alias in node.names:
                        here = Named(module, alias.asname or alias.name)
                        self._imports[here] = Named(node.module, alias.name)

    def without_assertion(self) -> list[str]:
        """`module:line name` of each test that asserts nothing."""
        return [
            f"{module}:{test.lineno} {test.name}"
            for module, tree in self._trees.items()
            if module.rpartition(".")[2].startswith("test_")
            for test in _tests(tree)
            if not self._asserts(module, test, set())
        ]

    def _asserts(self, module: str, function: Function, seen: set[Function]) -> bool:
        seen.add(function)
        if any(isinstance(node, ast.Assert) for node in ast.walk(function)):
            return True
        for call in _calls(function):
            match call.func:
                case ast.Name(id=name):
                    place = Named(module, name)
                    place = self._imports.get(place, place)
                    helper = self._functions.get(place)
                    if (
                        helper is not None
                        and helper not in seen
                        and self._asserts(place.module, helper, seen)
                    ):
                        return True
                case ast.Attribute(attr=name):
                    if (
                        name.startswith(ASSERTING_METHODS)
                        or ast.unparse(call.func) in ASSERTING_CALLS
                    ):
                        return True
                case _:
                    pass
        return False


def _tests(tree: ast.Module) -> Iterator[Function]:
    """The functions and methods that pytest collects; functions inside functions are none of them."""
    for node in tree.body:
        for each in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(each, Function) and each.name.startswith("test"):
                yield each


def _calls(function: Function) -> Iterator[ast.Call]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            yield node


def skips(tree: ast.Module) -> list[tuple[int, str]]:
    """(line, what) of everything in a module that skips tests or expects them to fail."""
    return [(line, what) for node in ast.walk(tree) for line, what in _skips(node)]


def _skips(node: ast.AST) -> Iterator[tuple[int, str]]:
    match node:
        case ast.Attribute(value=ast.Name(id="pytest" | "mark") | ast.Attribute(attr="mark")):
            if node.attr in SKIPS:
                yield node.lineno, ast.unparse(node)
        case ast.Attribute(value=ast.Name(id="unittest" | "self")):
            if node.attr in SKIPS_OF_UNITTEST:
                yield node.lineno, ast.unparse(node)
        case ast.ImportFrom(module="pytest" | "unittest" | "unittest.case", names=aliases):
            for alias in aliases:
                if alias.name in SKIPS | SKIPS_OF_UNITTEST:
                    yield node.lineno, f"{node.module}.{alias.name}"
        case ast.Name(id=name) | ast.FunctionDef(name=name):
            if name in IGNORED_FILES:
                yield node.lineno, name
        case _:
            pass
