"""The command: choose bugs, show each to its area's tests, print the score."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from random import Random
from typing import Self

from tests.planting import harmless, judge, patches, record, report
from tests.planting.areas import AREAS, Area
from tests.planting.judge import Tree, Verdict
from tests.planting.operators import Source, plants
from tests.planting.plant import Plant
from tests.planting.report import Result

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".planting"
SAMPLE = 40
SECONDS_MAX = 40.0
CONTROL_SECONDS = 60.0
ALWAYS_SECONDS = 100.0


@dataclass(frozen=True, slots=True)
class _Job:
    """A bug with the tests that may notice it.

    Attributes:
        area: The name of its area.
        plant: The bug.
        tests: Shown first.
        expected_s: How long these take.
        always: Shown when none of them noticed.
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
        print("planting: there is no bug to plant: look at --file and --function", file=sys.stderr)
        return 2
    judge.preload()
    results: list[Result] = []
    with _Pool(options.processes) as pool:
        known = _record([AREAS[name] for name in drawn], options)
        for name, bugs in drawn.items():
            results += _area(name, bugs, known, options, pool)
    print(report.table(results))
    print()
    print(report.kinds(results))
    if options.found:
        print(f"\nfound:\n{report.finders(results)}")
    left = report.survivors(results)
    if left:
        print(f"\nsurvivors:\n{left}")
    if options.explain:
        print("\nentries for harmless_survivors, each to be given its reason:\n")
        for result in results:
            if not result.verdict.found and not result.harmless:
                print(harmless.entry(result.plant, ""))
    problems = report.misses_goal(results, goal=options.goal)
    for problem in problems:
        print(f"planting: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.planting", description=__doc__)
    parser.add_argument("--area", action="append", choices=AREAS, help="repeat it; default: all")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="bugs per area; 0: every one")
    parser.add_argument("--seed", type=int, default=1, help="which bugs are drawn")
    parser.add_argument("--file", help="only files whose path contains this")
    parser.add_argument("--function", help="only functions whose qualified name contains this")
    parser.add_argument(
        "--patch", type=Path, nargs="+", default=[], help="patch files to plant instead of a draw"
    )
    parser.add_argument(
        "--reuse", action="store_true", help="use the last record of which test runs which line"
    )
    parser.add_argument(
        "--also", action="append", default=[], help="tests to show every bug, first"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=SECONDS_MAX, help="tests shown to one bug")
    parser.add_argument("--goal", type=float, help="the least share found, for each area and all")
    parser.add_argument("--found", action="store_true", help="print who noticed each bug")
    parser.add_argument(
        "--explain", action="store_true", help="print entries for harmless_survivors"
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
    """Which test runs which line; the last record is used again when that is asked for and it is enough."""
    kept = FOLDER / "record.json"
    if options.reuse and kept.exists():
        known = record.load(kept)
        if known.prefixes >= record.prefixes(areas):
            return known
    print("which test runs which line …", flush=True)
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
    control = pool.control(_fastest(known, area))
    if control.found:
        raise RuntimeError(f"{name}: tests fail without any bug planted: {control}")
    jobs = [_job(name, area, known, plant, options) for plant in bugs]
    results: list[Result] = []
    for result in pool.play(jobs):
        results.append(result)
        _show_progress(name, results, len(jobs))
    return sorted(results, key=lambda each: (each.plant.path, each.plant.start, each.plant.text))


def _fastest(known: record.Record, area: Area) -> tuple[str, ...]:
    """The area's fastest tests, for the control: what fails without a bug would be found in every tree."""
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
    """The bugs to plant: a draw without repetition, the same for the same seed and source."""
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


# Processes, each with a tree of its own.

_tree: Tree | None = None
_reasons: dict[harmless.Key, str] = {}


class _Pool:
    """A few processes that show bugs to tests."""

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
        """Run tests on the tree as it is."""
        return self._pool.apply(_play_control, (tests,))

    def play(self, jobs: list[_Job]) -> Iterator[Result]:
        """Show each bug to its tests; results come as they are ready."""
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
    elif verdict.found and "imeout" in verdict.how and not _is_steady(job.tests, job.expected_s):
        how = "its tests also fail without it"
        verdict = Verdict(found=False, how=how, shown=verdict.shown)
    own = verdict.found and AREAS[job.area].is_own(verdict.by)
    return Result(job.area, job.plant, verdict, _reasons.get(job.plant.key, ""), own)


def _is_steady(tests: tuple[str, ...], expected_s: float) -> bool:
    """Whether tests pass without the bug: a busy machine must not look like a find."""
    assert _tree is not None
    return not judge.run(_tree, tests, expected_s=expected_s).found
