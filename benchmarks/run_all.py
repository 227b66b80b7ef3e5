"""All benches, one after the other: what `make bench` runs. `--full` for the long ones.

A bench that fails, or a part of one, is reported where it happens and at the end; the others go on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENCHES: tuple[tuple[str, list[str]], ...] = (
    ("bench_start.py", []),
    ("bench_workloads.py", ["--full"]),
    ("bench_dbos.py", []),
    ("bench_growth.py", ["--full"]),
    ("bench_replay.py", []),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="All benches")
    parser.add_argument(
        "--full", action="store_true", help="full sizes: an hour instead of minutes"
    )
    options = parser.parse_args()
    failed: list[str] = []
    for bench, when_full in BENCHES:
        print(f"\n== {bench}", flush=True)
        arguments = when_full if options.full else []
        done = subprocess.run([sys.executable, str(HERE / bench), *arguments], check=False)
        if done.returncode:
            failed.append(bench)
    if failed:
        sys.exit(f"failed, at least in part: {', '.join(failed)}")


if __name__ == "__main__":
    main()
