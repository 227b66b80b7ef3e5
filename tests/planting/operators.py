"""The kinds of bugs that are planted: slips that an experienced developer makes and a reviewer overlooks.

Examples are a missing guard, a condition that always holds, `a` for `min(a, b)`, a comparison that is off by one, a
loop that ends after its first step, an empty `finally`, a forgotten field, and a dropped statement. Each operator looks
at one node of the syntax tree and yields replacements of source text.

Logging, assertions, messages (`raise` arguments, `__repr__`), annotations, decorators and code for type checkers are
left alone: a change there is harmless, or the type checker finds it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.planting.plant import Plant
from tests.planting.source import Source

Edit = tuple[ast.AST, str]
"""A node, and the text that replaces it."""

_BOUNDARY: dict[type[ast.cmpop], str] = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
_SILENT_NAMES = frozenset({"__repr__", "__str__", "__del__"})
_LOGGERS = frozenset({"log", "logger", "_log", "_logger", "logging", "warnings"})
_COSMETIC = frozenset({None, "strict", "show_default", "slots", "frozen", "exc_info", "kw_only"})
_NOT_DATA = frozenset({"__all__", "__slots__"})
_SQL_CONDITION = re.compile(r" AND [^()]+?(?=( AND | ORDER | GROUP | LIMIT |\"|$))")


def plants(source: Source) -> list[Plant]:
    """All bugs that can be planted in a file, in the order of their place."""
    return sorted(_Walk(source).run(), key=lambda plant: (plant.start, plant.end, plant.text))


class _Walk:
    """One pass over a syntax tree. It knows the function and the statement around each node."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._found: list[Plant] = []

    def run(self) -> list[Plant]:
        for node in self._source.tree.body:
            self._visit(node, function="", lines=())
        return self._found

    def _visit(self, node: ast.AST, *, function: str, lines: tuple[int, ...]) -> None:
        if _is_left_alone(node):
            return
        if isinstance(node, ast.stmt):
            lines = _lines_of(node)
        if isinstance(node, ast.stmt | ast.expr | ast.comprehension | ast.ExceptHandler):
            for kind, operator in (OPERATORS if function else CONSTANT_OPERATORS).items():
                for target, text in operator(self._source, node):
                    self._add(kind, function, _lines_of_edit(target, lines), target, text)
        inner = function
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{function}.{node.name}" if function else node.name
            for child in node.body:
                self._visit(child, function=inner, lines=lines)
            return
        if isinstance(node, ast.ClassDef):
            self._visit_class(node, function, lines)
            return
        for child in _children(node, function):
            self._visit(child, function=inner, lines=lines)

    def _visit_class(self, node: ast.ClassDef, function: str, lines: tuple[int, ...]) -> None:
        for child in node.body:
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self._visit(child, function=_inside(function, node.name), lines=lines)

    def _add(
        self, kind: str, function: str, lines: tuple[int, ...], target: Any, text: str
    ) -> None:
        start, end = self._source.span(target)
        data = self._source.data
        changed = data[:start] + text.encode() + data[end:]
        line: int = target.lineno
        before, after = _shown(data, start, end), _shown(changed, start, start + len(text.encode()))
        if before == after:
            return
        try:
            compile(changed, self._source.path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            return
        self._found.append(
            Plant(self._source.path, line, lines, function, kind, start, end, text, before, after)
        )


def _children(node: ast.AST, function: str) -> list[ast.AST]:
    """The parts of a node, without what only the type checker reads: annotations, and aliases of types."""
    match node:
        case ast.AnnAssign(target=target, value=value):
            return [target] if value is None else [target, value]
        case ast.Subscript(value=value) if not function:
            return [value]
        case _:
            return list(ast.iter_child_nodes(node))


def _inside(outer: str, name: str) -> str:
    return f"{outer}.{name}" if outer else name


def _shown(data: bytes, start: int, end: int) -> str:
    """The lines of a span, joined into one, without indentation."""
    first = data.rfind(b"\n", 0, start) + 1
    last = data.find(b"\n", max(end - 1, start))
    text = data[first : None if last < 0 else last].decode()
    return " ".join(text.split())


def _lines_of(node: ast.stmt) -> tuple[int, ...]:
    """The lines of a simple statement, or those of a compound statement before its body."""
    body: list[ast.stmt] = getattr(node, "body", [])
    end = body[0].lineno - 1 if body else (node.end_lineno or node.lineno)
    return tuple(range(node.lineno, max(end, node.lineno) + 1))


def _lines_of_edit(target: ast.AST, lines: tuple[int, ...]) -> tuple[int, ...]:
    return _lines_of(target) if isinstance(target, ast.stmt) else lines


def _is_left_alone(node: ast.AST) -> bool:
    match node:
        case (
            ast.Assert() | ast.Raise() | ast.Import() | ast.ImportFrom() | ast.AnnAssign(value=None)
        ):
            return True
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            decorators = {ast.unparse(each) for each in node.decorator_list}
            return name in _SILENT_NAMES or bool(decorators & {"overload", "typing.overload"})
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Subscript(value=ast.Name(id="Callable")):  # the name of a type
            return True
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.Expr(value=ast.Call(func=ast.Name(id="assert_never"))):  # for the type checker
            return True
        case ast.Assign(targets=[ast.Name(id=name)]) if name in _NOT_DATA:
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))):
            return name in _LOGGERS
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Attribute(attr=name)))):
            return name in _LOGGERS
        case _:
            return False


