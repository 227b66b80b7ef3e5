"""Open a database and finish one new workflow: `python -m benchmarks.growth.reopen FILE`; prints a line of JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from benchmarks.growth.memory import resident_bytes
from benchmarks.workloads.definitions import Sequence, compose
from perdure.client import Client
from perdure.worker import Worker


async def main(path: str) -> None:
    began_s, cpu_s = time.perf_counter(), time.process_time()
    async with await Client.connect(f"sqlite:{path}") as client:
        opened_s = time.perf_counter() - began_s
        async with Worker(client, task_queue="again", workflows=[Sequence], activities=[compose]):
            await client.execute_workflow(
                Sequence.run, 1, id=f"again-{time.time_ns()}", task_queue="again"
            )
        print(
            json.dumps(
                {
                    "opened_s": opened_s,
                    "first_result_s": time.perf_counter() - began_s,
                    "cpu_s": time.process_time() - cpu_s,
                    "resident_bytes": resident_bytes(),
                }
            )
        )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
