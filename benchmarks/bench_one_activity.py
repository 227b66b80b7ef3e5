"""What a workflow with one activity costs in CPU time, 100 in flight, with durable commits.

    python benchmarks/bench_one_activity.py [--workflows 500] [--rounds 5] [--official] [--profile]

Three set-ups, each with a fresh SQLite file in a temporary folder (every commit is fsynced):
  in process   engine, client and worker in one process
  over gRPC    the server in one process, our client and worker in another
  official     the same server, client and worker of the official SDK in another process (`--official`)

Method: one warm-up round, then `--rounds` rounds; per round the CPU time that each process used (user and system, all
its threads) is divided by the number of workflows. Printed are the median and the range over the rounds. CPU time, not
wall time: what else runs on the machine disturbs it far less. A profile is a separate round of its own, because a
profiler slows what it looks at; its shares are own time on the main thread, the other threads are in the table.
The numbers go to `.bench/one_activity.json` too; nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 60.0
_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}


class Driven:
    """A measured program that plays rounds on request."""

    def __init__(self, module: str, target: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, target],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_ENVIRONMENT, cwd=ROOT, text=True,
        )  # fmt: skip
        self._answer()

    def round(self, workflows: int, *, profile: bool = False) -> dict[str, Any]:
        assert self._process.stdin is not None
        print(
            json.dumps({"workflows": workflows, "profile": profile}),
            file=self._process.stdin,
            flush=True,
        )
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the measured program ended with code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)


class Server:
    """Our server on a file in `folder`; `profiler` is where a profiled server writes its shares."""

    def __init__(self, folder: Path, profiler: Path | None = None) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        program = (
            ["-m", "perdure", "server", "start-dev"]
            if profiler is None
            else ["-m", "benchmarks.one_activity.server", str(profiler)]
        )
        flags = ["--headless", "--port", str(self.port), "--db-filename", str(folder / "bench.db")]
        self._profiler = profiler
        self._process = subprocess.Popen(
            [sys.executable, *program, *flags, "--log-level", "warn"],
            env=_ENVIRONMENT, cwd=ROOT, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self.address = f"127.0.0.1:{self.port}"
        self._wait()

    def _wait(self) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up:
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise SystemExit("the server did not start")

    def cpu_s(self) -> tuple[float, float] | None:
        """CPU time so far, of the process and of its main thread; None where the system does not tell (no /proc)."""
        process = Path(f"/proc/{self._process.pid}")
        if not process.exists():
            return None
        main = process / "task" / str(self._process.pid) / "stat"
        return _ticks_s(process / "stat"), _ticks_s(main)

    def toggle_profiler(self) -> None:
        self._process.send_signal(signal.SIGUSR1)

    def shares(self) -> list[Any]:
        """Stop the profile and read it."""
        assert self._profiler is not None
        self.toggle_profiler()
        give_up = time.monotonic() + PATIENCE_S
        while not self._profiler.exists():
            if time.monotonic() > give_up:
                raise SystemExit("the server wrote no profile")
            time.sleep(0.05)
        found: list[Any] = json.loads(self._profiler.read_text())
        return found

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_S)


def _ticks_s(stat: Path) -> float:
    # The second field is the program's name in brackets and may contain blanks.
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Costs:
    """CPU ms per workflow of one process, a value per round."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.all_ms: list[float] = []
        self.main_ms: list[float] = []

    def add(self, cpu_s: float, main_s: float, workflows: int) -> None:
        self.all_ms.append(1_000 * cpu_s / workflows)
        self.main_ms.append(1_000 * main_s / workflows)

    def line(self) -> str:
        low, middle, high = min(self.all_ms), statistics.median(self.all_ms), max(self.all_ms)
        main = statistics.median(self.main_ms)
        return (
            f"{self.name:<36}{middle:8.2f}{low:8.2f} –{high:6.2f}{main:12.2f}{middle - main:12.2f}"
        )

    def json(self) -> dict[str, Any]:
        return {
            "median_ms": statistics.median(self.all_ms),
            "rounds_ms": self.all_ms,
            "main_thread_rounds_ms": self.main_ms,
        }


