"""Records which test runs which line, from one run of the tests of some areas under coverage.

A record is out of date when tests were added or moved after it was made.
"""

from __future__ import annotations

import ast
import itertools
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.planting.areas import SOURCE, Area, is_below
from tests.planting.listener import RESULT_VARIABLE
from tests.planting.plant import Plant

SEEDS = "40"
"""How many simulated worlds are played for one bug; the default number takes half a minute."""
SECONDS_OF_A_RECORD = 1_500
"""Five times what all tests take on a quiet machine."""
OPTIONS = ("-q", "-p", "no:cacheprovider", "-p", "tests.planting.listener", "--seeds", SEEDS)
SECONDS_PER_TEST = 900
"""Generous: coverage makes tests several times slower, and so does a busy machine."""
TEST_SECONDS_MAX = 20.0
"""Slower tests are not run against bugs."""

_COVERAGE_SETTINGS = """
[run]
branch = false
source = {source}
data_file = {data}
disable_warnings = no-data-collected,module-not-measured
"""


@dataclass(frozen=True, slots=True)
class Record:
    """Which line is run by which tests, for some areas.

    Attributes:
        prefixes: The folders and files of tests that were run.
        durations_s: How long each test took, in seconds.
        lines: File → line → the tests that run it.
    """

    prefixes: frozenset[str]
    durations_s: dict[str, float]
    lines: dict[str, dict[int, list[str]]]

    def tests_for(self, plant: Plant, area: Area, *, seconds_max: float) -> list[str]:
        """The tests to run against a bug, the most direct and fastest first.

        Each folder of tests has the time again, so that many slow tests of one folder do not keep a bug from the tests
        of the next, which may be closer to its line.
        """
        of_file = self.lines.get(plant.path, {})
        ranks = {
            test: rank
            for line in plant.lines
            for test in of_file.get(line, ())
            if (rank := _rank(test, area)) is not None
        }
        direct = frozenset(ranks)
        # The line runs at import: any test that runs the module may find the bug, not only those that load it again.
        if not ranks or not plant.function:
            ranks |= {
                test: rank
                for line_tests in of_file.values()
                for test in line_tests
                if (rank := _rank(test, area)) is not None
            }
        ordered = sorted(
            ranks, key=lambda name: (ranks[name], name not in direct, self.durations_s[name], name)
        )
        return [
            test
            for _, of_folder in itertools.groupby(ordered, key=ranks.__getitem__)
            for test in self._fitting(of_folder, seconds_max)
        ]

    def _fitting(self, tests: Iterable[str], seconds_max: float) -> list[str]:
        chosen: list[str] = []
        total_s = 0.0
        for test in tests:
            if self.durations_s[test] > TEST_SECONDS_MAX:
                continue
            total_s += self.durations_s[test]
            if total_s > seconds_max and chosen:
                break
            chosen.append(test)
        return chosen

    def of_area(self, area: Area) -> list[str]:
        """The tests of an area, its own and further ones."""
        return [test for test in self.durations_s if _rank(test, area) is not None]


def _rank(test: str, area: Area) -> int | None:
    """The position of a test among the tests of an area; None when it is not one of them."""
    for rank, place in enumerate(area.recorded):
        if is_below(test, place):
            return rank
    return None


def prefixes(areas: Iterable[Area]) -> frozenset[str]:
    """The folders and files of tests that a record of these areas must have."""
    return frozenset(prefix for area in areas for prefix in area.recorded)


