"""Rules about the source that neither ruff nor import-linter can check. Each failure says what to do instead."""

from __future__ import annotations

import ast
import re

import pytest

from tests.tidy import source

MODULES = source.modules()
PURE = ("history", "matching", "replay", "schedules", "visibility")

# Paths that exist only on one machine.
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+)/|/tmp/(?:ref|brief)\b")
TEXT_SUFFIXES = {"", ".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".cfg", ".json", ".sql"}
NOTES_MAX = 0
"""How many notes such as FIXME the source may have: open points belong in the tracker."""


def test_only_wire_imports_the_protobuf_types_and_nothing_else_of_their_package():
    wrong = [
        f"{module.shown}:{line}: import of {name}; add a short name to perdure.wire instead"
        for module in MODULES
        for line, name in source.imported_names(module.tree)
        if name.split(".")[0] == "temporalio"
        and not (module.package == "wire" and name.startswith("temporalio.api."))
    ]
    assert wrong == []


def test_no_generated_code_outside_wire():
    """Generated code is that of the API, health and reflection; types of the protobuf runtime may be used anywhere."""
    wrong = [
        f"{module.shown}:{node.lineno}: {name} is generated code; reach it through perdure.wire"
        for module in MODULES
        if module.package != "wire"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Name | ast.Attribute | ast.alias)
        and (name := _identifier(node)).endswith(("_pb2", "_pb2_grpc"))
        and not name.startswith("google.protobuf.")
    ]
    assert wrong == []


def _identifier(node: ast.Name | ast.Attribute | ast.alias) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
            return name
    raise AssertionError(node)


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.name)
def test_each_module_says_its_role(module: source.Module):
    docstring = ast.get_docstring(module.tree)
    assert docstring, f"{module.shown}: begin with a docstring: role, invariants, what is not here"


def test_each_module_is_reachable():
    """A module that nothing imports is dead code, unless a command line or a test runner loads it by name."""
    started_by_name = {
        "perdure",
        "perdure.__main__",
        "perdure.cli",
        "perdure.testing.pytest_plugin",
    }
    public = {m.name for m in MODULES if m.name.count(".") == 1}
    imported: set[str] = set()
    for module in MODULES:
        imported |= _module_imports(module)
    # Importing a module imports the packages above it.
    imported |= {
        ".".join(parts[:n])
        for name in imported
        for parts in [name.split(".")]
        for n in range(1, len(parts))
    }
    imported |= {name.rpartition(".")[0] for name in imported}  # a module imports its package
    dead = [m.shown for m in MODULES if m.name not in imported | started_by_name | public]
    assert dead == []


def _module_imports(module: source.Module) -> set[str]:
    """The modules that a module names in imports or strings (the command line loads its commands by name)."""
    names: set[str] = set()
    parent = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
    for node in ast.walk(module.tree):
        match node:
            case ast.Import(names=aliases):
                names |= {alias.name for alias in aliases}
            case ast.ImportFrom(module=target, names=aliases, level=level):
                base = _resolve(parent, target, level)
                names |= {base} | {f"{base}.{alias.name}" for alias in aliases}
            case ast.Constant(value=str(text)) if text.startswith("perdure."):
                names.add(text.partition(":")[0])
            case _:
                pass
    names.discard(module.name)
    return names


def _resolve(parent: str, target: str | None, level: int) -> str:
    if not level:
        return target or ""
    base = parent.split(".")
    base = base[: len(base) - (level - 1)]
    return ".".join([*base, target] if target else base)


def test_no_machine_paths():
    wrong: list[str] = []
    for path in source.tracked_files():
        if path.suffix not in TEXT_SUFFIXES or path == source.ROOT / "tests/tidy/test_source.py":
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if found := MACHINE_PATHS.search(line):
                wrong.append(
                    f"{path.relative_to(source.ROOT)}:{number}: {found.group()} is a path of one machine"
                )
    assert wrong == []


def test_no_notes_for_later():
    notes = [
        f"{module.shown}:{number}: {line.strip()}"
        for module in MODULES
        for number, line in enumerate(module.text.splitlines(), 1)
        if re.search(r"\b(?:TODO|FIXME|XXX|HACK)\b", line)
    ]
    assert len(notes) <= NOTES_MAX, notes


def test_nothing_is_left_unwritten():
    """A function that only raises `NotImplementedError` is a stub, unless subclasses must override it."""
    wrong: list[str] = []
    for module in MODULES:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_stub(node):
                abstract = any("abstractmethod" in ast.unparse(d) for d in node.decorator_list)
                documented = ast.get_docstring(node) is not None
                if not (abstract or documented):
                    wrong.append(f"{module.shown}:{node.lineno}: {node.name} is not written")
    assert wrong == []


def _is_stub(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    last = function.body[-1]
    return (
        isinstance(last, ast.Raise)
        and last.exc is not None
        and ast.unparse(last.exc) in {"NotImplementedError", "NotImplementedError()"}
    )


def test_pure_packages_are_synchronous():
    """The pure packages have no `await` and no coroutine."""
    wrong = [
        f"{module.shown}:{node.lineno}: {type(node).__name__} in a pure package"
        for module in MODULES
        if module.package in PURE
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith)
    ]
    assert wrong == []


def test_the_library_never_touches_the_root_logger():
    wrong: list[str] = []
    for module in MODULES:
        if module.package == "cli":
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and (call := ast.unparse(node)) == "logging.getLogger()":
                wrong.append(
                    f"{module.shown}:{node.lineno}: {call}; name the logger after the module"
                )
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in {
                "logging.basicConfig",
                "logging.info",
                "logging.warning",
                "logging.error",
                "logging.debug",
                "logging.exception",
            }:
                wrong.append(
                    f"{module.shown}:{node.lineno}: uses the root logger; name the logger after the module"
                )
    assert wrong == []