# Statements.


def _dropped_statement(source: Source, node: ast.AST) -> Iterator[Edit]:
    """A call whose result is not used, an assignment to an attribute or item, or a `del` is dropped."""
    match node:
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.Delete() | ast.AugAssign():
            yield node, "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield node, "pass"
        case _:
            pass


def _dropped_exit(source: Source, node: ast.AST) -> Iterator[Edit]:
    """A `return`, `continue`, `break` or `raise` at the end of an `if` is dropped."""
    if not isinstance(node, ast.If):
        return
    for body in (node.body, node.orelse):
        if body and isinstance(last := body[-1], ast.Return | ast.Continue | ast.Break | ast.Raise):
            yield last, "pass"


def _one_step(source: Source, node: ast.AST) -> Iterator[Edit]:
    """A loop ends after its first step."""
    if not isinstance(node, ast.For | ast.AsyncFor | ast.While) or node.orelse:
        return
    last = node.body[-1]
    if isinstance(last, ast.Return | ast.Continue | ast.Break | ast.Raise):
        return
    yield last, f"{source.text(last)}\n{' ' * last.col_offset}break"


def _emptied_finally(source: Source, node: ast.AST) -> Iterator[Edit]:
    if isinstance(node, ast.Try) and node.finalbody:
        yield _block(node.finalbody), "pass"


def _unhandled_error(source: Source, node: ast.AST) -> Iterator[Edit]:
    """An error is raised again instead of being handled."""
    if isinstance(node, ast.ExceptHandler):
        body = [each for each in node.body if not _is_left_alone(each)]
        if body and not isinstance(body[-1], ast.Raise):
            yield _block(node.body), "raise"


def _unguarded_block(source: Source, node: ast.AST) -> Iterator[Edit]:
    """A `with` statement loses its context manager."""
    if isinstance(node, ast.With) and all(item.optional_vars is None for item in node.items):
        first, last = node.items[0].context_expr, node.items[-1].context_expr
        head = _between(first, last)
        text = ast.unparse(first)
        if text.startswith(("pytest.", "contextlib.suppress", "suppress")):
            return
        yield head, "__import__('contextlib').nullcontext()"


def _block(body: list[ast.stmt]) -> ast.AST:
    """A node that spans several statements."""
    return _between(body[0], body[-1])


def _between(first: Any, last: Any) -> ast.AST:
    node = ast.Pass()
    node.lineno, node.col_offset = first.lineno, first.col_offset
    node.end_lineno, node.end_col_offset = last.end_lineno, last.end_col_offset
    return node


# Conditions.


def _fixed_condition(source: Source, node: ast.AST) -> Iterator[Edit]:
    """A condition always or never holds."""
    tests: list[ast.expr] = []
    match node:
        case ast.If(test=test) | ast.IfExp(test=test):
            tests = [test]
        case ast.comprehension(ifs=ifs):
            tests = ifs
        case _:
            return
    for test in tests:
        yield test, "True"
        yield test, "False"


def _dropped_operand(source: Source, node: ast.AST) -> Iterator[Edit]:
    """One operand of `and` or `or` is dropped."""
    if not isinstance(node, ast.BoolOp):
        return
    word = " and " if isinstance(node.op, ast.And) else " or "
    for left_out in range(len(node.values)):
        kept = [value for n, value in enumerate(node.values) if n != left_out]
        if any(isinstance(each, ast.NamedExpr) for each in ast.walk(node.values[left_out])):
            continue  # the name would be undefined, which every test would notice
        yield node, f"({word.join(f'({source.text(value)})' for value in kept)})"


