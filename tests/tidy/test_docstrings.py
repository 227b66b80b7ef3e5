"""Each public name has a docstring that says what a user needs: arguments, errors, and for the most used an example.

The style is in CONTRIBUTING.md. `tests/docs` runs the examples.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import functools
import inspect
import itertools
import re
import typing
from typing import Any, cast

import msgspec

from perdure import workflow
from tests.tidy import public, source

MOST_USED = source.ROOT / "tests" / "docs" / "most_used.txt"
WITH_EXAMPLE = [
    line for line in MOST_USED.read_text("utf-8").splitlines() if not line.startswith("#")
]

# Calls that raise when they are made in the wrong place, and what they raise there.
RAISES_BY_CALL = {
    "_runtime.current": "NotInWorkflowEventLoopError",
    "Context.current": "RuntimeError",
    "self._client.outbound": "RPCError",
    "self._outbound": "RPCError",
}


def _has_sentence(name: public.Name) -> bool:
    if name.doc and not name.has_own_docstring:
        return True  # described by the method that this one overrides
    first = name.doc.partition("\n")[0]
    return len(first) > len("To do.") and first.endswith((".", ":", "?"))


def test_each_public_name_has_a_docstring():
    assert len(public.names()) > 500
    assert [name.shown for name in public.names() if not _has_sentence(name)] == []


def test_each_argument_and_field_is_explained():
    missing = [
        f"{name.shown}: {', '.join(unexplained)}"
        for name in public.names()
        if (unexplained := _unexplained(name))
    ]
    assert missing == []


def test_errors_that_a_function_raises_are_named():
    missing = [
        f"{name.shown}: {', '.join(unnamed)}"
        for name in public.names()
        if (unnamed := sorted(_raised(name) - _named_errors(name)))
    ]
    assert missing == []


def test_the_most_used_names_have_an_example():
    documented = {name.shown: name for name in public.names()}
    assert len(WITH_EXAMPLE) >= 60
    assert [shown for shown in WITH_EXAMPLE if not documented[shown].examples] == []


def test_examples_have_one_form():
    """Code in a fence, as `tests/docs` runs it."""
    wrong = [
        name.shown
        for name in public.names()
        if ">>> " in name.doc or (name.section("Example") and not name.examples)
    ]
    assert wrong == []


# ── arguments ─────────────────────────────────────────────────────────────────────────────────────


def _unexplained(name: public.Name) -> list[str]:
    if not name.has_own_docstring:
        return []  # described by the method that this one overrides
    explained = _entries(name, "Args") | _entries(name, "Attributes")
    if inspect.isclass(name.object):
        explained |= _fields_with_docstrings(name.object)
    for reference in re.findall(r"^The parameters of `([\w.]+)`", name.doc):
        explained |= _explained_by(name.shown, reference)
    return [wanted for wanted in _wanted(name) if wanted not in explained]


def _explained_by(shown: str, reference: str) -> set[str]:
    """What the name that a docstring refers to explains; it is in the same module."""
    wanted = f"{shown.partition('.')[0]}.{reference}"
    (found,) = (name for name in public.names() if name.shown == wanted)
    return _entries(found, "Args")


def _entries(name: public.Name, section: str) -> set[str]:
    text = name.section(section) or ""
    return {
        entry.strip(" *")
        for line in re.findall(r"^([*\w, ]+): ", text, re.MULTILINE)
        for entry in line.split(",")
    }


def _wanted(name: public.Name) -> list[str]:
    what = name.object
    if not inspect.isclass(what):
        return [] if name.as_property else _parameters(what)
    if issubclass(what, enum.Enum):
        return list(what.__members__)
    if typing.is_typeddict(what) or issubclass(what, msgspec.Struct):
        return list(what.__annotations__)
    if dataclasses.is_dataclass(what):
        return [field.name for field in dataclasses.fields(what) if not field.name.startswith("_")]
    attributes = cast("dict[str, Any]", vars(name.object))
    if "_fields" in attributes:  # a named tuple
        return list(attributes["_fields"])
    if getattr(what, "_is_protocol", False):
        return []
    constructor = attributes.get("__init__")
    return _parameters(constructor) if inspect.isfunction(constructor) else []


def _parameters(function: Any) -> list[str]:
    names = list(inspect.signature(function).parameters)
    return [name for name in names if name not in {"self", "cls"} and not name.startswith("_")]


def _fields_with_docstrings(what: type) -> set[str]:
    body = _class_body(what)
    found: set[str] = set()
    for statement, after in itertools.pairwise(body):
        if not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)):
            continue
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found.add(statement.target.id)
        elif isinstance(statement, ast.Assign):
            found |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
    return found


def _class_body(what: type) -> list[ast.stmt]:
    node = _definitions(what.__module__).get(what.__qualname__)
    return node.body if isinstance(node, ast.ClassDef) else []


# ── errors ────────────────────────────────────────────────────────────────────────────────────────


def _named_errors(name: public.Name) -> set[str]:
    text = name.section("Raises") or ""
    return {
        error.strip().rpartition(".")[2]
        for line in re.findall(r"^([\w., ]+): ", text, re.MULTILINE)
        for error in line.split(",")
    }


def _raised(name: public.Name) -> set[str]:
    """The errors that the function's own code raises, and those of calls in the wrong place."""
    what = name.object
    if inspect.isclass(what) or not name.has_own_docstring:
        return set()
    node = _definitions(what.__module__).get(what.__qualname__)
    assert node is not None, name.shown
    found: set[str] = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Raise) and inner.exc is not None:
            error = inner.exc.func if isinstance(inner.exc, ast.Call) else inner.exc
            found.add(ast.unparse(error).rpartition(".")[2])
        elif isinstance(inner, ast.Call):
            call = ast.unparse(inner.func)
            found |= {
                error
                for prefix, error in RAISES_BY_CALL.items()
                if f"{call}.".startswith(f"{prefix}.")
            }
    # A class begins with a capital letter; `raise error` raises what was caught.
    return {error for error in found if error[:1].isupper() and error != "NotImplementedError"}


