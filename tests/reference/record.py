"""Records what the reference answers to every script: `make reference-record`."""

from __future__ import annotations

import asyncio

from tests.reference.recordings import write
from tests.reference.servers import pinned_version
from tests.reference.session import chosen, play_all


def main() -> None:
    results = asyncio.run(play_all(chosen(), live=True))
    write({name: result.reference for name, result in results.items()})
    steps = sum(len(result.reference) for result in results.values())
    print(f"recorded {len(results)} scripts, {steps} calls, of reference {pinned_version()}")


if __name__ == "__main__":
    main()
