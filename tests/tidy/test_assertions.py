"""Every test asserts something, and none is skipped."""

from __future__ import annotations

import ast
import functools
import textwrap

import pytest

from tests.tidy import source
from tests.tidy.assertions import Suite, skips

ALLOWED_SKIPS: dict[str, str] = {}
"""`module: what` → the reason why the test may be skipped."""


@functools.cache
def trees() -> dict[str, ast.Module]:
    found: dict[str, ast.Module] = {}
    for path in source.tracked_files():
        place = path.relative_to(source.ROOT)
        if path.suffix == ".py" and place.parts[0] == "tests":
            text = path.read_text(encoding="utf-8")
            found[".".join(place.with_suffix("").parts)] = ast.parse(text, str(path))
    return found


def test_each_test_asserts_something():
    assert Suite(trees()).without_assertion() == []


def test_no_test_is_left_out():
    found = [
        (f"{module}: {what}", line)
        for module, tree in trees().items()
        for line, what in skips(tree)
    ]
    wrong = [f"{what} in line {line}" for what, line in found if what not in ALLOWED_SKIPS]
    assert wrong == []
    unused = ALLOWED_SKIPS.keys() - {what for what, _ in found}
    assert unused == set(), "these are gone: remove them from the list"


def _parsed(text: str) -> ast.Module:
    return ast.parse(textwrap.dedent(text))


HELPERS = """
    import pytest
    def direct(): assert thing()
    def by_another(): return direct()
    def round_and_round(): return round_and_round()
    def refused():
        with pytest.raises(ValueError): thing()
    def none(): thing()
"""


@pytest.mark.parametrize(
    ("body", "is_found"),
    [
        ("thing()", True),
        ("raise AssertionError", True),
        ("none()", True),
        ("round_and_round()", True),
        ("unknown()", True),
        ("world.run()", True),
        ("world.direct()", True),
        ("assert thing()", False),
        ("direct()", False),
        ("by_another()", False),
        ("renamed()", False),
        ("await direct()", False),
        ("for _ in range(3): direct()", False),
        ("with pytest.raises(ValueError): thing()", False),
        ("with pytest.warns(UserWarning): thing()", False),
        ("refused()", False),
        ("result.assert_outcomes(passed=1)", False),
        ("world.check()", False),
    ],
)
@pytest.mark.parametrize("is_method", [False, True])
def test_what_a_test_without_assertion_is(body: str, *, is_found: bool, is_method: bool):
    lines = ["async def test_it(self):", f"    {body}"]
    if is_method:
        lines = ["class TestAll:", *(f"    {line}" for line in lines)]
    imports = "from tests.helpers import by_another, direct, none, refused, round_and_round\n"
    imports += "from tests.helpers import direct as renamed\n"
    suite = Suite(
        {
            "tests.helpers": _parsed(HELPERS),
            "tests.test_it": _parsed(imports + "\n".join(lines)),
        }
    )
    found = ["tests.test_it:4 test_it" if is_method else "tests.test_it:3 test_it"]
    assert suite.without_assertion() == (found if is_found else [])


def test_only_what_pytest_collects_is_a_test():
    text = """
        def tests_for(): pass
        def helper():
            def test_inner(): pass
    """
    assert Suite({"tests.record": _parsed("def test_row(): pass")}).without_assertion() == []
    assert Suite({"tests.test_it": _parsed(text)}).without_assertion() == [
        "tests.test_it:2 tests_for"
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("pytest.skip('later')", "pytest.skip"),
        ("pytestmark = [pytest.mark.skip]", "pytest.mark.skip"),
        ("@pytest.mark.skipif(True, reason='x')\ndef test(): ...", "pytest.mark.skipif"),
        ("pytest.param(1, marks=pytest.mark.xfail)", "pytest.mark.xfail"),
        ("pytest.importorskip('fastapi')", "pytest.importorskip"),
        ("mark.skip()", "mark.skip"),
        ("from pytest import skip", "pytest.skip"),
        ("from unittest import SkipTest", "unittest.SkipTest"),
        ("raise unittest.SkipTest", "unittest.SkipTest"),
        ("self.skipTest('later')", "self.skipTest"),
        ("collect_ignore = ['test_it.py']", "collect_ignore"),
        ("def pytest_ignore_collect(): return True", "pytest_ignore_collect"),
    ],
)
def test_what_leaves_a_test_out(text: str, what: str):
    assert [each for _, each in skips(ast.parse(text))] == [what]


def test_skipping_time_is_no_skip():
    text = "await no_skip(stage)\nenv.skip()\nworkflow.skip(3)\nskip = 5\npytest.mark.slow"
    assert skips(ast.parse(text)) == []
