"""No test outlives its time limit. Each test here starts a pytest process on tests that never end."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEVER_ENDING = Path(__file__).parent / "never_ending.py"
PATIENCE_S = 150

KILLED = {
    "everything is caught": """
def test_overdue():
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
""",
    "the main thread is stuck in C": """
import ctypes

def test_overdue():
    lock, mutex = ctypes.CDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(128)
    lock(mutex)
    lock(mutex)
""",
}
NEXT = """
def test_next():
    pass
"""
LEFT_OVER = """
import threading

def test_overdue():
    threading.Thread(target=threading.Event().wait).start()
"""


def run(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on a file, in a new process; raises an exception if it does not end."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "tests.time_limits"),
            *("-p", "no:cacheprovider", "-p", "no:xdist", "-o", "asyncio_mode=auto"),
            *(*options, f"--rootdir={path.parent}", str(path)),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_overdue_tests_fail_one_after_the_other() -> None:
    source = NEVER_ENDING.read_text()
    expected = set(re.findall(r"def (test_\w+)\(", source)) - {"test_z_passes"}
    # Tracebacks without source: CPython 3.11 may fail to parse it while it collects what these tests leave behind.
    done = run(NEVER_ENDING, "--tb=line", "--timeout=0.5", f"--overdue-grace={PATIENCE_S}")
    failed = set(re.findall(r"^(?:FAILED|ERROR) \S+::(\w+)", done.stdout, re.MULTILINE))
    assert failed == expected, done.stdout
    # On a busy machine the end of a failed test may be overdue too, which is one more error.
    counts = re.search(rf"{len(expected) - 1} failed, 2 passed, (\d+) errors", done.stdout)
    assert counts, done.stdout
    assert int(counts[1]) >= 2
    for name in expected:
        assert f"::{name} takes longer than 0.5 s" in done.stdout


@pytest.mark.parametrize("test", KILLED.values(), ids=KILLED.keys())
def test_a_test_that_cannot_be_interrupted_ends_the_process(tmp_path: Path, test: str) -> None:
    path = tmp_path / "test_loops.py"
    path.write_text(test + NEXT)
    done = run(path, "--timeout=0.5", "--overdue-grace=0.5", "-v")
    assert done.returncode == 1, done.stdout
    assert f'"{path}", line' in done.stdout, "the stacks are shown"
    assert "test_next" not in done.stdout


def test_a_thread_that_is_left_over_does_not_keep_the_process(tmp_path: Path) -> None:
    path = tmp_path / "test_loops.py"
    path.write_text(LEFT_OVER + NEXT)
    done = run(path, "--timeout=60", "--overdue-grace=1")
    assert "2 passed" in done.stdout
    assert done.returncode == 1, "a run that leaves a thread behind is not green"
    assert "threading.py" in done.stdout, "the stacks are shown"
