"""What grows with what is stored: events, pending activities, cold runs, sleeping runs, and a second that wakes many.

    python benchmarks/bench_growth.py [--full] [--rounds 3] [--only PART …]

events    One more event, embedded, one run: signals that a workflow task answers, at 10, 1,000 and 50,000 events.
pending   One more event with 1 and with 2,000 activities pending: signals, and updates that execute an activity.
cold      The first look at a run of 1,000, 10,000 and 50,000 events after a restart: its history is folded again.
sleeping  3,000 runs, with `--full` 100,000 (a quarter of an hour), seeded through engine and store; then, in new
          processes, the time to open the file and to finish one workflow, and the memory, beside an empty file.
readers   A start and a description beside counts and lists of 20,000 runs, with `--full` 1,000,000.
storm     300 runs, with `--full` 10,000 among the 100,000 sleepers, wake within one second, embedded and with a
          server; how long that takes, and how long an unrelated start and description take meanwhile.

CPU time is that of the whole process: engine, client and worker.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.growth.memory import resident_bytes
from benchmarks.harness import ENVIRONMENT, ROOT, Driven, Parts, Server, write_json

LENGTHS = (10, 1_000, 50_000)
COLD_LENGTHS = (1_000, 10_000, 50_000)
PENDING = (1, 1_999)
"""Besides the one that comes and goes; 2,000 is the limit."""
TICKS = 40
SLEEPING, SLEEPING_FULL = 3_000, 100_000
STORM, STORM_FULL = 300, 10_000
CROWD, CROWD_FULL = 20_000, 1_000_000
READING_S = 5
SEEDS_PER_SECOND = 100
"""At least so many, on a busy machine."""
SEED_SPARE_S = 30


class Growth:
    """The parts share a folder: the long histories are looked at cold, the storm comes among the sleepers."""

    def __init__(self, folder: Path, rounds: int, *, full: bool) -> None:
        self._folder = folder
        self._rounds = rounds
        self._sleepers = SLEEPING_FULL if full else SLEEPING
        self._storm = STORM_FULL if full else STORM
        self._crowd = CROWD_FULL if full else CROWD

    def events(self) -> dict[str, Any]:
        program = Driven("benchmarks.growth.history", f"sqlite:{self._folder}/growing.db")
        program.ask(events=10, ticks=TICKS // 4)
        costs: dict[str, list[float]] = {}
        for length in LENGTHS:
            answers = [program.ask(events=length, ticks=TICKS) for _ in range(self._rounds)]
            costs[str(length)] = [_per_event(one) for one in answers]
            print(
                f"one more event at {length:>6,}: {spread(costs[str(length)])} CPU ms", flush=True
            )
        program.close()
        return costs

    def pending(self) -> dict[str, Any]:
        program = Driven("benchmarks.growth.pending", f"sqlite:{self._folder}/pending.db")
        program.ask(pending=1, ticks=TICKS // 4)
        costs: dict[str, dict[str, list[float]]] = {str(one): {} for one in PENDING}
        for _ in range(self._rounds):
            for waiting in PENDING:
                answer = program.ask(pending=waiting, ticks=TICKS)
                for kind in ("signals", "activities"):
                    row = costs[str(waiting)].setdefault(kind, [])
                    row.append(_per_event(answer[kind]))
        program.close()
        for waiting, kinds in costs.items():
            for kind, values in kinds.items():
                print(
                    f"one more event with {int(waiting):>5,} pending activities, {kind}:"
                    f" {spread(values)} CPU ms",
                    flush=True,
                )
        return costs

    def cold(self) -> dict[str, Any]:
        path = self._folder / "cold.db"
        program = Driven("benchmarks.growth.history", f"sqlite:{path}")
        for number, length in enumerate(COLD_LENGTHS):
            program.ask(events=length, ticks=1, run=f"cold-{number}")
        program.close()
        result: dict[str, Any] = {}
        for number, length in enumerate(COLD_LENGTHS):
            rounds = [
                _asked("benchmarks.growth.cold", str(path), f"cold-{number}")
                for _ in range(self._rounds)
            ]
            result[str(length)] = rounds
            cpu_ms = [1_000 * one["cpu_s"] for one in rounds]
            wait_ms = [1_000 * one["longest_wait_s"] for one in rounds]
            more = statistics.median(one["more_bytes"] for one in rounds) / 2**20
            print(
                f"cold run of {length:>6,} events: {spread(cpu_ms)} CPU ms,"
                f" longest wait of others {spread(wait_ms)} ms, {more:.1f} MiB",
                flush=True,
            )
        return result

    def sleeping(self) -> dict[str, Any]:
        path, runs = self._folder / "sleeping.db", self._sleepers
        began_s = time.perf_counter()
        _run("benchmarks.growth.seed", str(path), str(runs))
        result: dict[str, Any] = {
            "runs": runs,
            "seeded_s": time.perf_counter() - began_s,
            "file_bytes": path.stat().st_size,
            "full": [_asked("benchmarks.growth.reopen", str(path)) for _ in range(self._rounds)],
            "empty": [
                _asked("benchmarks.growth.reopen", f"{self._folder}/empty-{number}.db")
                for number in range(self._rounds)
            ],
        }
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
                f" {memory / 2**20:.0f} MiB",
                flush=True,
            )
        return result

    def readers(self) -> dict[str, Any]:
        path = self._folder / "crowd.db"
        _run("benchmarks.growth.crowd", str(path), str(self._crowd))
        rounds = [
            _asked("benchmarks.growth.readers", str(path), str(READING_S))
            for _ in range(self._rounds)
        ]
        alone, beside = ([one[when]["p50_ms"] for one in rounds] for when in ("calm", "busy"))
        ratios = [busy / calm for calm, busy in zip(alone, beside, strict=True)]
        print(
            f"a start and a description beside counts of {self._crowd:,} runs: {spread(beside)} ms,"
            f" alone {spread(alone)}, ratio {spread(ratios)}",
            flush=True,
        )
        for query in rounds[0]["counts_ms"]:
            print(
                f"  count of {query or 'all'}: {spread([one['counts_ms'][query] for one in rounds])} ms"
            )
        return {"runs": self._crowd, "rounds": rounds}

    def storm(self) -> dict[str, Any]:
        return {setup: self._storm_of(setup) for setup in ("embedded", "server")}

    def _storm_of(self, setup: str) -> dict[str, Any]:
        folder = self._folder / setup
        folder.mkdir()
        path, sleepers = folder / "bench.db", self._folder / "sleeping.db"
        if sleepers.exists():
            shutil.copy(sleepers, path)
        after_s = self._storm / SEEDS_PER_SECOND + SEED_SPARE_S
        wakes_s = _run("benchmarks.growth.seed", str(path), str(self._storm), str(after_s)).strip()
        server = Server(folder) if setup == "server" else None
        target = server.address if server else f"sqlite:{path}"
        answer = _asked("benchmarks.growth.storm", target, wakes_s, str(self._storm))
        if server:
            answer["server_cpu_s"] = (server.cpu_s() or (0.0, 0.0))[0]
            answer["server_bytes"] = resident_bytes(server.pid)
            server.close()
        print(
            f"{setup}: {answer['finished']:,} of {self._storm:,} that woke within a second finished in"
            f" {answer['finished_s']:.0f} s, {answer['cpu_s']:.1f} CPU s"
            + (f" and {answer['server_cpu_s']:.1f} in the server" if server else "")
        )
        for when in ("calm", "storm"):
            one = answer[when]
            print(
                f"  {when}: an unrelated start and description take {one['p50_ms']:.0f} ms (median),"
                f" {one['p99_ms']:.0f} (p99), {one['max_ms']:.0f} (longest of {one['calls']})",
                flush=True,
            )
        return answer


def _per_event(answer: dict[str, Any]) -> float:
    """CPU ms."""
    return 1_000 * answer["cpu_s"] / answer["events"]


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} – {max(values):.2f})"


def _asked(*module_and_arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(_run(*module_and_arguments))
    return answer


def _run(*module_and_arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *module_and_arguments],
        check=True, env=ENVIRONMENT, cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return done.stdout


PARTS: dict[str, Callable[[Growth], dict[str, Any]]] = {
    "events": Growth.events,
    "pending": Growth.pending,
    "cold": Growth.cold,
    "sleeping": Growth.sleeping,
    "readers": Growth.readers,
    "storm": Growth.storm,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="What grows with what is stored")
    parser.add_argument("--full", action="store_true", help="100,000 sleeping runs, 10,000 awake")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    options = parser.parse_args()
    parts, result = Parts(), dict[str, Any]()
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as temporary:
        growth = Growth(Path(temporary), options.rounds, full=options.full)
        for name in options.only:
            with parts.part(name):
                result[name] = PARTS[name](growth)
    write_json("growth", result | {"full": options.full, "failed": parts.failed})
    parts.end()


if __name__ == "__main__":
    main()
