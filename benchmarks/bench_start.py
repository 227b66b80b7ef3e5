"""What starting costs: imports, the first finished workflow, the installed size.

    python benchmarks/bench_start.py [--rounds 5]

Every round is a new process; times are wall and CPU time of the whole process, the interpreter's own start included
(its row says how much that is, and the next one what the protobuf types and the libraries under us take). Modules come
from compiled bytecode, as those of an installed package do; `PYTHONDONTWRITEBYTECODE=1` without it makes every import
compile, about twice as long. For the server: until it answers GetSystemInfo, and until a client and worker in another
new process have the result of their first workflow. Sizes are those of the installed files.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import ENVIRONMENT, ROOT, Parts, Server, write_json

FLOOR = "import asyncio, sqlite3, msgspec, perdure.wire.api"
DEPENDENCIES = ("temporalio", "protobuf", "msgspec", "grpcio", "uvloop", "nexus-rpc")


def spent(arguments: list[str], answer: list[bytes] | None = None) -> tuple[float, float]:
    """Wall and CPU seconds of a new interpreter; what it prints is added to `answer`."""
    before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], check=True, env=ENVIRONMENT, cwd=ROOT, stdout=subprocess.PIPE
    )
    wall_s, after = time.perf_counter() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    if answer is not None:
        answer.append(done.stdout)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def only_creating_an_environment() -> tuple[float, float]:
    answer: list[bytes] = []
    spent(["-m", "benchmarks.first_environment"], answer)
    inside = json.loads(answer[0])
    return inside["wall_s"], inside["cpu_s"]


def embedded() -> tuple[float, float]:
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        return spent(["-m", "benchmarks.first_workflow", f"sqlite:{folder}/bench.db"])


def server_answers() -> tuple[float, float]:
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        began_s = time.perf_counter()
        server = Server(Path(folder))
        opened: Any = grpc.insecure_channel(server.address)
        with opened as channel:
            ask = channel.unary_unary(
                "/temporal.api.workflowservice.v1.WorkflowService/GetSystemInfo"
            )
            ask(b"", timeout=60, wait_for_ready=True)
        wall_s, serving = time.perf_counter() - began_s, server.cpu_s()
        server.close()
        return wall_s, serving[0] if serving else 0.0


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
    "asyncio, sqlite3, protobuf types": lambda: spent(["-c", FLOOR]),
    "import perdure.workflow": lambda: spent(["-c", "import perdure.workflow"]),
    "import perdure.client, .worker": lambda: spent(
        ["-c", "import perdure.client, perdure.worker"]
    ),
    "import temporalio.workflow": lambda: spent(["-c", "import temporalio.workflow"]),
    "time-skipping environment ready": lambda: spent(["-m", "benchmarks.first_environment"]),
    "  of it, all imported: creating it": only_creating_an_environment,
    "first workflow, embedded": embedded,
    "server answers GetSystemInfo": server_answers,
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
    parts = Parts()
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as bytecode:
        ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)
        ENVIRONMENT["PYTHONPYCACHEPREFIX"] = bytecode
        result = play(options.rounds, parts)
    sizes = installed_bytes()
    print("\ninstalled, MiB: " + ", ".join(f"{k} {v / 2**20:.1f}" for k, v in sizes.items()))
    outcome = {"starts": result, "installed_bytes": sizes, "failed": parts.failed}
    write_json("start", outcome)
    parts.end()


def play(rounds_count: int, parts: Parts) -> dict[str, Any]:
    result: dict[str, Any] = {}
    print(f"{'seconds':<36}{'wall':>9}{'range':>17}{'CPU':>9}{'range':>17}")
    for name, start in STARTS.items():
        with parts.part(name):
            start()  # compiles
            rounds = [start() for _ in range(rounds_count)]
            line = f"{name:<36}"
            for values in zip(*rounds, strict=True):
                low, high = min(values), max(values)
                line += f"{statistics.median(values):9.3f}{low:9.3f} –{high:6.3f}"
            print(line, flush=True)
            result[name] = {"wall_cpu_s": rounds}
    return result


if __name__ == "__main__":
    main()
