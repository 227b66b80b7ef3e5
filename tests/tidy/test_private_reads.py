"""Tests reach into private attributes of other objects less and less.

What a test needs of an object is a part of its interface: a public attribute or a hook with a docstring. Such names
also survive changes of the inside, which the tests of behaviour should.
"""

from __future__ import annotations

import ast
import textwrap

from tests.tidy import source

READS_MAX = 311
"""The ceiling: lower it when reads have gone. Do not raise it."""
READS_SLACK = 10
"""So many fewer may there be before the ceiling must be lowered."""

_OF_NAMED_TUPLES = frozenset({"_asdict", "_fields", "_make", "_replace"})
_OWN = frozenset({"self", "cls"})
_OF_PYTHON = frozenset({"os", "sys"})


def private_reads(tree: ast.Module) -> list[str]:
    """`line .name` of each use of a private attribute of another object."""
    return [
        f"{node.lineno} .{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and node.attr not in _OF_NAMED_TUPLES
        and not (isinstance(node.value, ast.Name) and node.value.id in _OWN | _OF_PYTHON)
    ]


def test_private_reads_become_fewer():
    found = [
        f"{path.relative_to(source.ROOT)}:{read}"
        for path in source.tracked_files()
        if path.suffix == ".py" and path.is_relative_to(source.ROOT / "tests")
        for read in private_reads(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert len(found) <= READS_MAX, (
        f"{len(found)} private reads, at most {READS_MAX}: use a public attribute or a hook instead"
    )
    assert len(found) >= READS_MAX - READS_SLACK, f"lower READS_MAX to {len(found)}"


def test_what_counts_as_a_private_read():
    tree = ast.parse(
        textwrap.dedent(
            """
            class Test:
                def test(self, other):
                    self._own = other._read
                    other._written = 1
                    other.public._deep()
                    row._replace(a=1)
                    other.__dict__
                    os._exit(0)
            """
        )
    )
    assert sorted(private_reads(tree)) == ["4 ._read", "5 ._written", "6 ._deep"]
