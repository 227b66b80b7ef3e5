"""The embedded engine beside DBOS: the same workflows on the same disk, rounds alternating, so that a ratio comes out.

    python benchmarks/bench_dbos.py [--rounds 3] [--size 100]

DBOS comes from PyPI into a virtual environment of its own under `.bench/`, once; without a package index the bench says
so and ends. Both use SQLite in WAL mode with `synchronous=FULL`, both have 100 workflows in flight. DBOS is called in
its synchronous form, a thread per workflow. What differs: a DBOS step runs in the workflow's thread and is one row;
our activity goes through a task queue, with time-outs and retries, and leaves a history that other tools can read.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import RESULTS, Driven, write_json

STEPS = {"one activity": 1, "ten in sequence": 10}


def python_with_dbos() -> Path | None:
    """The interpreter of the environment; None when DBOS cannot be installed."""
    folder = RESULTS / "dbos"
    python = folder / "bin" / "python"
    if not python.exists():
        RESULTS.mkdir(exist_ok=True)
        venv.create(folder, with_pip=True)
    ask = [str(python), "-c", "import dbos"]
    if subprocess.run(ask, check=False, capture_output=True).returncode:
        install = [str(python), "-m", "pip", "install", "--quiet", "dbos"]
        if subprocess.run(install, check=False).returncode:
            return None
    return python


def version(python: Path) -> str:
    ask = [str(python), "-c", "import importlib.metadata as m; print(m.version('dbos'))"]
    return subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()


def measure(python: Path, size: int, rounds: int) -> dict[str, Any]:
    result: dict[str, Any] = {"dbos": version(python), "size": size}
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        ours = Driven("benchmarks.workloads.program", f"sqlite:{folder}/bench.db")
        dbos = Driven("benchmarks.against_dbos.program", f"{folder}/dbos.db", python=str(python))
        ours.ask(workload="one activity", size=50)
        for workload, steps in STEPS.items():
            pairs = [
                (ours.ask(workload=workload, size=size), dbos.ask(size=size, steps=steps))
                for _ in range(rounds)
            ]
            result[workload] = {
                "ours_ms": [1_000 * a["cpu_s"] / size for a, _ in pairs],
                "dbos_ms": [1_000 * b["cpu_s"] / size for _, b in pairs],
                "ours_per_s": [size / a["wall_s"] for a, _ in pairs],
                "dbos_per_s": [size / b["wall_s"] for _, b in pairs],
                "ours_peak_bytes": pairs[-1][0]["peak_bytes"],
                "dbos_peak_bytes": pairs[-1][1]["peak_bytes"],
                "ratio": [b["cpu_s"] / a["cpu_s"] for a, b in pairs],
            }
        ours.close()
        dbos.close()
    return result


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):7.2f} ({min(values):.2f} – {max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description="The embedded engine beside DBOS")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=100)
    options = parser.parse_args()
    python = python_with_dbos()
    if python is None:
        print("skipped: DBOS could not be installed from the package index")
        return
    result = measure(python, options.size, options.rounds)
    print(
        f"DBOS {result['dbos']}; CPU ms per workflow, DBOS / ours per pair of rounds, workflows/s"
    )
    for workload in STEPS:
        row = result[workload]
        print(
            f"{workload:<18} ours {spread(row['ours_ms'])}  DBOS {spread(row['dbos_ms'])}"
            f"  ratio {spread(row['ratio'])}"
            f"  rate {statistics.median(row['ours_per_s']):.0f}, {statistics.median(row['dbos_per_s']):.0f}"
        )
    write_json("dbos", result)


if __name__ == "__main__":
    main()
