"""The command: chooses bugs, runs the tests of the area against each, prints the score."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from random import Random
from typing import Self

from tests.planting import harmless, judge, patches, record, report
from tests.planting.areas import AREAS, Area
from tests.planting.judge import Tree, Verdict
from tests.planting.operators import plants
from tests.planting.plant import Plant
from tests.planting.report import Result
from tests.planting.source import Source

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".planting"
SAMPLE = 40
SECONDS_MAX = 40.0
CONTROL_SECONDS = 60.0
ALWAYS_SECONDS = 100.0


@dataclass(frozen=True, slots=True)
class _Job:
    """A bug, and the tests that may find it.

    Attributes:
        area: The name of its area.
        plant: The bug.
        tests: Run first.
        expected_s: How long these take.
        always: Run when none of `tests` found the bug.
    """

    area: str
    plant: Plant
    tests: tuple[str, ...]
    expected_s: float
    always: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 when a goal is missed, 2 when there is nothing to plant."""
    options = _parse(arguments)
    drawn = _patches(options.patch) if options.patch else _drawn(options)
    if not any(drawn.values()):
        print("planting: there is no bug to plant; check --file and --function", file=sys.stderr)
        return 2
    judge.preload()
    results: list[Result] = []
    with _Pool(options.processes) as pool:
        known = _record([AREAS[name] for name in drawn], options)
        _check_without_bugs(drawn, known, pool)
        for name, bugs in drawn.items():
            of_area = _area(name, bugs, known, options, pool)
            results += of_area
            # At once: the other areas take long, and may fail.
            print(report.survivors(of_area), flush=True)
    print(report.table(results))
    print()
    print(report.kinds(results))
    if options.found:
        print(f"\nfound:\n{report.finders(results)}")
    left = report.survivors(results)
    if left:
        print(f"\nsurvivors:\n{left}")
    if options.explain:
        print("\nentries for harmless_survivors; add a reason to each:\n")
        for result in results:
            if not result.verdict.found and not result.harmless:
                print(harmless.entry(result.plant, ""))
    problems = report.misses_goal(results, goal=options.goal)
    for problem in problems:
        print(f"planting: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.planting", description=__doc__)
    parser.add_argument(
        "--area",
        action="append",
        choices=AREAS,
        help="an area to plant bugs in; may be repeated; default: all",
    )
    parser.add_argument(
        "--sample", type=int, default=SAMPLE, help="how many bugs to plant in each area; 0: all"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="the seed that decides which bugs are drawn"
    )
    parser.add_argument("--file", help="only files whose path contains this")
    parser.add_argument("--function", help="only functions whose qualified name contains this")
    parser.add_argument(
        "--patch", type=Path, nargs="+", default=[], help="patch files to plant instead of a draw"
    )
    parser.add_argument(
        "--reuse",
        action="store_true",
        help="use the last record of which test runs which line again",
    )
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        help="a test to run first for every bug; may be repeated",
    )
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="how many bugs to try at once"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS_MAX,
        help="how many seconds of tests of each folder to run for one bug",
    )
    parser.add_argument(
        "--goal", type=float, help="the share that must be found, in each area and in all"
    )
    parser.add_argument("--found", action="store_true", help="print which test found each bug")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="print an entry for harmless_survivors for each survivor",
    )
    return parser.parse_args(arguments)


def _drawn(options: argparse.Namespace) -> dict[str, list[Plant]]:
    return {name: choose(AREAS[name], options) for name in options.area or AREAS}


def _patches(paths: Sequence[Path]) -> dict[str, list[Plant]]:
    by_area: dict[str, list[Plant]] = {}
    for path in paths:
        plant = patches.read(path, ROOT)
        by_area.setdefault(patches.area_of(plant, AREAS, ROOT), []).append(plant)
    return by_area


def _record(areas: Sequence[Area], options: argparse.Namespace) -> record.Record:
    """Record which test runs which line, or load the last record if `--reuse` is given and it has all the tests."""
    kept = FOLDER / "record.json"
    if options.reuse and kept.exists():
        known = record.load(kept)
        if known.prefixes >= record.prefixes(areas):
            return known
    print("recording which test runs which line …", flush=True)
    known = record.make(ROOT, areas, FOLDER / "record", processes=options.processes)
    record.save(known, kept)
    return known


def _area(
    name: str,
    bugs: Sequence[Plant],
    known: record.Record,
    options: argparse.Namespace,
    pool: _Pool,
) -> list[Result]:
    area = AREAS[name]
    jobs = [_job(name, area, known, plant, options) for plant in bugs]
    results: list[Result] = []
    for result in pool.play(jobs):
        results.append(result)
        _show_progress(name, results, len(jobs))
    return sorted(results, key=lambda each: (each.plant.path, each.plant.start, each.plant.text))


