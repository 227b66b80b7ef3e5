"""The generated overloads in the source are those that the tables of the generator mean."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.tidy import source

if TYPE_CHECKING:
    from types import ModuleType

SCRIPT = source.ROOT / "scripts" / "generate_overloads.py"


def test_the_overloads_are_those_of_the_generator():
    check = subprocess.run(
        [sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stdout + check.stderr


def test_a_stale_overload_is_written_anew_and_the_implementation_is_kept():
    generator = _generator()
    function = next(f for f in generator.FUNCTIONS if f.name == "start_activity")
    path = source.PACKAGE / function.file
    text = path.read_text(encoding="utf-8")
    stale = text.replace("arg: ParamType", "arg: object").replace(
        "Schedule an activity", "Schedule one activity"
    )
    assert _overloads(stale) != _overloads(text)
    mended = generator.with_overloads(stale, function)
    assert _overloads(mended) == _overloads(text)
    assert "Schedule one activity" in mended
    assert generator.with_overloads(mended, function) == mended


def test_overloads_by_callable_or_name_are_generated():
    """A public function with an overload for names (`arg: Any = UNSET`) has a row in the generator's table."""
    generator = _generator()
    rows = {(function.file, function.name) for function in generator.FUNCTIONS}
    found: set[tuple[str, str]] = set()
    for module in source.modules():
        file = str(module.path.relative_to(source.PACKAGE))
        for scope in (module.tree, *(n for n in module.tree.body if isinstance(n, ast.ClassDef))):
            prefix = f"{scope.name}." if isinstance(scope, ast.ClassDef) else ""
            found |= {(file, prefix + name) for name in _by_name(scope)}
    assert len(found) > 10
    assert found <= rows


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_overloads", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _by_name(scope: ast.Module | ast.ClassDef) -> set[str]:
    """Functions with an overload whose callable may be a string and whose argument is unchecked."""
    return {
        node.name
        for node in scope.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and source.is_overload(node)
        and any("str" in _annotation(a) for a in node.args.args[:2])
        and any(a.arg == "arg" and _annotation(a) == "Any" for a in node.args.args)
    }


def _annotation(argument: ast.arg) -> str:
    return ast.unparse(argument.annotation) if argument.annotation is not None else ""


def _overloads(text: str) -> list[str]:
    return [
        ast.dump(node)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and source.is_overload(node)
        and node.name == "start_activity"
    ]
