"""Parsing succeeds even if finalizers parse at the same time."""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator

import pytest

from perdure.client import Client
from perdure.worker.host.scan import scan_class

DEPTH = 40
TIMES = 20
SOURCE = "\n".join(f"def f{n}(a=1): return [a, (1, {{'b': a + 1}})]" for n in range(50))


def parse_deeper(depth: int) -> None:
    """Parse on a deeper stack than the interrupted parse, because CPython compares the depths."""
    if depth:
        parse_deeper(depth - 1)
    else:
        compile("a + b", "<finalizer>", "exec", ast.PyCF_ONLY_AST)


class Garbage:
    """A reference cycle whose finalizer parses, like one that logs a traceback."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        parse_deeper(DEPTH)


@pytest.fixture(autouse=True)
def frequent_collections() -> Iterator[None]:
    thresholds = gc.get_threshold()
    gc.set_threshold(50)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def test_source_is_parsed_while_there_is_garbage():
    for _ in range(TIMES):
        Garbage()
        assert len(ast.parse(SOURCE).body) == 50
    assert gc.isenabled()


def test_a_workflow_is_read_while_there_is_garbage(monkeypatch: pytest.MonkeyPatch):
    original = vars(ast.parse)["__wrapped__"]
    monkeypatch.setattr(ast, "parse", original)  # outside of pytest nothing wraps it
    for _ in range(TIMES):
        Garbage()
        findings = scan_class(Client)  # a long class
        assert gc.isenabled()
        assert findings == []


def test_the_collector_stays_off_when_it_was_off():
    gc.disable()
    try:
        ast.parse(SOURCE)
        scan_class(Garbage)
        assert not gc.isenabled()
    finally:
        gc.enable()
