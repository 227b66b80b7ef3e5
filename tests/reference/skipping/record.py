"""Records the results of all walks on the reference (`make reference-record`)."""

from __future__ import annotations

import asyncio

from tests.reference.skipping.servers import pinned_version
from tests.reference.skipping.side_by_side import ALL_SEEDS, ask_reference, record


def main() -> None:
    results = asyncio.run(ask_reference(ALL_SEEDS))
    record(results)
    print(f"recorded {len(results)} walks of the time-skipping reference {pinned_version()}")


if __name__ == "__main__":
    main()
