"""What grows with what is stored: one more event of a long history, and a database full of sleeping runs.

    python benchmarks/bench_growth.py [--full] [--rounds 3] [--sleeping N]

One more event: embedded, one run; signals that a workflow task answers, at 10, 1,000 and 50,000 events of history; the
CPU time includes engine, client and worker. Sleeping runs: 3,000 of them, with `--full` 100,000 (which takes minutes),
seeded through engine and store; then, in new processes, the time to open the file and to finish one workflow, and the
memory, beside the same on an empty file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import ENVIRONMENT, ROOT, Driven, write_json

LENGTHS = (10, 1_000, 50_000)
TICKS = 40
SLEEPING, SLEEPING_FULL = 3_000, 100_000


def one_more_event(folder: Path, rounds: int) -> dict[str, list[float]]:
    """CPU ms per event, by length of the history."""
    program = Driven("benchmarks.growth.history", f"sqlite:{folder}/growing.db")
    program.ask(events=10, ticks=TICKS // 4)
    costs: dict[str, list[float]] = {}
    for length in LENGTHS:
        answers = [program.ask(events=length, ticks=TICKS) for _ in range(rounds)]
        costs[str(length)] = [1_000 * one["cpu_s"] / one["events"] for one in answers]
    program.close()
    return costs


def sleeping(folder: Path, runs: int, rounds: int) -> dict[str, Any]:
    path = folder / "sleeping.db"
    began_s = time.perf_counter()
    _run("benchmarks.growth.seed", str(path), str(runs))
    seeded_s = time.perf_counter() - began_s
    return {
        "runs": runs,
        "seeded_s": seeded_s,
        "file_bytes": path.stat().st_size,
        "full": [_reopened(path) for _ in range(rounds)],
        "empty": [_reopened(folder / f"empty-{number}.db") for number in range(rounds)],
    }


def _reopened(path: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(_run("benchmarks.growth.reopen", str(path)))
    return answer


def _run(*module_and_arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *module_and_arguments],
        check=True, env=ENVIRONMENT, cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description="What grows with what is stored")
    parser.add_argument("--full", action="store_true", help="100,000 sleeping runs")
    parser.add_argument("--sleeping", type=int, help="another number of sleeping runs")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    runs = options.sleeping or (SLEEPING_FULL if options.full else SLEEPING)
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as temporary:
        events = one_more_event(Path(temporary), options.rounds)
        for length, costs in events.items():
            print(
                f"one more event at {int(length):>6,}: {statistics.median(costs):.2f} CPU ms"
                f" ({min(costs):.2f} – {max(costs):.2f})",
                flush=True,
            )
        result = sleeping(Path(temporary), runs, options.rounds)
    print(
        f"{runs:,} sleeping runs: {result['file_bytes'] / runs:,.0f} bytes each on disk,"
        f" seeded in {result['seeded_s']:.0f} s"
    )
    for name in ("empty", "full"):
        opened, first, memory = (
            statistics.median(one[what] for one in result[name])
            for what in ("opened_s", "first_result_s", "resident_bytes")
        )
        print(
            f"  {name} file: opened in {opened:.2f} s, first workflow after {first:.2f} s,"
            f" {memory / 2**20:.0f} MiB"
        )
    write_json("growth", {"one_more_event_ms": events, "sleeping": result})


if __name__ == "__main__":
    main()
