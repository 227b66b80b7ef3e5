"""Prints how the servers differ: `python -m tests.reference.show [PATTERN …] [--all] [--steps]`.

Patterns choose scripts by name (`signals.*`). Without `--all`, differences in `differences.txt` are left out. With
`--steps`, the answers of the reference are printed too.
"""

from __future__ import annotations

import argparse
import asyncio
import json

from tests.reference.differences import Ledger
from tests.reference.session import chosen, play_all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", default=["*"], help="which scripts to play")
    parser.add_argument("--all", action="store_true", help="print the known differences too")
    parser.add_argument("--steps", action="store_true", help="print the answers of the reference")
    arguments = parser.parse_args()
    scripts = chosen(*arguments.patterns)
    results = asyncio.run(play_all(scripts, live=True, attempts=1))
    for name, result in results.items():
        print(f"── {name} ──")
        if arguments.steps:
            for step in result.reference:
                print(json.dumps(step, ensure_ascii=False))
        if result.stopped:
            print(f"    stopped on the reference: {result.stopped}")
        found = result.differences
        for difference in found if arguments.all else Ledger().unexpected(name, found):
            print(difference)


if __name__ == "__main__":
    main()
