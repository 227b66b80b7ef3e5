"""What a workflow class's source gives away, row by row."""

from __future__ import annotations

import gc
import importlib.util
import linecache
import sys
import textwrap
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from perdure.worker.host.scan import Finding, scan_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Scan = Callable[..., list[Finding]]

MODULE = """\
import datetime
import itertools
import os
import random
from datetime import date, datetime as dt
from random import Random as Dice
from perdure import workflow
names = ["a"]
table = {"a": 1}
members = {1}
octets = bytearray()
frozen = (1, 2)
counter = itertools.count()
"""


@pytest.fixture
def scan(tmp_path: Path) -> Iterator[Scan]:
    """Scans a class with the given method body, in a module with a few names."""
    made: list[str] = []

    def scanned(body: str, header: str = "") -> list[Finding]:
        name = f"scanned_{len(made)}"
        made.append(name)
        path = tmp_path / f"{name}.py"
        method = textwrap.indent(textwrap.dedent(body), " " * 8)
        path.write_text(f"{MODULE}{header}\nclass Scanned:\n    def run(self):\n{method}\n")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module: Any = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return scan_class(module.Scanned)

    yield scanned
    for name in made:
        del sys.modules[name]


def whats(found: list[Finding]) -> list[str]:
    return [each.what for each in found]


def changed(found: list[Finding]) -> list[str]:
    """The module state that is changed, of findings that are about nothing else."""
    assert all(each.advice == "keep state on `self`" for each in found)
    return [each.what.split("`")[1] for each in found]


CLOCKS = [
    ("dt.now()", "workflow.now()"),
    ("dt.today()", "workflow.now()"),
    ("datetime.datetime.now()", "workflow.now()"),
    ("date.today()", "workflow.now().date()"),
    ("datetime.date.today()", "workflow.now().date()"),
]


@pytest.mark.parametrize(("call", "advice"), CLOCKS)
def test_every_way_to_local_time_is_a_warning(call: str, advice: str, scan: Scan) -> None:
    (found,) = scan(f"return str({call})")
    assert found.what == f"`{call}` is in the time zone of the worker"
    assert found.advice == f"use `{advice}`"


@pytest.mark.parametrize(
    "call",
    [
        "dt.fromtimestamp(0)",
        "date.fromisoformat('2023-01-01')",
        "self.now()",
        "dt.min",
        "now()",
        "dt.now(datetime.UTC)",
        "dt.now(tz=datetime.UTC)",
        "dt.utcnow()",
        "random.Random()",
    ],
)
def test_what_is_no_local_time_is_fine(call: str, scan: Scan) -> None:
    assert scan(f"datetime = self\nreturn {call}") == []


@pytest.mark.parametrize(
    "body",
    [
        "return [dt.now()]",
        "x = dt.now()",
        "x += dt.now()",
        "self.x = str(dt.now())",
        "for x in names: dt.now()",
        "for x in f(dt.now()): pass",
        "return [dt.now() for x in names]",
        "return [x for x in f(dt.now())]",
        "if True:\n    with open('f') as f:\n        dt.now()",
        "with f(dt.now()): pass",
        "async def inner():\n    return await f(dt.now())",
        "return lambda: dt.now()",
        "return f(g=str(dt.now()))",
    ],
)
def test_the_clock_is_found_wherever_it_stands(body: str, scan: Scan) -> None:
    assert whats(scan(body)) == ["`dt.now()` is in the time zone of the worker"]


@pytest.mark.parametrize(
    "head",
    [
        "workflow.unsafe.sandbox_unrestricted()",
        "open('f') as f, workflow.unsafe.sandbox_unrestricted()",
        "workflow.unsafe.sandbox_unrestricted(), open('f') as f",
    ],
)
def test_what_is_done_on_purpose_is_left_out(head: str, scan: Scan) -> None:
    assert scan(f"with {head}:\n    dt.now()\n    names.append(1)") == []
    assert len(scan(f"with {head}:\n    dt.now()\ndt.now()")) == 1


MUTATIONS = {
    "names": "append(1) extend([1]) insert(0,1) remove(1) pop() clear() sort()",
    "table": "update(a=1) setdefault('a',1) popitem() pop('a') clear()",
    "members": "add(1) discard(1) remove(1) update([1])",
    "octets": "append(1)",
}