def make(root: Path, areas: Iterable[Area], folder: Path, *, processes: int) -> Record:
    """Run the tests of some areas under coverage.

    Raises:
        RuntimeError: A test failed without a bug, or the tests did not come to an end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings, data, result = folder / "coverage.ini", folder / "coverage.db", folder / "result.json"
    for old in (data, result):
        old.unlink(missing_ok=True)
    settings.write_text(
        _COVERAGE_SETTINGS.format(source=root / SOURCE, data=data), encoding="utf-8"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        *OPTIONS,
        "-n",
        str(processes),
        "--dist",
        "worksteal",
    ]
    command += ["-p", "tests.planting.collecting", "-m", "not interrupts"]
    command += ["--cov", "--cov-context=test", f"--cov-config={settings}", "--cov-report="]
    command += [f"--timeout={SECONDS_PER_TEST}"]
    ran = prefixes(areas)
    command += sorted(ran)
    environment = os.environ | {RESULT_VARIABLE: str(result), "CI": "1"}
    run_to_end(command, root, environment)
    durations: dict[str, float] = json.loads(result.read_text(encoding="utf-8"))["durations"]
    return Record(ran, durations, _lines(root, data, durations))


def run_to_end(
    command: Sequence[str],
    root: Path,
    environment: Mapping[str, str],
    seconds_max: float = SECONDS_OF_A_RECORD,
) -> None:
    """Run the tests; again, once, if they do not end: coverage can block itself when the collector runs inside it.

    Args:
        command: Starts them.
        root: Where.
        environment: Of the process.
        seconds_max: How long they may take. Then they are killed with all their processes.

    Raises:
        RuntimeError: A test failed, or there was no end twice.
    """
    for _ in range(2):
        with subprocess.Popen(
            command,
            cwd=root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as running:
            try:
                output, _ = running.communicate(timeout=seconds_max)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
                continue
        if running.returncode:
            raise RuntimeError(
                "tests fail without a bug:\n" + output.decode(errors="replace")[-3000:]
            )
        return
    raise RuntimeError(f"the tests without a bug did not end within {seconds_max} s, twice")


def _lines(root: Path, data: Path, known: Iterable[str]) -> dict[str, dict[int, list[str]]]:
    from coverage import CoverageData

    tests = set(known)
    measured = CoverageData(basename=str(data))
    measured.read()
    lines: dict[str, dict[int, list[str]]] = {}
    for name in measured.measured_files():
        by_line: dict[int, list[str]] = defaultdict(list)
        for line, contexts in measured.contexts_by_lineno(name).items():
            found = {context.rpartition("|")[0] for context in contexts}
            by_line[line] = sorted(found & tests)
        fill_functions(Path(name).read_bytes(), by_line)
        lines[str(Path(name).relative_to(root))] = dict(by_line)
    return lines


def fill_functions(source: bytes, by_line: dict[int, list[str]]) -> None:
    """Give lines without recorded tests the tests of the other lines of their function.

    After the simulator's event loop has ended, coverage no longer sees the frames around it. Without this function, no
    tests would be run for lines that every simulation runs.

    Args:
        source: The module.
        by_line: Line → the tests that run it; changed in place.
    """
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        body = range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1)
        tests = sorted({test for line in body for test in by_line.get(line, ())})
        for line in body:
            by_line[line] = by_line.get(line) or tests


def save(record: Record, path: Path) -> None:
    """Write a record. Tests are numbered, which makes the file ten times smaller."""
    names = list(record.durations_s)
    numbers = {name: number for number, name in enumerate(names)}
    content: dict[str, Any] = {
        "prefixes": sorted(record.prefixes),
        "tests": [[name, record.durations_s[name]] for name in names],
        "lines": {
            path: {line: [numbers[test] for test in tests] for line, tests in by_line.items()}
            for path, by_line in record.lines.items()
        },
    }
    path.write_text(json.dumps(content), encoding="utf-8")


def load(path: Path) -> Record:
    """Read a record."""
    content = json.loads(path.read_text(encoding="utf-8"))
    names: list[str] = [name for name, _ in content["tests"]]
    return Record(
        frozenset(content["prefixes"]),
        dict(content["tests"]),
        {
            path: {int(line): [names[n] for n in tests] for line, tests in by_line.items()}
            for path, by_line in content["lines"].items()
        },
    )
