"""The results as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.planting.judge import Verdict
from tests.planting.plant import Plant

AREA_GOAL = 0.90
TOTAL_GOAL = 0.95


@dataclass(frozen=True, slots=True)
class Result:
    """One bug and its verdict.

    Attributes:
        area: The area whose tests were run.
        plant: The bug.
        verdict: The result of the tests.
        harmless: Why the change is harmless; empty when it is a bug.
        by_own: Whether a test of the area itself found it.
    """

    area: str
    plant: Plant
    verdict: Verdict
    harmless: str = ""
    by_own: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of one area or of all."""

    planted: int
    found: int
    harmless: int
    by_own: int

    @property
    def matter(self) -> int:
        """The number of bugs that count."""
        return self.planted - self.harmless

    @property
    def share(self) -> float:
        """The share of the bugs that count that was found; 1 when none counts."""
        return self.found / self.matter if self.matter else 1.0


def score(results: Sequence[Result]) -> Score:
    """Count results. A bug that was found counts as found even if it is listed as harmless."""
    found = sum(result.verdict.found for result in results)
    harmless = sum(bool(result.harmless) and not result.verdict.found for result in results)
    return Score(len(results), found, harmless, sum(result.by_own for result in results))


def table(results: Sequence[Result]) -> str:
    """A row for each area, and one for all. `own` counts what tests of the area itself found."""
    rows = [f"{'area':12} {'planted':>8} {'harmless':>9} {'found':>6} {'own':>6} {'score':>7}"]
    for area in [*dict.fromkeys(result.area for result in results), "all"]:
        counts = score([result for result in results if area in {"all", result.area}])
        rows.append(
            f"{area:12} {counts.planted:8} {counts.harmless:9} {counts.found:6} {counts.by_own:6}"
            f" {counts.share:7.1%}"
        )
    return "\n".join(rows)


def survivors(results: Sequence[Result]) -> str:
    """Every bug that no test found: where it is, and what it changes."""
    lines: list[str] = []
    for result in results:
        plant = result.plant
        if result.verdict.found:
            continue
        lines += [
            f"{plant.path}:{plant.line} {plant.function} ({plant.kind}; {result.verdict.shown} tests)",
            f"    - {plant.before}",
            f"    + {plant.after}",
        ]
        if result.harmless:
            lines.append(f"    harmless: {result.harmless}")
    return "\n".join(lines)


def kinds(results: Sequence[Result]) -> str:
    """How many bugs of each operator were found and planted."""
    planted = Counter(result.plant.kind for result in results)
    found = Counter(result.plant.kind for result in results if result.verdict.found)
    return "\n".join(f"{kind:24} {found[kind]:4} of {planted[kind]:4}" for kind in sorted(planted))


def misses_goal(results: Sequence[Result], *, goal: float | None = None) -> list[str]:
    """A message for each missed goal. `goal` replaces both goals."""
    area_goal, total_goal = (goal, goal) if goal is not None else (AREA_GOAL, TOTAL_GOAL)
    problems: list[str] = []
    for area in dict.fromkeys(result.area for result in results):
        share = score([result for result in results if result.area == area]).share
        if share < area_goal:
            problems.append(f"{area}: {share:.1%} found, the goal is {area_goal:.0%}")
    share = score(results).share
    if share < total_goal:
        problems.append(f"all areas: {share:.1%} found, the goal is {total_goal:.0%}")
    return problems


def finders(results: Sequence[Result]) -> str:
    """Which test found each bug, and its message."""
    lines: list[str] = []
    for result in results:
        plant, verdict = result.plant, result.verdict
        if verdict.found:
            lines += [
                f"{plant.path}:{plant.line} {plant.function} ({plant.kind})",
                f"    - {plant.before}",
                f"    + {plant.after}",
                f"    {verdict.by}: {verdict.how}",
            ]
    return "\n".join(lines)