@pytest.mark.parametrize(
    ("name", "call"), [(name, call) for name, calls in MUTATIONS.items() for call in calls.split()]
)
def test_every_change_of_module_state_is_a_warning(name: str, call: str, scan: Scan) -> None:
    assert changed(scan(f"{name}.{call}")) == [name]


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("names[0] = 1", ["names"]),
        ("names[0] += 1", ["names"]),
        ("del names[0]", ["names"]),
        ("del table['a'], names[0]", ["table", "names"]),
        ("names[0] = table['a'] = 1", ["names", "table"]),
        ("os.environment = 1", ["os"]),
        ("os.count += 1", ["os"]),
        ("del os.environment", ["os"]),
        ("global frozen\nfrozen = 1", ["frozen"]),
        ("global frozen, names", ["frozen, names"]),
        ("sys = 1\nrandom._inst.clear()", []),
        ("names.count(1)\nnames.copy()\ntable.get('a')", []),
        ("local = []\nlocal.append(1)\nlocal[0] = 1", []),
        ("self.names.append(1)\nself.names[0] = 1\ndel self.names[0]", []),
        ("frozen.append(1)\nfrozen[0] = 1", []),
    ],
)
def test_every_statement_that_changes_module_state_is_a_warning(
    statement: str, names: list[str], scan: Scan
) -> None:
    assert changed(scan(statement)) == names


def test_state_of_an_imported_module_is_module_state(scan: Scan) -> None:
    header = "import sys as outer\nfrom types import ModuleType\nouter.kept = []\n"
    try:
        assert (
            changed(scan("outer.kept.append(1)\nouter.kept[0] = 1", header)) == ["outer.kept"] * 2
        )
    finally:
        del sys.__dict__["kept"]


@pytest.mark.parametrize(
    "iterated",
    ["{1, 2}", "{x for x in names}", "set(names)", "frozenset(names)"],
)
@pytest.mark.parametrize(
    "loop",
    [
        "for y in {0}: pass",
        "return [y for y in {0}]",
        "return {{y: y for y in {0}}}",
        "return list({0})",
        "return tuple({0})",
        "return next(iter({0}))",
        "return enumerate({0}, 1)",
        "return ','.join({0})",
        "return [*{0}]",
        "return print(*{0})",
        "return ({0}).pop()",
        "x = {0}\nfor y in x: pass",
        "x = y = {0}\nreturn list(x)",
        "x = {0}\nif x:\n    return [*x]",
    ],
)
def test_iterating_a_set_is_a_warning(iterated: str, loop: str, scan: Scan) -> None:
    (found,) = scan(loop.format(iterated))
    assert found.what == "a set is iterated, whose order differs between processes"
    assert "sorted" in found.advice


@pytest.mark.parametrize(
    "iterated",
    ["names", "sorted({1, 2})", "list(names)", "self.set()", "(1, 2)", "{'a': 1}", "len({1})", "x"],
)
def test_iterating_anything_else_is_fine(iterated: str, scan: Scan) -> None:
    assert scan(f"for y in {iterated}: pass\nreturn [y for y in {iterated}]") == []


def test_a_set_of_the_modules_own_is_not_the_builtin(scan: Scan) -> None:
    assert scan("for y in set(names): pass", "def set(given): return given\n") == []


@pytest.mark.parametrize(
    "body",
    [
        "x = {1}\nx = [1]\nreturn list(x)",
        "def inner():\n    x = {1}\nreturn list(x)",
        "x = {1}\ndef inner():\n    return list(x)",
        "x = {1}\nx.pop(0)",
        "return self.pop()",
        "return list()",
        "return ''.join(names)",
    ],
)
def test_a_variable_holds_a_set_until_it_holds_something_else(body: str, scan: Scan) -> None:
    assert scan(body) == []


def test_after_an_inner_function_a_variable_still_holds_its_set(scan: Scan) -> None:
    assert len(scan("x = {1}\ndef inner():\n    x = [1]\nreturn list(x)")) == 1


