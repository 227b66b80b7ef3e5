"""The files and functions of the package stay small, and no file is a fragment.

Overloads and docstrings do not count: nothing should be left undescribed to stay below a limit.

`RATCHET_FILES` and `RATCHET_FUNCTIONS` list the exceptions with their sizes. When one shrinks or disappears, its entry
must be updated, so that it cannot grow again. A new entry needs a reason beside it.
"""

from __future__ import annotations

import ast
import textwrap

from tests.tidy import source

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
FILE_LINES_MIN = 40

# Accepted reasons: tables of constants, and official signatures that we mirror.
RATCHET_FILES: dict[str, int] = {}
RATCHET_FUNCTIONS: dict[str, int] = {}


# Files of fewer lines, each with the reason why it is a file of its own. `__init__` and `__main__` need none.
SHORT_FILES: dict[str, str] = {
    "activity/cancellation.py": "a value that activities and clients share, below both",
    "core/backoff.py": "one rule that server and worker share",
    "core/units.py": "constants that every package uses",
    "entity/env.py": "one noun, below every entity",
    "history/draft/transition.py": "one noun, below the draft and all that return one",
    "history/families.py": "the list of the families, above them all",
    "history/state/fold/timer.py": "one noun, as the other families of events",
    "history/state/pointer.py": "one noun, a kind of entity of its own",
    "server/common/entity_types.py": "the list of the built-in kinds",
    "server/frontend/call.py": "one noun, below all handlers",
    "wire/descriptors.py": "loaded for reflection only",
}


def test_files_are_small():
    sizes = {
        m.shown: m.text.count("\n") - source.overload_lines(m.tree) - source.docstring_lines(m.tree)
        for m in source.modules()
    }
    assert _over(sizes, FILE_LINES_MAX, RATCHET_FILES) == []


def test_short_files_have_a_reason():
    sizes = {
        str(m.path.relative_to(source.PACKAGE)): m.text.count("\n")
        for m in source.modules()
        if m.path.name not in {"__init__.py", "__main__.py"}
    }
    assert _short(sizes, SHORT_FILES) == []


def _short(sizes: dict[str, int], reasons: dict[str, str]) -> list[str]:
    short = {name for name, size in sizes.items() if size < FILE_LINES_MIN}
    return [
        *(
            f"{name} has {sizes[name]} lines: merge it with the file of its concept, or give a reason"
            for name in sorted(short - reasons.keys())
        ),
        *(
            f"{name} is not a short file: remove its entry"
            for name in sorted(reasons.keys() - short)
        ),
    ]


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


def test_fragments_are_reported():
    assert _short({"a": 39, "b": 40, "c": 1}, {"c": "one noun"}) == [
        "a has 39 lines: merge it with the file of its concept, or give a reason"
    ]
    assert _short({"a": 40}, {"a": "grown", "b": "gone"}) == [
        "a is not a short file: remove its entry",
        "b is not a short file: remove its entry",
    ]


def test_overloads_are_measured_with_their_decorators():
    tree = ast.parse(
        textwrap.dedent(
            """
            @overload
            def outer(a: int) -> int: ...
            class C:
                @overload
                def inner(
                    a: int,
                ) -> int: ...
                def inner(a): return a
            """
        )
    )
    assert source.overload_lines(tree) == 6


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
