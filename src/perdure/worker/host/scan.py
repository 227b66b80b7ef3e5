"""Pitfalls that only source code shows: `datetime.now()`, module state, unordered iteration.

`datetime.now` is a method of a C type and leaves no trace at run time, so the workflow's class is read once,
when its worker starts. Names are resolved through the module's real globals: `from datetime import datetime as
dt` is found, a variable that happens to be called `datetime` is not.

Findings of kind ERROR fail the task of each run of the class (`host`), with the line and the remedy; the others
are logged as warnings when the worker starts. Blocks under `workflow.unsafe.sandbox_unrestricted()` are left out.
"""

from __future__ import annotations

import ast
import contextlib
import datetime as dt
import gc
import inspect
import random
import textwrap
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping


class Severity(Enum):
    """What to do about a finding."""

    ERROR = "error"
    WARNING = "warning"


class Finding(NamedTuple):
    """One pitfall in the source."""

    severity: Severity
    filename: str
    line: int
    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}: {self.what}: {self.advice}"


_NOW = "it differs on replay; use `workflow.now()`"
_FORBIDDEN: tuple[tuple[Any, str, str], ...] = (
    (dt.datetime, "now", _NOW),
    (dt.datetime, "utcnow", _NOW),
    (dt.datetime, "today", _NOW),
    (dt.date, "today", "it differs on replay; use `workflow.now().date()`"),
)
_MUTATORS = frozenset(
    (
        "append", "extend", "insert", "remove", "pop", "clear", "add", "discard", "update",
        "setdefault", "popitem", "sort",
    )
)  # fmt: skip
_MUTABLE = (list, dict, set, bytearray)


def scan_class(cls: type) -> list[Finding]:
    """Read a workflow class; nothing is found when its source is not there."""
    try:
        with _no_garbage_collection():
            lines, first = inspect.getsourcelines(cls)
            filename = inspect.getsourcefile(cls) or "<unknown>"
            tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return []
    module = inspect.getmodule(cls)
    visitor = _Visitor(filename, first, vars(module) if module is not None else {})
    visitor.visit(tree)
    return visitor.findings


@contextlib.contextmanager
def _no_garbage_collection() -> Generator[None]:
    """Let no finalizer run while source is parsed.

    A finalizer may log a traceback (a task whose exception nobody retrieved does), and a traceback is printed by
    parsing its lines. CPython before 3.11.8 and 3.12.2 cannot parse while it parses: it raises `SystemError`
    (python/cpython#106905).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Visitor(ast.NodeVisitor):
    """Walks one class."""

    def __init__(self, filename: str, first: int, names: Mapping[str, Any]) -> None:
        self.filename = filename
        self.offset = first - 1
        self.names = names
        self.findings: list[Finding] = []

    def _found(self, severity: Severity, node: ast.AST, what: str, advice: str) -> None:
        line = getattr(node, "lineno", 0) + self.offset
        self.findings.append(Finding(severity, self.filename, line, what, advice))

    def _resolve(self, node: ast.expr) -> Any:
        """The object that a dotted name means in the module; None when it is none."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self._resolve(node.value)
            if inspect.ismodule(owner):
                return getattr(owner, node.attr, None)
        return None

    @override
    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            if "sandbox_unrestricted" in ast.unparse(item.context_expr):
                return
        self.generic_visit(node)

    @override
    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        callee = node.func
        if isinstance(callee, ast.Attribute):
            owner = self._resolve(callee.value)
            for kind, name, advice in _FORBIDDEN:
                if owner is kind and callee.attr == name:
                    what = f"`{ast.unparse(callee)}()` reads the clock"
                    self._found(Severity.ERROR, node, what, advice)
            if callee.attr in _MUTATORS and isinstance(owner, _MUTABLE):
                self._module_state(node, ast.unparse(callee.value))
        if self._resolve(callee) is random.Random and not node.args:
            what = "`Random()` without a seed differs on replay"
            self._found(Severity.ERROR, node, what, "use `workflow.new_random(name)`")

    @override
    def visit_Global(self, node: ast.Global) -> None:
        self._module_state(node, ", ".join(node.names))

    @override
    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        self._targets(node.targets)

    @override
    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.generic_visit(node)
        self._targets([node.target])

    @override
    def visit_Delete(self, node: ast.Delete) -> None:
        self._targets(node.targets)

    def _targets(self, targets: list[ast.expr]) -> None:
        for target in targets:
            if isinstance(target, ast.Subscript | ast.Attribute):
                owner = self._resolve(target.value)
                if isinstance(owner, _MUTABLE) or inspect.ismodule(owner):
                    self._module_state(target, ast.unparse(target.value))

    def _module_state(self, node: ast.AST, name: str) -> None:
        self._found(
            Severity.WARNING,
            node,
            f"`{name}` is changed, which all runs of this worker share and replay does not restore",
            "keep state on `self`",
        )

    @override
    def visit_For(self, node: ast.For) -> None:
        self.generic_visit(node)
        self._iterated(node.iter)

    @override
    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.generic_visit(node)
        self._iterated(node.iter)

    def _iterated(self, source: ast.expr) -> None:
        is_set = isinstance(source, ast.Set | ast.SetComp) or (
            isinstance(source, ast.Call)
            and isinstance(source.func, ast.Name)
            and source.func.id in {"set", "frozenset"}
            and source.func.id not in self.names
        )
        if is_set:
            self._found(
                Severity.WARNING,
                source,
                "a set is iterated, whose order differs between processes",
                "iterate `sorted(...)` of it, or a list or dict",
            )