def _check_without_bugs(areas: Iterable[str], known: record.Record, pool: _Pool) -> None:
    """Fail before hours of work, and name every test at once that depends on what ran before it."""
    verdicts = {name: pool.control(_fastest(known, AREAS[name])) for name in areas}
    failed = [f"{name}: {verdict}" for name, verdict in verdicts.items() if verdict.found]
    if failed:
        raise RuntimeError("tests fail without a bug:\n" + "\n".join(failed))


def _fastest(known: record.Record, area: Area) -> tuple[str, ...]:
    """The fastest tests of the area. They must pass without a bug, or every bug would count as found."""
    tests: list[str] = []
    total_s = 0.0
    for test in sorted(known.of_area(area), key=known.durations_s.__getitem__):
        total_s += known.durations_s[test]
        if total_s > CONTROL_SECONDS:
            break
        tests.append(test)
    return tuple(tests)


def _show_progress(name: str, results: list[Result], count: int) -> None:
    text = f"{name}: {len(results)} of {count} bugs, {report.score(results).found} found"
    if sys.stdout.isatty():
        print(f"\r{text}", end="\n" if len(results) == count else "", flush=True)
    elif len(results) == count or not len(results) % 20:
        print(text, flush=True)


def choose(area: Area, options: argparse.Namespace) -> list[Plant]:
    """The bugs to plant. The same seed and source give the same draw."""
    everything = [
        plant
        for path in area.files(ROOT)
        if options.file is None or options.file in str(path)
        for plant in plants(Source(str(path), (ROOT / path).read_bytes()))
        if options.function is None or options.function in plant.function
    ]
    if not options.sample or options.sample >= len(everything):
        return everything
    return Random(options.seed).sample(everything, options.sample)


def _job(
    name: str, area: Area, known: record.Record, plant: Plant, options: argparse.Namespace
) -> _Job:
    tests = known.tests_for(plant, area, seconds_max=options.seconds)
    expected_s = sum(known.durations_s[test] for test in tests) + 10.0 * len(options.also)
    return _Job(name, plant, (*options.also, *tests), expected_s, area.always)


# The processes of the pool, each with its own copy of the tree.

_tree: Tree | None = None
_reasons: dict[harmless.Key, str] = {}


class _Pool:
    """Processes that run tests against bugs, each in its own copy of the tree."""

    def __init__(self, processes: int) -> None:
        context = multiprocessing.get_context("fork")
        numbers: SimpleQueue[int] = context.SimpleQueue()
        for number in range(processes):
            numbers.put(number)
        self._pool = context.Pool(processes, _begin, (numbers,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.terminate()

    def control(self, tests: tuple[str, ...]) -> Verdict:
        """Run tests on an unchanged tree."""
        return self._pool.apply(_play_control, (tests,))

    def play(self, jobs: list[_Job]) -> Iterator[Result]:
        """Run the tests of each bug; the results come in no particular order."""
        return self._pool.imap_unordered(_play, jobs)


def _begin(numbers: SimpleQueue[int]) -> None:
    global _tree  # noqa: PLW0603 - one per process of the pool
    _tree = Tree(ROOT, FOLDER / f"tree-{numbers.get()}")
    _reasons.update(harmless.load())


def _play_control(tests: tuple[str, ...]) -> Verdict:
    assert _tree is not None
    return judge.run(_tree, tests, expected_s=CONTROL_SECONDS)


def _play(job: _Job) -> Result:
    assert _tree is not None
    with _tree.with_bug(job.plant):
        verdict = judge.run(_tree, job.tests, expected_s=job.expected_s)
    if not verdict.found and job.always and job.plant.key not in _reasons:
        with _tree.with_bug(job.plant):
            last = judge.run(_tree, job.always, expected_s=ALWAYS_SECONDS)
        if last.found and _is_steady(job.always, ALWAYS_SECONDS):
            verdict = last
    elif verdict.may_be_load and not _is_steady(job.tests, job.expected_s):
        how = "its tests also fail without the bug"
        verdict = Verdict(found=False, how=how, shown=verdict.shown)
    own = verdict.found and AREAS[job.area].is_own(verdict.by)
    return Result(job.area, job.plant, verdict, _reasons.get(job.plant.key, ""), own)


def _is_steady(tests: tuple[str, ...], expected_s: float) -> bool:
    """Whether the tests pass without the bug. On a busy machine they may time out."""
    assert _tree is not None
    return not judge.run(_tree, tests, expected_s=expected_s).found
