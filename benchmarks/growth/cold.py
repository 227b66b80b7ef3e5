"""The first look at a run that is not in memory: `python -m benchmarks.growth.cold FILE WORKFLOW_ID`; a line of JSON.

There is no worker: what is measured is reading the run's history from the file and folding it into a state. The longest
wait is that of another task for its turn, in CPU time of the loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time

from benchmarks.growth.heart import PAUSE_S, Heart
from benchmarks.growth.memory import resident_bytes
from perdure.client import Client
from perdure.service import RPCError


async def main(path: str, workflow_id: str) -> None:
    async with await Client.connect(f"sqlite:{path}") as client:
        with contextlib.suppress(RPCError):  # warm-up
            await client.get_workflow_handle("nobody").describe()
        heart = Heart()
        beating = asyncio.create_task(heart.beat())
        await asyncio.sleep(10 * PAUSE_S)
        before_bytes = resident_bytes()
        began_s, cpu_s = time.perf_counter(), time.process_time()
        description = await client.get_workflow_handle(workflow_id).describe()
        answer = {
            "events": description.history_length,
            "wall_s": time.perf_counter() - began_s,
            "cpu_s": time.process_time() - cpu_s,
        }
        await asyncio.sleep(10 * PAUSE_S)
        beating.cancel()
        more_bytes = resident_bytes() - before_bytes
        print(json.dumps(answer | {"longest_wait_s": heart.take_s(), "more_bytes": more_bytes}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
