"""What a workflow with one activity costs in CPU time, 100 in flight, with durable commits.

    python benchmarks/bench_one_activity.py [--workflows 500] [--rounds 5] [--official] [--threads] [--profile]

Three set-ups, each with a fresh SQLite file in a temporary folder (every commit is fsynced):
  in process   engine, client and worker in one process
  in threads   the same, with workflow code in threads; its rounds alternate with the others (`--threads`)
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
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import Costs, Driven, Parts, Server, write_json


def embedded(options: argparse.Namespace) -> tuple[list[Costs], dict[str, list[Any]]]:
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        program = Driven("benchmarks.one_activity.ours", f"sqlite:{folder}/bench.db")
        costs = Costs("in process: engine, client, worker")
        programs = [(program, costs)]
        if options.threads:
            threads = Driven(
                "benchmarks.one_activity.ours", f"sqlite:{folder}/threads.db", "threads"
            )
            programs.append((threads, Costs("in process, workflows in threads")))
        for each, _ in programs:
            each.round(options.workflows)
        for _ in range(options.rounds):
            for each, its_costs in programs:
                answer = each.round(options.workflows)
                its_costs.add(answer["cpu_s"], answer["main_thread_s"], options.workflows)
        shares: dict[str, list[Any]] = {}
        if options.profile:
            shares[costs.name] = program.round(options.workflows, profile=True)["shares"]
        for each, _ in programs:
            each.close()
    return [its_costs for _, its_costs in programs], shares


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
    parser.add_argument("--threads", action="store_true", help="also workflow code in threads")
    parser.add_argument("--profile", action="store_true", help="also the largest shares")
    parser.add_argument("--only", choices=["process", "grpc", "official"])
    options = parser.parse_args()
    costs: list[Costs] = []
    shares: dict[str, list[Any]] = {}
    parts = Parts()
    setups = [
        ("process", lambda: embedded(options)),
        ("grpc", lambda: over_grpc(options, "benchmarks.one_activity.ours", "over gRPC")),
    ]
    if options.official or options.only == "official":
        module = "benchmarks.one_activity.official"
        setups.append(("official", lambda: over_grpc(options, module, "official SDK")))
    for setup, measure in setups:
        if options.only in (None, setup):
            with parts.part(setup):
                more_costs, more_shares = measure()
                costs += more_costs
                shares |= more_shares
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores; {options.rounds} rounds of"
        f" {options.workflows} workflows, 100 in flight, durable commits\n"
    )
    show(costs, shares)
    write_json(
        "one_activity",
        {
            "workflows": options.workflows,
            "failed": parts.failed,
            "cpu_per_workflow": {one.name: one.json() for one in costs},
            "shares_percent": shares,
        },
    )
    parts.end()


if __name__ == "__main__":
    main()
