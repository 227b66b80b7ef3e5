"""What starting costs: imports, the first finished workflow, the installed size.

    python benchmarks/bench_start.py [--rounds 5]

Every round is a new process; times are wall and CPU time of the whole process, the interpreter's own start included
(its row says how much that is). For the server: from starting `perdure server start-dev` until a client and worker in
another new process have the result of their first workflow. Sizes are those of the installed
files.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import ENVIRONMENT, ROOT, Server, write_json

DEPENDENCIES = ("temporalio", "protobuf", "msgspec", "grpcio", "uvloop", "nexus-rpc")


def spent(arguments: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a new interpreter."""
    before, began_s = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, env=ENVIRONMENT, cwd=ROOT)
    wall_s, after = time.perf_counter() - began_s, os.times()
    cpu_s = sum(after[2:4]) - sum(before[2:4])
    return wall_s, cpu_s


def embedded() -> tuple[float, float]:
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        return spent(["-m", "benchmarks.first_workflow", f"sqlite:{folder}/bench.db"])


def over_grpc() -> tuple[float, float]:
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        began_s = time.perf_counter()
        server = Server(Path(folder))
        _, cpu_s = spent(["-m", "benchmarks.first_workflow", server.address])
        wall_s = time.perf_counter() - began_s
        serving = server.cpu_s()
        server.close()
        return wall_s, cpu_s + (serving[0] if serving else 0.0)


STARTS = {
    "python -c pass": lambda: spent(["-c", "pass"]),
    "import perdure.workflow": lambda: spent(["-c", "import perdure.workflow"]),
    "import perdure.client, .worker": lambda: spent(
        ["-c", "import perdure.client, perdure.worker"]
    ),
    "import temporalio.workflow": lambda: spent(["-c", "import temporalio.workflow"]),
    "first workflow, embedded": embedded,
    "first workflow, server + worker": over_grpc,
}


def installed_bytes() -> dict[str, int]:
    """Ours from the source tree, what we need from site-packages."""
    sizes = {"perdure": sum(p.stat().st_size for p in (ROOT / "src").rglob("*.py"))}
    for name in DEPENDENCIES:
        try:
            files = importlib.metadata.files(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        paths = [Path(str(one.locate())) for one in files]
        sizes[name] = sum(path.stat().st_size for path in paths if path.exists())
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description="What starting costs")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    result: dict[str, Any] = {}
    print(f"{'seconds':<34}{'wall':>7}{'range':>16}{'CPU':>8}{'range':>16}")
    for name, start in STARTS.items():
        start()  # the first may compile
        rounds = [start() for _ in range(options.rounds)]
        line = f"{name:<34}"
        for values in zip(*rounds, strict=True):
            low, high = min(values), max(values)
            line += f"{statistics.median(values):8.2f}{low:8.2f} –{high:5.2f}"
        print(line, flush=True)
        result[name] = {"wall_cpu_s": rounds}
    sizes = installed_bytes()
    print("\ninstalled, MiB: " + ", ".join(f"{k} {v / 2**20:.1f}" for k, v in sizes.items()))
    write_json("start", {"starts": result, "installed_bytes": sizes})


if __name__ == "__main__":
    main()
