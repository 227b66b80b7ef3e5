"""The files and functions of the package stay small.

`RATCHET_FILES` and `RATCHET_FUNCTIONS` list the exceptions with their sizes. When one shrinks or disappears, its entry
must be updated, so that it cannot grow again. A new entry needs a reason beside it.
"""

from __future__ import annotations

import ast
import textwrap

from tests.tidy import source

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60

# Accepted reasons: tables of constants, and official signatures that we mirror.
RATCHET_FILES: dict[str, int] = {}
RATCHET_FUNCTIONS: dict[str, int] = {}


def test_files_are_small():
    sizes = {m.shown: m.text.count("\n") for m in source.modules()}
    assert _over(sizes, FILE_LINES_MAX, RATCHET_FILES) == []


def test_functions_are_small():
    sizes: dict[str, int] = {}
    for module in source.modules():
        for name, _, lines in source.functions(module.tree):
            key = f"{module.shown}::{name}"
            sizes[key] = max(lines, sizes.get(key, 0))  # overloads share a name
    assert _over(sizes, FUNCTION_LINES_MAX, RATCHET_FUNCTIONS) == []


def _over(sizes: dict[str, int], limit: int, ratchet: dict[str, int]) -> list[str]:
    problems: list[str] = []
    for name, size in sizes.items():
        allowed = ratchet.get(name, limit)
        if size > allowed:
            problems.append(
                f"{name} has {size} lines, at most {allowed}: split it along the domain's seams"
            )
    for name, allowed in ratchet.items():
        size = sizes.get(name, 0)
        if size < allowed:
            problems.append(
                f"{name} has shrunk from {allowed} to {size} lines: lower or remove its ratchet entry"
            )
    return problems


def test_the_ratchet_reports_growth_and_shrinkage():
    assert _over({"a": 401}, 400, {}) == [
        "a has 401 lines, at most 400: split it along the domain's seams"
    ]
    assert _over({"a": 450}, 400, {"a": 460})[0].startswith("a has shrunk from 460 to 450")
    assert _over({"a": 460}, 400, {"a": 460}) == []
    assert _over({}, 400, {"gone": 460})[0].startswith("gone has shrunk")


def test_how_functions_are_measured():
    tree = ast.parse(
        textwrap.dedent(
            '''
            def outer(
                a,
                b,
            ):
                """Docstring
                of two lines."""
                x = a

                def inner():
                    def innermost():
                        return 1
                    return innermost

                return x, inner
            '''
        )
    )
    measured = {name: lines for name, _, lines in source.functions(tree)}
    assert measured == {"outer": 4, "outer.inner": 1, "outer.inner.innermost": 1}
