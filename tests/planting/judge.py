"""Runs tests against one planted bug, in a child process and in a copy of the tree.

Children are forked from a process that has already imported what all tests need and no bug can change (pytest,
Hypothesis, grpc), so that a child costs little more than its tests. The copy has all files of the checkout: tests that
start Python processes find the bug as well.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.planting.listener import RESULT_VARIABLE
from tests.planting.plant import Plant
from tests.planting.record import OPTIONS
from tests.time_limits import OVERDUE

SECONDS_PER_TEST = "45"
HUNG = "(hung)"
HUNG_MIN_S = 120.0
HUNG_FACTOR = 20.0
CPU_MIN_S = 60
CPU_FACTOR = 6.0
USAGE_ERROR = 4
"""The exit status of pytest when a named test does not exist: the record is out of date."""
CONFTEST_FAILED = "ImportError while loading conftest"
"""What pytest prints when the bug breaks an import of a conftest, which has the same status."""

_PRELOADED = (
    "pytest",
    "_pytest.assertion.rewrite",
    "_pytest.pytester",
    "pytest_asyncio",
    "pytest_timeout",
    "hypothesis",
    "hypothesis.strategies",
    "hypothesis.stateful",
    "click.testing",
    "grpc",
    "grpc.aio",
    "google.protobuf.json_format",
    "msgspec",
    "sqlite3",
)
_PRELOADED_IS_FINE = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
_OURS = ("perdure", "tests", "examples", "scripts", "benchmarks")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of the tests for one bug.

    Attributes:
        found: A test failed or did not end.
        by: The test that failed; empty when none did.
        how: Its message.
        shown: How many tests were chosen.
    """

    found: bool
    by: str = ""
    how: str = ""
    shown: int = 0

    @property
    def may_be_load(self) -> bool:
        """Whether something took too long, which a busy machine can cause without the bug."""
        is_late = OVERDUE in self.how or "timeout" in self.how.lower()
        return self.found and (is_late or self.by == HUNG)


class Tree:
    """A copy of the checkout in which one bug at a time is planted."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root = root
        self.folder = folder
        if folder.exists():
            shutil.rmtree(folder)
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=root,
            check=True,
            capture_output=True,
        ).stdout
        for name in listed.decode().split("\0"):
            if name and (root / name).is_file():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(root / name, target)

    @contextlib.contextmanager
    def with_bug(self, plant: Plant):
        """Plant a bug for the length of the block."""
        path = self.folder / plant.path
        original = (self._root / plant.path).read_bytes()
        path.write_bytes(plant.apply(original))
        _forget_bytecode(path)
        try:
            yield
        finally:
            path.write_bytes(original)
            _forget_bytecode(path)


def _forget_bytecode(path: Path) -> None:
    """Delete compiled files. Python compares seconds and sizes, and would miss a change of the same length."""
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink(missing_ok=True)


def preload() -> None:
    """Import what the children share. No module of this repository: a bug in it would have no effect."""
    for name in _PRELOADED:
        importlib.import_module(name)


def run(tree: Tree, tests: Sequence[str], *, expected_s: float) -> Verdict:
    """Run tests in a tree until one fails."""
    if not tests:
        return Verdict(found=False)
    result = tree.folder / ".planting-result.json"
    result.unlink(missing_ok=True)
    log = tree.folder / ".planting-log.txt"
    child = os.fork()
    if not child:
        _in_child(tree.folder, tests, result, log, expected_s)
    status = _wait(child, HUNG_MIN_S + HUNG_FACTOR * expected_s)
    if status is None:
        return Verdict(found=True, by=HUNG, how="did not end", shown=len(tests))
    content = json.loads(result.read_text(encoding="utf-8")) if result.exists() else None
    if content is not None and content["failed"]:
        by, how = content["failed"][0]
        return Verdict(found=True, by=by, how=how, shown=len(tests))
    if status:
        tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        code = os.waitstatus_to_exitcode(status)
        if code == USAGE_ERROR and CONFTEST_FAILED not in tail:
            functions = functions_of(tests)
            if functions != tuple(
                tests
            ):  # a bug may change the parameters, and so the names of tests
                return run(tree, functions, expected_s=expected_s)
            raise RuntimeError(f"pytest did not start the tests:\n{tail}")
        return Verdict(found=True, by="(ended)", how=f"process status {code}", shown=len(tests))
    return Verdict(found=False, shown=len(tests))


def functions_of(tests: Sequence[str]) -> tuple[str, ...]:
    """The test functions of some tests, without parameters and without repetition."""
    return tuple(dict.fromkeys(test.partition("[")[0] for test in tests))


def _wait(child: int, limit_s: float) -> int | None:
    """The exit status of the child; None when it had to be killed."""
    until_s = time.monotonic() + limit_s
    while time.monotonic() < until_s:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            _end_group(child)
            return status
        time.sleep(0.02)
    _end_group(child)
    os.waitpid(child, 0)
    return None


def _end_group(child: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)


def _in_child(
    folder: Path, tests: Sequence[str], result: Path, log: Path, expected_s: float
) -> None:
    """Run pytest in the tree, in the forked child. Does not return."""
    code = 3
    try:
        os.setsid()
        limit_s = CPU_MIN_S + int(CPU_FACTOR * expected_s)
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s + 10))
        output = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(folder)
        for name in [name for name in sys.modules if name.partition(".")[0] in _OURS]:
            del sys.modules[name]
        ours = [str(folder / "src"), str(folder)]
        others = [each for each in sys.path if each and not _is_checkout(Path(each))]
        sys.path[:] = [*ours, *others]
        sys.dont_write_bytecode = True
        os.environ |= {
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join(ours),
            RESULT_VARIABLE: str(result),
            "CI": "1",
            "REFERENCE_RECORDED_ONLY": "1",  # see tests.reference.servers, which must not be imported here
        }
        pytest = importlib.import_module("pytest")
        options = [
            *OPTIONS,
            "-x",
            "-p",
            "no:xdist",
            "-W",
            _PRELOADED_IS_FINE,
            f"--timeout={SECONDS_PER_TEST}",
            "--tb=short",
        ]
        code = int(pytest.main([*options, f"--rootdir={folder}", *tests]))
        sys.stdout.flush()
    finally:
        os._exit(code)


def _is_checkout(path: Path) -> bool:
    """Whether our packages could be imported from this folder, without the bug."""
    return (path / "perdure").is_dir() or (path / "tests" / "planting").is_dir()
