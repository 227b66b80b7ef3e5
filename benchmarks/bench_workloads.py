"""What seven workloads cost: CPU ms per unit of every process apart, rate, latency, memory.

    python benchmarks/bench_workloads.py [--full] [--rounds 2] [--only NAME …] [--setup embedded|ours|official …]

Three set-ups, each with a fresh SQLite file (every commit is fsynced) and fresh processes per workload:
  embedded   engine, client and worker in one process
  ours       our server, and our client and worker in another process
  official   our server, and client and worker of the official SDK in another process, with its defaults

`--full` plays the sizes in the names: 2,000 sleepers, 20,000 events, 2,000 pending activities. Without it they are
smaller, so that all is done in minutes. The unit is a workflow, or where there is one run, a signal, an event or an
activity.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import RESULTS, ROOT, Costs, Driven, Parts, Server, write_json

SETUPS = ("embedded", "ours", "official")


@dataclass(frozen=True)
class Workload:
    """A workload's unit and its sizes."""

    unit: str
    size: int
    full: int


WORKLOADS = {
    "one activity": Workload("workflow", 300, 1_000),
    "ten in sequence": Workload("workflow", 100, 200),
    "a hundred in parallel": Workload("workflow", 5, 20),
    "sleepers": Workload("workflow", 300, 2_000),
    "signals": Workload("signal", 500, 2_000),
    "long history": Workload("event", 4_000, 20_000),
    "pending activities": Workload("activity", 500, 2_000),
}


@dataclass
class Measured:
    """The rounds of one workload in one set-up."""

    workload: str
    setup: str
    costs: list[Costs]
    rates: list[float] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    peaks: dict[str, int] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        latency = "         –         –"
        if len(self.latencies_ms) > 1:
            cuts = statistics.quantiles(self.latencies_ms, n=100, method="inclusive")
            latency = f"{cuts[49]:10.1f}{cuts[98]:10.1f}"
        for one in self.costs:
            low, high = min(one.all_ms), max(one.all_ms)
            peak = self.peaks.get(one.name, 0) / 2**20
            yield (
                f"{self.workload:<23}{one.name:<26}{statistics.median(one.all_ms):8.2f}"
                f"{low:8.2f} –{high:7.2f}{statistics.median(self.rates):9.0f}{latency}{peak:8.0f}"
            )

    def json(self) -> dict[str, Any]:
        return {
            "workload": self.workload,
            "unit": WORKLOADS[self.workload].unit,
            "setup": self.setup,
            "cpu_per_unit": {one.name: one.json() for one in self.costs},
            "units_per_s": self.rates,
            "latencies_ms": self.latencies_ms,
            "peak_bytes": self.peaks,
        }


def official_variant() -> Path:
    """Derive the official SDK's program from ours; its folder, to be run in."""
    folder = RESULTS / "official"
    for source in (ROOT / "benchmarks").glob("*/*.py"):
        package = folder / "benchmarks" / source.parent.name
        package.mkdir(parents=True, exist_ok=True)
        (package.parent / "__init__.py").touch()
        text = source.read_text()
        (package / source.name).write_text(text.replace("from perdure", "from temporalio"))
    return folder


def measure(workload: str, setup: str, size: int, rounds: int) -> Measured:
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as temporary:
        folder = Path(temporary)
        server = None if setup == "embedded" else Server(folder)
        target = f"sqlite:{folder}/bench.db" if server is None else server.address
        where = official_variant() if setup == "official" else ROOT
        program = Driven("benchmarks.workloads.program", target, folder=where)
        pair = Costs("embedded" if server is None else f"{setup}: client, worker")
        serving = Costs(f"{setup}: server")
        measured = Measured(workload, setup, [pair] if server is None else [pair, serving])
        program.ask(workload="one activity", size=50)  # warm-up
        for _ in range(rounds):
            before = server.cpu_s() if server else None
            answer = program.ask(workload=workload, size=size)
            after = server.cpu_s() if server else None
            pair.add(answer["cpu_s"], answer["main_thread_s"], answer["units"])
            if before and after:
                serving.add(after[0] - before[0], after[1] - before[1], answer["units"])
            measured.rates.append(answer["units"] / answer["wall_s"])
            measured.latencies_ms += answer["latencies_ms"]
            measured.peaks[pair.name] = answer["peak_bytes"]
        program.close()
        if server:
            measured.peaks[serving.name] = server.peak_bytes() or 0
            server.close()
        if not serving.all_ms:
            measured.costs = [pair]
        return measured


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU time of seven workloads")
    parser.add_argument("--full", action="store_true", help="the sizes in the names: long")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--setup", nargs="+", choices=SETUPS, default=list(SETUPS))
    options = parser.parse_args()
    print(
        f"{'':<23}{'':<26}{'CPU ms per unit':>26}{'units':>9}{'p50':>10}{'p99':>10}{'peak':>8}\n"
        f"{'workload':<23}{'process':<26}{'median':>8}{'range':>18}{'/s':>9}{'ms':>10}{'ms':>10}{'MiB':>8}"
    )
    results: list[Measured] = []
    parts = Parts()
    for workload in options.only:
        sizes = WORKLOADS[workload]
        for setup in options.setup:
            size = sizes.full if options.full else sizes.size
            with parts.part(f"{workload}, {setup}"):
                results.append(measure(workload, setup, size, options.rounds))
                for line in results[-1].lines():
                    print(line, flush=True)
    outcome = {"failed": parts.failed, "results": [one.json() for one in results]}
    write_json("workloads", {"full": options.full} | outcome)
    parts.end()


if __name__ == "__main__":
    main()
