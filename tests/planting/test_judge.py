"""Which verdicts are doubted: those that a busy machine can cause without the bug."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.planting.judge import HUNG, Verdict, functions_of

SLOW = """
import time
def test_slow():
    time.sleep(60)
"""


def test_the_message_of_a_test_that_exceeds_its_limit_is_known(tmp_path: Path) -> None:
    path = tmp_path / "test_slow.py"
    path.write_text(SLOW)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "tests.time_limits", "--timeout=0.5"),
            *("-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(path)),
        ],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    (how,) = {line for line in done.stdout.splitlines() if line.startswith("E  ")}
    assert Verdict(found=True, by="test_slow", how=how).may_be_load


@pytest.mark.parametrize(
    ("by", "how", "may_be_load"),
    [
        ("test", "TimeoutError", True),
        ("test", "RPCError: Timeout expired", True),
        (HUNG, "did not end", True),
        ("test", "assert 1 == 2", False),
        ("(ended)", "process status 1", False),
    ],
)
def test_other_verdicts(by: str, how: str, *, may_be_load: bool) -> None:
    assert Verdict(found=True, by=by, how=how).may_be_load is may_be_load


def test_a_bug_that_was_not_found_is_not_doubted() -> None:
    assert not Verdict(found=False).may_be_load


def test_the_functions_of_tests_have_no_parameters() -> None:
    tests = ["a.py::one[1-x]", "a.py::two", "a.py::one[2-[y]]", "a.py::C::three[x]"]
    assert functions_of(tests) == ("a.py::one", "a.py::two", "a.py::C::three")
