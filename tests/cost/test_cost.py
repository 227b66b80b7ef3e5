"""A workflow costs what is recorded: nothing makes it more expensive unnoticed."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

from tests.cost.measure import VERSION, recorded

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 0.03


def test_a_workflow_costs_as_many_bytecodes_as_recorded(tmp_path: Path) -> None:
    saved = tmp_path / "counts.json"
    # In a process of its own: caches, tracers and wrappers that other tests have left would count too.
    told = subprocess.run(
        [sys.executable, "-m", "tests.cost.measure", "--save", str(saved)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    counts: dict[str, float] = json.loads(saved.read_text())
    assert counts["perdure/server/shards/step.py:Steps.perform"] > 0, "the engine counts"
    assert counts["perdure/replay/apply.py:apply_next"] > 0, "the worker counts"
    # Where no figure is recorded for this version of Python, it is enough that the workload runs and is counted.
    least, most = (
        (recorded()[VERSION] * (1 - TOLERANCE), recorded()[VERSION] * (1 + TOLERANCE))
        if VERSION in recorded()
        else (1, math.inf)
    )
    total = sum(counts.values())
    assert total <= most, (
        f"{total:.0f} bytecodes per workflow, more than {most:.0f}. Find out what has become more expensive:\n"
        "  python -m tests.cost.measure --save before.json      # in a tree without the change\n"
        "  python -m tests.cost.measure --against before.json   # with it\n"
        f"If it is worth that, say so in the commit and record the figure (--record).\n{told.stdout}"
    )
    assert total >= least, (
        f"{total:.0f} bytecodes per workflow, fewer than {least:.0f}: record the figure, so that it stays there "
        "(python -m tests.cost.measure --record)"
    )
