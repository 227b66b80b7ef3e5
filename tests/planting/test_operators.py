"""What each operator does with a small piece of source."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.planting import harmless, patches
from tests.planting.operators import plants
from tests.planting.source import Source

CASES: dict[str, tuple[str, list[str]]] = {
    "dropped statement": (
        """
        def f(self, rows):
            self.close()
            log.info("closed")
            self.is_closed = compute()
        """,
        ["pass", "pass"],
    ),
    "dropped exit": (
        """
        def f(x):
            if x:
                return 1
            return 2
        """,
        ["pass"],
    ),
    "loop of one step": (
        """
        def f(xs):
            for x in xs:
                keep(x)
        """,
        ["keep(x) break"],
    ),
    "emptied finally": (
        """
        def f(x):
            try:
                return x
            finally:
                n = 0
                x.close()
        """,
        ["pass"],
    ),
    "unhandled error": (
        """
        def f(x):
            try:
                y = x()
            except KeyError:
                y = 0
            return y
        """,
        ["raise"],
    ),
    "unguarded block": (
        """
        def f(self):
            with self.lock:
                y = 1
        """,
        ["with __import__('contextlib').nullcontext():"],
    ),
    "fixed condition": (
        """
        def f(x):
            y = 1 if x else 2
            return y
        """,
        ["y = 1 if False else 2", "y = 1 if True else 2"],
    ),
    "dropped operand": (
        """
        def f(a, b):
            y = a and b
        """,
        ["y = ((a))", "y = ((b))"],
    ),
    "boundary": (
        """
        def f(a, b):
            y = a < b
        """,
        ["y = (a) <= (b)"],
    ),
    "one of two": (
        """
        def f(a, b):
            y = min(a, b)
        """,
        ["y = (a)", "y = (b)"],
    ),
    "unordered": (
        """
        def f(xs):
            y = reversed(xs)
        """,
        ["y = list(xs)"],
    ),
    "off by one": (
        """
        def f(a, b):
            y = a + 1
            z = a - b
            text = "a" + b
        """,
        ["y = (a)", "z = (a) + (b)"],
    ),
    "forgotten argument": (
        """
        def f(a):
            y = common.Execution(run_id=a, workflow_id=1)
            z = g(deep=True)
        """,
        [
            "y = common.Execution(run_id=a)",
            "y = common.Execution(workflow_id=1)",
            "z = g(deep=False)",
        ],
    ),
    "flipped answer": (
        """
        def f(a):
            return True
        """,
        ["return False"],
    ),
    "missing default": (
        """
        def f(a):
            y = a.pop(1, None)
        """,
        ["y = a.pop(1)"],
    ),
    "dropped SQL condition": (
        """
        ROWS = "SELECT a FROM t WHERE b = ? AND c > ? ORDER BY a"
        """,
        ['ROWS = "SELECT a FROM t WHERE b = ? ORDER BY a"'],
    ),
    "dropped element": (
        """
        TABLE = (first, second, third)
        __all__ = ("a", "b", "c")
        """,
        ["TABLE = (first, second)", "TABLE = (first, third)", "TABLE = (second, third)"],
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_an_operator(kind: str) -> None:
    source, expected = CASES[kind]
    planted = plants(Source("x.py", textwrap.dedent(source).strip().encode() + b"\n"))
    assert sorted(plant.after for plant in planted if plant.kind == kind) == sorted(expected)


def test_a_bug_is_one_edit_of_the_bytes_and_compiles() -> None:
    source = "def f(x):\n    «x»\n".replace("«x»", 'y = "é" if x > 1 else 2').encode()
    for plant in plants(Source("x.py", source)):
        changed = plant.apply(source)
        assert changed != source
        compile(changed, "x.py", "exec")
        assert plant.before == 'y = "é" if x > 1 else 2'
        assert plant.function == "f"
        assert plant.lines == (2,)


def test_what_no_test_can_notice_is_left_alone() -> None:
    source = textwrap.dedent(
        """
        Rule = Callable[[A, B, C], D]
        TABLE: dict[str, Callable[[A, B, C], D]] = {}

        @decorated(deep=True)
        class C:
            def __repr__(self):
                return "a" if self.x else "b"

            def f(self):
                Handler = Callable[[str, int], None]
                x: dict[str, Callable[[str, int], None]] = self.x
                assert self.x and self.y
                logger.warning("a" if self.x else "b")
                raise ValueError("a" if self.x else "b")
        """
    )
    assert plants(Source("x.py", source.encode())) == []


def test_harmless_survivors_need_a_reason(tmp_path: Path) -> None:
    (plant, *_) = plants(Source("x.py", b"def f(x):\n    x.go('it''s')\n"))
    listed = tmp_path / "an_area.toml"
    listed.write_text(harmless.entry(plant, "only a test"))
    assert harmless.load(tmp_path) == {plant.key: "only a test"}
    listed.write_text(harmless.entry(plant, " "))
    with pytest.raises(ValueError, match="needs a reason"):
        harmless.load(tmp_path)


def test_a_patch_is_a_bug_too(tmp_path: Path) -> None:
    before = "def f(x):\n    y = 1\n    return y\n"
    (tmp_path / "a.py").write_text(before)
    patch = tmp_path / "B1.patch"
    patch.write_text(
        "--- a/a.py\n+++ b/a.py\n@@ -1,3 +1,3 @@\n def f(x):\n-    y = 1\n+    y = 2\n     return y\n"
    )
    plant = patches.read(patch, tmp_path)
    assert (plant.path, plant.kind, plant.lines) == ("a.py", "B1", (2,))
    assert plant.apply(before.encode()) == before.replace("1", "2").encode()
    (tmp_path / "a.py").write_text("def g():\n    pass\n")
    with pytest.raises(ValueError, match=r"B1\.patch: does not apply"):
        patches.read(patch, tmp_path)


def test_each_harmless_survivor_is_a_bug_that_can_be_planted() -> None:
    listed = harmless.load()
    root = Path(__file__).resolve().parents[2]
    paths = {path for path, *_ in listed}
    known = {
        plant.key for path in paths for plant in plants(Source(path, (root / path).read_bytes()))
    }
    assert listed.keys() - known == set(), (
        "the line has changed: check whether the change is still harmless, or remove the entry"
    )
    assert known
