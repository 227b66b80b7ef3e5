"""Many runs wake within one second: `python -m benchmarks.growth.storm TARGET WAKES_AT RUNS`; prints lines of JSON.

Client and worker (and the engine, when TARGET is a file) that finish what `seed.py` put to sleep. Meanwhile somebody
who has nothing to do with it starts a workflow every 50 ms and asks for its description: how long that takes is the
price that neighbours pay. The longest wait is that of a task of this process for its turn, in CPU time of the loop's
thread. `WAKES_AT` is in seconds since the epoch.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from typing import Any

from benchmarks.growth.heart import Heart
from benchmarks.growth.memory import resident_bytes
from perdure import workflow
from perdure.client import Client
from perdure.worker import Worker

PAUSE_S = 0.05
PATIENCE_S = 600.0
YEAR_S = 365 * 86_400.0


@workflow.defn(name="Sleeper")
class Sleeper:
    """As `seed.py` plays it."""

    @workflow.run
    async def run(self) -> int:
        await asyncio.sleep(YEAR_S)
        return 1


class Neighbour:
    """Calls that have nothing to do with the storm, and how long they took."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.delays_ms: list[float] = []

    async def live(self) -> None:
        for number in range(10**9):
            began_s = time.perf_counter()
            handle: Any = await self._client.start_workflow(
                Sleeper.run, id=f"neighbour-{time.time_ns()}-{number}", task_queue="elsewhere"
            )
            await handle.describe()
            self.delays_ms.append(1_000 * (time.perf_counter() - began_s))
            await asyncio.sleep(PAUSE_S)

    def take(self) -> dict[str, float]:
        """Of the calls since the last time."""
        delays, self.delays_ms = sorted(self.delays_ms), []
        return {
            "calls": len(delays),
            "p50_ms": statistics.median(delays),
            "p99_ms": delays[int(0.99 * (len(delays) - 1))],
            "max_ms": delays[-1],
        }


async def main(target: str, wakes_s: float, runs: int) -> None:
    began_s = time.perf_counter()
    async with await Client.connect(target) as client:
        opened_s = time.perf_counter() - began_s
        query = "WorkflowType = 'Sleeper' AND TaskQueue = 'seed' AND ExecutionStatus = 'Completed'"
        before = (await client.count_workflows(query)).count
        neighbour = Neighbour(client)
        async with Worker(client, task_queue="seed", workflows=[Sleeper]):
            living = asyncio.create_task(neighbour.live())
            heart = Heart()
            beating = asyncio.create_task(heart.beat())
            await asyncio.sleep(max(1.0, wakes_s - time.time() - 0.1))
            calm = neighbour.take() | {"longest_wait_ms": 1_000 * heart.take_s()}
            early = (await client.count_workflows(query)).count - before
            storm_cpu_s, give_up_s = time.process_time(), time.monotonic() + PATIENCE_S
            progress: list[tuple[float, int]] = []
            done = 0
            while done < runs and time.monotonic() < give_up_s:
                await asyncio.sleep(1.0)
                done = (await client.count_workflows(query)).count - before
                progress.append((round(time.time() - wakes_s, 1), done))
            storm = neighbour.take() | {"longest_wait_ms": 1_000 * heart.take_s()}
            living.cancel()
            beating.cancel()
        print(
            json.dumps(
                {
                    "opened_s": opened_s,
                    "early": early,
                    "finished": done,
                    "finished_s": progress[-1][0],
                    "cpu_s": time.process_time() - storm_cpu_s,
                    "calm": calm,
                    "storm": storm,
                    "progress": progress,
                    "resident_bytes": resident_bytes(),
                }
            )
        )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
