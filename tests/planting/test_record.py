"""Which tests are run against a bug, and in which order."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.planting.areas import AREAS, Area
from tests.planting.plant import Plant
from tests.planting.record import Record, fill_functions, prefixes, run_to_end

ROOT = Path(__file__).resolve().parents[2]
AREA = Area(
    ("worker",), ("tests/unit/worker", "tests/unit/host"), further=("tests/replay/test_a.py",)
)
OWN_SLOW, OWN_FAST = "tests/unit/worker/test_x.py::slow", "tests/unit/worker/test_x.py::fast"
OWN_SECOND = "tests/unit/host/test_x.py::test"
FURTHER = "tests/replay/test_a.py::test"
FOREIGN = "tests/unit/worker_host/test_x.py::test"
DURATIONS_S = {OWN_SLOW: 3.0, OWN_FAST: 1.0, OWN_SECOND: 0.5, FURTHER: 0.1, FOREIGN: 0.1}
FILE = "src/perdure/worker/x.py"


def record(lines: dict[int, list[str]]) -> Record:
    return Record(prefixes([AREA]), DURATIONS_S, {FILE: lines})


def bug(*lines: int, function: str = "f") -> Plant:
    return Plant(FILE, lines[0], lines, function, "dropped exit", 0, 1, "", "", "")


def test_own_tests_come_first_in_the_order_of_the_area_then_the_fast_ones():
    known = record({4: [FOREIGN, FURTHER, OWN_SECOND, OWN_SLOW, OWN_FAST]})
    shown = known.tests_for(bug(4), AREA, seconds_max=40)
    assert shown == [OWN_FAST, OWN_SLOW, OWN_SECOND, FURTHER]
    assert [AREA.is_own(test) for test in shown] == [True, True, True, False]


def test_a_folder_whose_name_begins_like_a_further_one_is_the_areas_own():
    own, further = "tests/unit/worker_host/test_x.py::test", "tests/unit/worker/test_x.py::test"
    for name in ("replay", "vocabulary"):
        assert AREAS[name].is_own(own)
        assert not AREAS[name].is_own(further)


def test_each_folder_has_the_same_time():
    known = record({4: [FURTHER, OWN_SECOND, OWN_SLOW, OWN_FAST]})
    assert known.tests_for(bug(4), AREA, seconds_max=2) == [OWN_FAST, OWN_SECOND, FURTHER]


def test_a_bug_of_several_lines_is_shown_to_the_tests_of_each():
    known = record({4: [OWN_FAST], 5: [OWN_SECOND], 6: [OWN_SLOW]})
    assert known.tests_for(bug(4, 5), AREA, seconds_max=40) == [OWN_FAST, OWN_SECOND]


def test_a_line_that_no_test_runs_is_shown_to_the_tests_of_its_module():
    known = record({4: [OWN_FAST], 5: [OWN_SECOND, FOREIGN]})
    assert known.tests_for(bug(9), AREA, seconds_max=40) == [OWN_FAST, OWN_SECOND]


def test_a_line_outside_of_functions_is_shown_to_all_tests_of_its_module():
    """Tests that load the module again are recorded for the line, but others see what it defines as well."""
    known = record({4: [OWN_SECOND], 5: [OWN_FAST, FOREIGN]})
    assert known.tests_for(bug(4), AREA, seconds_max=40) == [OWN_SECOND]
    assert known.tests_for(bug(4, function=""), AREA, seconds_max=40) == [OWN_FAST, OWN_SECOND]
    known = record({4: [OWN_SLOW], 5: [OWN_FAST]})
    shown = known.tests_for(bug(4, function=""), AREA, seconds_max=40)
    assert shown == [OWN_SLOW, OWN_FAST], "those that run the line first"


def test_a_test_that_takes_too_long_is_left_out():
    known = Record(
        prefixes([AREA]), DURATIONS_S | {OWN_FAST: 30.0}, {FILE: {4: [OWN_FAST, OWN_SLOW]}}
    )
    assert known.tests_for(bug(4), AREA, seconds_max=40) == [OWN_SLOW]


def test_the_tests_of_an_area_are_those_below_its_folders():
    assert record({}).of_area(AREA) == [OWN_SLOW, OWN_FAST, OWN_SECOND, FURTHER]


def test_lines_that_were_not_seen_to_run_have_the_tests_of_their_function():
    source = b"def f():\n    one()\n    two()\n    three()\n\ndef g():\n    four()\n"
    by_line = {2: ["b", "a"], 3: ["c"]}
    fill_functions(source, by_line)
    assert by_line == {2: ["b", "a"], 3: ["c"], 4: ["a", "b", "c"], 7: []}


def test_each_file_of_the_source_belongs_to_one_area_and_all_tests_are_there():
    files = [path for area in AREAS.values() for path in area.files(ROOT)]
    assert len(files) == len(set(files))
    left = {path.relative_to(ROOT) for path in (ROOT / "src/perdure").rglob("*.py")} - set(files)
    assert {str(path) for path in left} == {
        f"src/perdure/{name}.py" for name in ("__init__", "__main__", "types")
    }
    named = [test for area in AREAS.values() for test in (*area.recorded, *area.always)]
    assert [test for test in named if not (ROOT / test).exists()] == []


STARTS = "import pathlib; starts = pathlib.Path('starts'); starts.open('a').write('x'); "
HANGS_ONCE = STARTS + "import time; time.sleep(600 if starts.read_text() == 'x' else 0)"


def test_tests_that_do_not_end_are_killed_and_run_again(tmp_path: Path):
    run_to_end([sys.executable, "-c", HANGS_ONCE], tmp_path, os.environ, 8)
    assert (tmp_path / "starts").read_text() == "xx"


def test_tests_that_never_end_are_an_error(tmp_path: Path):
    with pytest.raises(RuntimeError, match="did not end within 1 s, twice"):
        run_to_end(
            [sys.executable, "-c", STARTS + "import time; time.sleep(600)"], tmp_path, os.environ, 1
        )


def test_tests_that_fail_without_a_bug_are_shown_and_not_run_again(tmp_path: Path):
    with pytest.raises(RuntimeError, match="tests fail without a bug:\nfirst of all"):
        run_to_end(
            [sys.executable, "-c", STARTS + "print('first of all'); raise SystemExit(1)"],
            tmp_path,
            os.environ,
        )
    assert (tmp_path / "starts").read_text() == "x"


def test_nothing_is_collected_while_a_recorded_test_runs_and_young_objects_after_it(tmp_path: Path):
    (tmp_path / "test_garbage.py").write_text(
        """
import gc, weakref

class Node:
    pass

seen = []

def test_makes_a_circle():
    gc.enable()
    gc.disable()
    node = Node()
    node.itself = node
    seen.append(weakref.ref(node))

def test_the_circle_is_gone_and_the_collector_is_off():
    assert seen[0]() is None
    assert not gc.isenabled()
    gc.enable()

def test_it_is_off_again():
    assert not gc.isenabled()
""",
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
            "-p", "tests.planting.collecting", str(tmp_path / "test_garbage.py"), "--rootdir", str(tmp_path),
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
