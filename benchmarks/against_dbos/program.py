"""The same work on DBOS: `python -m benchmarks.against_dbos.program FILE`; lines of JSON in and out.

SQLite in WAL mode with `synchronous=FULL`, as Perdure uses it: what is acknowledged is on disk.
"""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import json
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import sqlalchemy
from dbos import DBOS
from sqlalchemy import event

IN_FLIGHT = 100
WARM_UP = 20


@DBOS.step()
def compose(name: str) -> str:
    return f"Hello, {name}!"


@DBOS.workflow()
def sequence(count: int) -> int:
    for _ in range(count):
        compose("bench")
    return count


@event.listens_for(sqlalchemy.Engine, "connect")
def durable(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def play(size: int, steps: int) -> dict[str, Any]:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    # A thread per workflow that waits for it, as a caller of the synchronous API has.
    with ThreadPoolExecutor(IN_FLIGHT) as callers:
        results = list(callers.map(lambda _: sequence(steps), range(size)))
    if results != [steps] * size:
        raise AssertionError("a workflow returned something else")
    return {
        "cpu_s": time.process_time() - cpu_s,
        "wall_s": time.perf_counter() - wall_s,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * (1 if sys.platform == "darwin" else 1024),
    }


def main(path: str) -> None:
    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{path}",
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    play(WARM_UP, 1)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(play(request["size"], request["steps"])), flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    main(sys.argv[1])
