"""The files of the project for the tidy tests. The package is parsed once."""

from __future__ import annotations

import ast
import functools
import subprocess
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "perdure"


class Module(NamedTuple):
    """One Python file under `src/perdure`."""

    name: str
    """Dotted, for instance `perdure.wire.seam`."""
    path: Path
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        """The first name below `perdure`: `wire` for `perdure.wire.seam`."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else ""

    @property
    def shown(self) -> str:
        return str(self.path.relative_to(ROOT))


@functools.cache
def modules() -> tuple[Module, ...]:
    found = [_parse(path) for path in sorted(PACKAGE.rglob("*.py"))]
    assert found, PACKAGE
    return tuple(found)


def _parse(path: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    relative = path.relative_to(PACKAGE.parent).with_suffix("")
    parts = relative.parts[:-1] if relative.name == "__init__" else relative.parts
    return Module(".".join(parts), path, text, ast.parse(text, str(path)))


@functools.cache
def tracked_files() -> tuple[Path, ...]:
    """Every file that git tracks or would add. Without git, as in a source archive, every file."""
    listing = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=False,
    )
    if listing.returncode:
        return tuple(p for p in ROOT.rglob("*") if p.is_file() and ".venv" not in p.parts)
    names = [name for name in listing.stdout.decode().split("\0") if name]
    return tuple(path for name in names if (path := ROOT / name).is_file())


def imported_names(tree: ast.Module) -> list[tuple[int, str]]:
    """(line, absolute dotted name) of everything a module imports, wherever the import statement stands."""
    names: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return names


def docstring_lines(tree: ast.Module) -> int:
    """The number of lines that are docstrings of the module, its classes and its functions."""
    return sum(
        _span(node.body[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and ast.get_docstring(node, clean=False) is not None
    )


def functions(tree: ast.Module) -> list[tuple[str, int, int]]:
    """(qualified name, first line, lines of the body) of each function.

    Signature and docstring do not count (many are the official API's and long by nature), and neither do nested
    functions, which are measured themselves.
    """
    found: list[tuple[str, int, int]] = []

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                found.append((f"{prefix}{child.name}", child.lineno, _own_lines(child)))
                visit(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.ClassDef):
                visit(child, f"{prefix}{child.name}.")
            else:
                visit(child, prefix)

    visit(tree, "")
    return found


def overload_lines(tree: ast.Module) -> int:
    """How many lines are overloads: signatures, often generated, which no reader splits by concept."""
    return sum(
        (node.end_lineno or node.lineno) - node.decorator_list[0].lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_overload(node)
    )


def is_overload(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(decorator) == "overload" for decorator in function.decorator_list)


def _own_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = (function.end_lineno or function.lineno) - function.body[0].lineno + 1
    lines -= sum(_span(nested) for nested in _outermost_functions(function))
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        lines -= _span(first)
    return lines


def _outermost_functions(node: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    found: list[ast.FunctionDef | ast.AsyncFunctionDef] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(child)
        else:
            found += _outermost_functions(child)
    return found


def _span(node: ast.stmt | ast.expr) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1
