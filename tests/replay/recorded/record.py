"""Records the histories again, with each worker on each server (`make histories`).

Usage: python -m tests.replay.recorded.record [SCENARIO …]
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from tests.reference.servers import our_server, reference_server

ROOT = Path(__file__).parents[3]
DATA = Path(__file__).parent / "data"
LIBRARIES = {"official": "temporalio", "ours": "perdure"}


def server(name: str) -> AbstractAsyncContextManager[str]:
    return reference_server() if name == "reference" else our_server()


async def main(scenarios: list[str]) -> int:
    for server_name in ("reference", "ours"):
        for worker_name, library in LIBRARIES.items():
            folder = DATA / f"{server_name}-server-{worker_name}-worker"
            folder.mkdir(parents=True, exist_ok=True)
            print(f"── {folder.name} ──", flush=True)
            async with server(server_name) as address:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "tests.replay.recorded.record_process"),
                    *(address, str(folder), *scenarios),
                    cwd=ROOT,
                    env=os.environ | {"REPLAY_LIBRARY": library},
                )
                if await process.wait():
                    return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