@functools.cache
def _definitions(module: str) -> dict[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    found: dict[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef] = {}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                # The implementation comes after its overloads, a property's setter after its getter.
                if not any(ast.unparse(d).endswith(".setter") for d in child.decorator_list):
                    found[prefix + child.name] = child
                if isinstance(child, ast.ClassDef):
                    visit(child, f"{prefix}{child.name}.")
            else:
                visit(child, prefix)

    (tree,) = (m.tree for m in source.modules() if m.name == module)
    visit(tree, "")
    return found


# ── the rules themselves ──────────────────────────────────────────────────────────────────────────


def _charge(order: str, *, amount: int = 1) -> None:
    """Charge an order.

    Args:
        order: What to charge.
    """


def _notify(customer: str, *texts: str) -> None:
    """Notify a customer.

    Args:
        customer, texts: Who, and what.

    Raises:
        perdure.exceptions.ApplicationError: There is no address.
    """


def test_an_argument_without_an_explanation_is_noticed():
    assert _unexplained(public.Name("charge", _charge)) == ["amount"]
    assert _unexplained(public.Name("notify", _notify)) == []


def test_an_error_without_an_explanation_is_noticed():
    assert _raised(public.Name("time_ns", workflow.time_ns)) == {"NotInWorkflowEventLoopError"}
    assert _raised(public.Name("in_workflow", workflow.in_workflow)) == set()
    assert _named_errors(public.Name("notify", _notify)) == {"ApplicationError"}
    assert _named_errors(public.Name("charge", _charge)) == set()


def test_a_docstring_without_a_sentence_is_noticed():
    assert _has_sentence(public.Name("charge", _charge))
    assert not _has_sentence(public.Name("nothing", lambda: None))
