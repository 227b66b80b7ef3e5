"""Pitfalls that only source code shows: module state, unordered iteration, hashes, local time.

The guard sees calls, but not in what order a set is iterated or that all runs share a counter. So the source of a
workflow class is read once, when its first run starts, together with the helpers in the same package that it calls by
name. Names are resolved through the module's real globals: `from datetime import datetime as dt` is recognised, a
variable that happens to be called `datetime` is not.

Findings are logged as warnings (`host`). Blocks under `workflow.unsafe.sandbox_unrestricted()` are left out.
Not here: calls, which the guard sees.
"""

from __future__ import annotations

import ast
import contextlib
import datetime as dt
import gc
import inspect
import textwrap
from collections.abc import Iterator
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping


class Finding(NamedTuple):
    """One pitfall in the source."""

    filename: str
    line: int
    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}: {self.what}: {self.advice}"


_LOCAL_TIME: tuple[tuple[Any, str, str], ...] = (
    (dt.datetime, "now", "use `workflow.now()`"),
    (dt.datetime, "today", "use `workflow.now()`"),
    (dt.date, "today", "use `workflow.now().date()`"),
)
_IDENTITIES = {
    "hash": "use `zlib.crc32` or `hashlib` of bytes",
    "id": "give the object an id of your own",
}
_INTO_SEQUENCES = frozenset(("list", "tuple", "iter", "enumerate"))
_MAX_HELPERS = 200
_MUTATORS = frozenset(
    (
        "append", "extend", "insert", "remove", "pop", "clear", "add", "discard", "update",
        "setdefault", "popitem", "sort",
    )
)  # fmt: skip
_MUTABLE = (list, dict, set, bytearray)


def scan_class(cls: type) -> list[Finding]:
    """Read a workflow class and its helpers. Returns nothing if there is no source."""
    findings: list[Finding] = []
    waiting: list[Any] = [cls]
    seen: dict[Any, None] = {}
    while waiting and len(seen) <= _MAX_HELPERS:
        code = waiting.pop(0)
        if code not in seen:
            seen[code] = None
            found, called = _scan(code)
            findings += found
            waiting += [each for each in called if _is_helper(each, cls)]
    return findings


def _is_helper(function: FunctionType, cls: type) -> bool:
    """Whether a function is the user's own, in the package of the class."""
    top = cls.__module__.partition(".")[0]
    return str(function.__module__).partition(".")[0] == top


def _scan(code: type | FunctionType) -> tuple[list[Finding], list[FunctionType]]:
    """The pitfalls in a class or function, and the functions that it calls by name."""
    try:
        with _no_garbage_collection():
            lines, first = inspect.getsourcelines(code)
            filename = inspect.getsourcefile(code) or "<unknown>"
            tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return [], []
    module = inspect.getmodule(code)
    visitor = _Visitor(filename, first, vars(module) if module is not None else {})
    visitor.visit(tree)
    return visitor.findings, visitor.called


@contextlib.contextmanager
def _no_garbage_collection() -> Generator[None]:
    """Prevent finalizers from running while source is parsed.

    A finalizer may log a traceback (as that of a task whose exception was never retrieved does), and printing a
    traceback parses source lines. CPython before 3.11.8 and 3.12.2 cannot parse recursively and raises `SystemError`
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
        self.called: list[FunctionType] = []
        self._sets: set[str] = set()
        """Variables of the current function that hold a set."""
        self._hashes = False

    def _found(self, node: ast.AST, what: str, advice: str) -> None:
        line = getattr(node, "lineno", 0) + self.offset
        self.findings.append(Finding(self.filename, line, what, advice))

    def _resolve(self, node: ast.expr) -> Any:
        """The object that a dotted name refers to in the module; None if there is none."""
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
    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    @override
    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        before = self._sets, self._hashes
        self._sets, self._hashes = set(), node.name == "__hash__"
        self.generic_visit(node)
        self._sets, self._hashes = before

    @override
    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        callee = node.func
        function = self._resolve(callee)
        if isinstance(function, FunctionType):
            self.called.append(function)
        if isinstance(callee, ast.Attribute):
            self._method(node, callee)
        elif isinstance(callee, ast.Name) and callee.id not in self.names:
            self._builtin(node, callee.id)

    def _method(self, node: ast.Call, callee: ast.Attribute) -> None:
        owner = self._resolve(callee.value)
        if not node.args and not node.keywords:
            for kind, name, advice in _LOCAL_TIME:
                if owner is kind and callee.attr == name:
                    what = f"`{ast.unparse(callee)}()` is in the time zone of the worker"
                    self._found(node, what, advice)
        if callee.attr in _MUTATORS and isinstance(owner, _MUTABLE):
            self._module_state(node, ast.unparse(callee.value))
        if callee.attr == "join":
            self._iterated(*node.args)
        if callee.attr == "pop" and not node.args:
            self._iterated(callee.value)

    def _builtin(self, node: ast.Call, name: str) -> None:
        if name in _INTO_SEQUENCES:
            self._iterated(*node.args[:1])
        advice = _IDENTITIES.get(name)
        if advice is not None and not self._hashes:
            self._found(node, f"`{name}()` differs between processes", advice)
        if name == "next" and node.args and isinstance(self._resolve(node.args[0]), Iterator):
            self._module_state(node, ast.unparse(node.args[0]))

    @override
    def visit_Global(self, node: ast.Global) -> None:
        self._module_state(node, ", ".join(node.names))

    @override
    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        names = {target.id for target in node.targets if isinstance(target, ast.Name)}
        self._sets = self._sets | names if self._is_set(node.value) else self._sets - names
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

    @override
    def visit_Starred(self, node: ast.Starred) -> None:
        self.generic_visit(node)
        self._iterated(node.value)

    def _iterated(self, *sources: ast.expr) -> None:
        for source in sources:
            if self._is_set(source):
                self._found(
                    source,
                    "a set is iterated, whose order differs between processes",
                    "iterate `sorted(...)` of it, or a list or dict",
                )

    def _is_set(self, source: ast.expr) -> bool:
        if isinstance(source, ast.Name):
            return source.id in self._sets
        return isinstance(source, ast.Set | ast.SetComp) or (
            isinstance(source, ast.Call)
            and isinstance(source.func, ast.Name)
            and source.func.id in {"set", "frozenset"}
            and source.func.id not in self.names
        )