def _boundary(source: Source, node: ast.AST) -> Iterator[Edit]:
    """`<` becomes `<=`, and so on."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _BOUNDARY:
        left, right = source.text(node.left), source.text(node.comparators[0])
        yield node, f"({left}) {_BOUNDARY[type(node.ops[0])]} ({right})"


# Expressions.


def _one_of_two(source: Source, node: ast.AST) -> Iterator[Edit]:
    """`min(a, b)` or `max(a, b)` becomes one of its arguments."""
    match node:
        case ast.Call(func=ast.Name(id="min" | "max"), args=[_, _, *_] as args, keywords=[]):
            if not any(isinstance(each, ast.Starred) for each in args):
                for each in args:
                    yield node, f"({source.text(each)})"
        case _:
            pass


def _unordered(source: Source, node: ast.AST) -> Iterator[Edit]:
    """`reversed(x)`, `sorted(x)` and `shield(x)` become `x`."""
    match node:
        case ast.Call(func=ast.Name(id="reversed"), args=[argument]):
            yield node, f"list({source.text(argument)})"
        case ast.Call(func=ast.Name(id="sorted"), args=[argument]):
            yield node, f"list({source.text(argument)})"
        case ast.Call(func=ast.Attribute(attr="shield"), args=[argument]):
            yield node, f"({source.text(argument)})"
        case _:
            pass


def _off_by_one(source: Source, node: ast.AST) -> Iterator[Edit]:
    """`n + 1` becomes `n`; other sums become differences and the reverse."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Add | ast.Sub):
        return
    if any(isinstance(each, ast.JoinedStr) or _is_text(each) for each in ast.walk(node)):
        return
    left, right = source.text(node.left), source.text(node.right)
    if isinstance(node.right, ast.Constant):
        yield node, f"({left})"
    elif not isinstance(node.left, ast.List | ast.Tuple):
        yield node, f"({left}) {'-' if isinstance(node.op, ast.Add) else '+'} ({right})"


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


def _forgotten_argument(source: Source, node: ast.AST) -> Iterator[Edit]:
    """A field of a message is left out, or a flag is reversed."""
    if not isinstance(node, ast.Call) or len(node.keywords) < 1:
        return
    name = ast.unparse(node.func)
    is_message = "." in name and name.rpartition(".")[2][:1].isupper()
    for keyword in node.keywords:
        is_flag = isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, bool)
        if keyword.arg in _COSMETIC or not (is_message or is_flag):
            continue
        if is_message:
            rest = [ast.unparse(argument) for argument in node.args]
            rest += [ast.unparse(each) for each in node.keywords if each is not keyword]
            yield node, f"{source.text(node.func)}({', '.join(rest)})"
        elif isinstance(keyword.value, ast.Constant):
            yield keyword.value, str(not keyword.value.value)


def _flipped_answer(source: Source, node: ast.AST) -> Iterator[Edit]:
    match node:
        case ast.Return(value=ast.Constant(value=bool(value)) as constant):
            yield constant, str(not value)
        case ast.Assign(value=ast.Constant(value=bool(value)) as constant):
            yield constant, str(not value)
        case _:
            pass


def _chosen_branch(source: Source, node: ast.AST) -> Iterator[Edit]:
    """`d.pop(key, default)` loses its default."""
    match node:
        case ast.Call(func=ast.Attribute(attr="pop"), args=[key, _], keywords=[]):
            yield node, f"{source.text(node.func)}({source.text(key)})"
        case _:
            pass


def _dropped_sql_condition(source: Source, node: ast.AST) -> Iterator[Edit]:
    """A statement loses one of its conditions, or sorts in the other direction."""
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return
    if not node.value.lstrip("( ").startswith(
        ("SELECT", "DELETE", "UPDATE", "INSERT", "AND", "WHERE")
    ):
        return
    text = source.text(node)
    for found in _SQL_CONDITION.finditer(text):
        yield node, text[: found.start()] + text[found.end() :]
    if " DESC" in text:
        yield node, text.replace(" DESC", "", 1)


def _dropped_element(source: Source, node: ast.AST) -> Iterator[Edit]:
    """A tuple, list or set of three or more loses one element."""
    match node:
        case ast.Tuple(elts=elements, ctx=ast.Load()) | ast.List(elts=elements, ctx=ast.Load()):
            pass
        case ast.Set(elts=elements):
            pass
        case _:
            return
    if len(elements) < 3:
        return
    opening, closing = source.text(node)[0], source.text(node)[-1]
    if (opening, closing) not in {("(", ")"), ("[", "]"), ("{", "}")}:
        return
    for left_out in elements:
        kept = ", ".join(source.text(each) for each in elements if each is not left_out)
        yield node, f"{opening}{kept}{closing}"


OPERATORS: dict[str, Callable[[Source, ast.AST], Iterator[Edit]]] = {
    "dropped statement": _dropped_statement,
    "dropped exit": _dropped_exit,
    "loop of one step": _one_step,
    "emptied finally": _emptied_finally,
    "unhandled error": _unhandled_error,
    "unguarded block": _unguarded_block,
    "fixed condition": _fixed_condition,
    "dropped operand": _dropped_operand,
    "boundary": _boundary,
    "one of two": _one_of_two,
    "unordered": _unordered,
    "off by one": _off_by_one,
    "forgotten argument": _forgotten_argument,
    "flipped answer": _flipped_answer,
    "missing default": _chosen_branch,
    "dropped SQL condition": _dropped_sql_condition,
}

CONSTANT_OPERATORS: dict[str, Callable[[Source, ast.AST], Iterator[Edit]]] = {
    "dropped SQL condition": _dropped_sql_condition,
    "dropped element": _dropped_element,
}
"""The operators for tables and statements at module level."""