def embedded(options: argparse.Namespace) -> tuple[list[Costs], dict[str, list[Any]]]:
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        program = Driven("benchmarks.one_activity.ours", f"sqlite:{folder}/bench.db")
        costs = Costs("in process: engine, client, worker")
        program.round(options.workflows)
        for _ in range(options.rounds):
            answer = program.round(options.workflows)
            costs.add(answer["cpu_s"], answer["main_thread_s"], options.workflows)
        shares: dict[str, list[Any]] = {}
        if options.profile:
            shares[costs.name] = program.round(options.workflows, profile=True)["shares"]
        program.close()
    return [costs], shares


def over_grpc(
    options: argparse.Namespace, module: str, name: str
) -> tuple[list[Costs], dict[str, list[Any]]]:
    pair, serving = Costs(f"{name}: client and worker"), Costs(f"{name}: server")
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        server = Server(Path(folder))
        program = Driven(module, server.address)
        program.round(options.workflows)
        for _ in range(options.rounds):
            before = server.cpu_s()
            answer = program.round(options.workflows)
            pair.add(answer["cpu_s"], answer["main_thread_s"], options.workflows)
            if before is not None and (after := server.cpu_s()) is not None:
                serving.add(after[0] - before[0], after[1] - before[1], options.workflows)
        program.close()
        server.close()
    costs = [pair] if not serving.all_ms else [pair, serving]
    return costs, profiled(options, module, pair, serving) if options.profile else {}


def profiled(
    options: argparse.Namespace, module: str, pair: Costs, serving: Costs
) -> dict[str, list[Any]]:
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        server = Server(Path(folder), Path(folder) / "shares.json")
        program = Driven(module, server.address)
        program.round(options.workflows)
        server.toggle_profiler()
        program.round(options.workflows)
        shares = {serving.name: server.shares()}
        # The two share the machine, so each is profiled in a round of its own.
        shares[pair.name] = program.round(options.workflows, profile=True)["shares"]
        program.close()
        server.close()
    return shares


def show(costs: list[Costs], shares: dict[str, list[Any]]) -> None:
    print(f"{'CPU ms per workflow':<36}{'median':>8}{'range':>16}{'main thread':>12}{'others':>12}")
    for one in costs:
        print(one.line())
    for name, packages in shares.items():
        print(f"\n{name}: own time on the main thread")
        for package, share, functions in packages[:8]:
            print(f"  {share:5.1f} %  {package}")
            for function, part in functions[:3]:
                print(f"            {part:5.1f} %  {function[:90]}")


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU time per workflow with one activity")
    parser.add_argument("--workflows", type=int, default=500, help="workflows per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--official", action="store_true", help="also the official SDK's pair")
    parser.add_argument("--profile", action="store_true", help="also the largest shares")
    parser.add_argument("--only", choices=["process", "grpc", "official"])
    options = parser.parse_args()
    costs: list[Costs] = []
    shares: dict[str, list[Any]] = {}
    setups = [
        ("process", lambda: embedded(options)),
        ("grpc", lambda: over_grpc(options, "benchmarks.one_activity.ours", "over gRPC")),
    ]
    if options.official or options.only == "official":
        module = "benchmarks.one_activity.official"
        setups.append(("official", lambda: over_grpc(options, module, "official SDK")))
    for setup, measure in setups:
        if options.only in (None, setup):
            more_costs, more_shares = measure()
            costs += more_costs
            shares |= more_shares
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores; {options.rounds} rounds of"
        f" {options.workflows} workflows, 100 in flight, durable commits\n"
    )
    show(costs, shares)
    folder = ROOT / ".bench"
    folder.mkdir(exist_ok=True)
    result = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "workflows": options.workflows,
        "cpu_per_workflow": {one.name: one.json() for one in costs},
        "shares_percent": shares,
    }
    path = folder / "one_activity.json"
    path.write_text(json.dumps(result, indent=2))
    print(f"\n{path.relative_to(ROOT)} has every round")


if __name__ == "__main__":
    main()