@pytest.mark.parametrize("name", ["hash", "id"])
def test_identities_are_warnings(name: str, scan: Scan) -> None:
    (found,) = scan(f"return {name}(self)")
    assert found.what == f"`{name}()` differs between processes"
    assert found.advice
    assert scan(f"return {name}(self)", f"def {name}(given): return 1\n") == []
    assert scan(f"return self.{name}(1)") == []


def test_the_hash_of_a_class_may_be_made_of_hashes(scan: Scan) -> None:
    assert scan("def __hash__(self): return hash((1, 2))") == []
    assert len(scan("def __hash__(self): return 1\nreturn hash(1)")) == 1


def test_a_counter_of_the_module_is_module_state(scan: Scan) -> None:
    assert changed(scan("return next(counter)")) == ["counter"]
    assert scan("return next(self.counter) + next(iter(names)) + next(names)") == []


HELPERS = """
def helper(): return inner()
def inner():
    for _ in {1, 2}: pass
    return helper()
def other(): names.append(1)
from textwrap import dedent
"""


def test_helpers_are_read_that_the_class_calls(scan: Scan) -> None:
    found = scan("dedent('')\nreturn helper()", HELPERS)
    assert whats(found) == ["a set is iterated, whose order differs between processes"]
    assert changed(scan("return [other(), other()]", HELPERS)) == ["names"]
    assert scan("return other", HELPERS) == []


def test_helpers_of_the_same_package_are_read_and_no_others(scan: Scan) -> None:
    header = "import perdure.common as mine\nimport json\n"
    assert scan("json.dumps(1)\nmine.RetryPolicy()", header) == []


def test_a_chain_of_helpers_ends_somewhere(scan: Scan) -> None:
    chain = "".join(f"def f{n}(): f{n + 1}()\n" for n in range(300))
    late = "def f300(): return {1}.pop()\n"
    assert scan("f0()", chain + late) == []
    assert scan("f100()", chain + late) == []
    assert len(scan("f101()", chain + late)) == 1, "the two hundredth"
    assert len(scan("f150()", chain + late)) == 1


def test_a_finding_names_file_and_line(scan: Scan) -> None:
    (found,) = scan("x = 1\nreturn dt.now()")
    source = found.filename
    with open(source) as file:  # noqa: PTH123 - a path as text
        line = file.read().splitlines()[found.line - 1]
    assert line.strip() == "return dt.now()"
    assert str(found) == (
        f"{source}:{found.line}: `dt.now()` is in the time zone of the worker: use `workflow.now()`"
    )


def test_a_nested_class_is_read_as_well() -> None:
    class Inner:
        def run(self) -> None:
            for _ in {1, 2}:  # noqa: PLC0208 - a set, as it must not be
                pass

    assert len(scan_class(Inner)) == 1


def test_nothing_is_found_without_a_source() -> None:
    names: dict[str, Any] = {"__name__": "nowhere"}
    exec("class Made:\n    def run(self):\n        for _ in {1, 2}: pass", names)
    assert scan_class(names["Made"]) == []
    assert scan_class(int) == []


class Loader:
    """Brings the source of a module, and notes whether garbage is collected meanwhile."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.collects: list[bool] = []

    def get_source(self, _name: str) -> str:
        self.collects.append(gc.isenabled())
        return self.source


GOOD = "class Brought:\n    def run(self):\n        for _ in {1, 2}: pass\n"


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize(("source", "findings"), [(GOOD, 1), ("class Other: pass\n", 0)])
def test_no_garbage_is_collected_while_a_class_is_read_and_again_afterwards(
    enabled: bool, source: str, findings: int
) -> None:
    name = f"brought_{enabled}_{findings}"
    loader, was_enabled = Loader(source), gc.isenabled()
    path = f"/nowhere/{name}.py"
    module: Any = ModuleType(name)
    names: dict[str, Any] = module.__dict__
    names.update(__file__=path, __loader__=loader)
    sys.modules[name] = module
    exec(compile(GOOD, path, "exec"), names)
    linecache.lazycache(path, names)
    try:
        (gc.enable if enabled else gc.disable)()
        assert len(scan_class(module.Brought)) == findings
        assert gc.isenabled() is enabled
        assert loader.collects
        assert not any(loader.collects)
    finally:
        (gc.enable if was_enabled else gc.disable)()
        del sys.modules[name]
