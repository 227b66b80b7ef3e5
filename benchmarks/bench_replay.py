"""Replay: activations per second beside the official `Replayer`, and the memory of a cached idle run.

    python benchmarks/bench_replay.py [--activities 200] [--rounds 5] [--runs 1500]

The history is written by our server: activities in sequence, so that there are as many activations. Each replayer is a
process of its own; rounds alternate between the two, and the ratio is taken per pair of rounds. Memory: growth of the
worker's resident set from `runs` runs to three times as many, all of them asleep in its cache, the server elsewhere.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.bench_workloads import official_variant
from benchmarks.harness import ENVIRONMENT, ROOT, Driven, Parts, Server, write_json


def replay(folder: Path, activities: int, rounds: int) -> dict[str, Any]:
    path = folder / "history.json"
    record = [sys.executable, "-m", "benchmarks.replay.record", str(path), str(activities)]
    subprocess.run(record, check=True, env=ENVIRONMENT, cwd=ROOT)
    programs = {
        "ours": Driven("benchmarks.replay.program", str(path)),
        "official": Driven("benchmarks.replay.program", str(path), folder=official_variant()),
    }
    rates: dict[str, list[float]] = {name: [] for name in programs}
    activations = activities + 1
    for program in programs.values():
        program.ask(times=1)
    for _ in range(rounds):
        for name, program in programs.items():
            rates[name].append(activations / program.ask(times=1)["cpu_s"])
    for program in programs.values():
        program.close()
    ratios = [a / b for a, b in zip(rates["ours"], rates["official"], strict=True)]
    return {"activations": activations, "per_cpu_second": rates, "ratio": ratios}


def idle(folder: Path, runs: int) -> dict[str, Any]:
    server = Server(folder)
    program = Driven("benchmarks.replay.idle", server.address)
    sizes = [program.ask(runs=count)["resident_bytes"] for count in (runs, runs, runs)]
    program.close()
    server.close()
    return {"runs": runs, "resident_bytes": sizes, "per_run": (sizes[2] - sizes[0]) / (2 * runs)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Replay and cached runs")
    parser.add_argument("--activities", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=1_000)
    options = parser.parse_args()
    parts, result = Parts(), dict[str, Any]()
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as temporary:
        folder = Path(temporary)
        with parts.part("replay"):
            result["replay"] = replay(folder, options.activities, options.rounds)
            show_replay(result["replay"])
        if Path("/proc/self/status").exists():
            with parts.part("idle runs"):
                result["idle"] = idle(folder, options.runs)
                print(f"one cached idle run: {result['idle']['per_run'] / 1024:.1f} KiB")
        else:
            print("one cached idle run: not measured, this system has no /proc")
    write_json("replay", result | {"failed": parts.failed})
    parts.end()


def show_replay(result: dict[str, Any]) -> None:
    for name, rates in result["per_cpu_second"].items():
        print(
            f"replay, {name}: {statistics.median(rates):,.0f} activations per CPU second"
            f" ({min(rates):,.0f} – {max(rates):,.0f})"
        )
    ratios = result["ratio"]
    print(f"ratio {statistics.median(ratios):.1f} ({min(ratios):.1f} – {max(ratios):.1f})")


if __name__ == "__main__":
    main()
