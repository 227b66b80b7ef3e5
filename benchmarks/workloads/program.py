"""Client and worker of the workloads: `python -m benchmarks.workloads.program TARGET`.

A line of JSON in, `{"workload": name, "size": n}`, is one round; a line out has its units, CPU and wall time in
seconds, latencies in milliseconds and the largest resident memory so far.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.workloads.definitions import (
    LongHistory,
    Parallel,
    Sequence,
    Signalled,
    Sleeper,
    compose,
)
from perdure.client import Client
from perdure.worker import Worker

QUEUE = "bench"
IN_FLIGHT = 100
SIGNALS_IN_FLIGHT = 20
SLEEPS_PER_SECOND = 100
"""How long sleepers sleep: long enough that all are asleep together."""


class Round:
    """One round: names its workflows, measures their latencies."""

    def __init__(self, client: Client, number: int) -> None:
        self._client = client
        self._number = number
        self._next = 0
        self.latencies_ms: list[float] = []

    async def run(self, workflow_run: Any, argument: float) -> int:
        """Run one workflow to its end."""
        began_s = time.perf_counter()
        result: int = await self._client.execute_workflow(
            workflow_run, argument, id=self._id(), task_queue=QUEUE
        )
        self.latencies_ms.append(1_000 * (time.perf_counter() - began_s))
        return result

    async def many(self, size: int, workflow_run: Any, argument: float, in_flight: int) -> int:
        """Run `size` of them, at most `in_flight` at once."""
        await each(size, in_flight, lambda: self.run(workflow_run, argument))
        return size

    async def signals(self, size: int) -> int:
        """A stream of signals to one workflow."""
        handle: Any = await self._client.start_workflow(
            Signalled.run, size, id=self._id(), task_queue=QUEUE
        )

        async def send() -> None:
            began_s = time.perf_counter()
            await handle.signal(Signalled.add, 1)
            self.latencies_ms.append(1_000 * (time.perf_counter() - began_s))

        await each(size, SIGNALS_IN_FLIGHT, send)
        if await handle.result() != size:
            raise AssertionError("signals were lost")
        return size

    def _id(self) -> str:
        self._next += 1
        return f"bench-{self._number}-{self._next}"


async def each(size: int, in_flight: int, work: Callable[[], Awaitable[Any]]) -> None:
    """`size` times, at most `in_flight` at once."""
    left = iter(range(size))

    async def lane() -> None:
        for _ in left:
            await work()

    await asyncio.gather(*(lane() for _ in range(in_flight)))


WORKLOADS: dict[str, Callable[[Round, int], Awaitable[int]]] = {
    "one activity": lambda it, size: it.many(size, Sequence.run, 1, IN_FLIGHT),
    "ten in sequence": lambda it, size: it.many(size, Sequence.run, 10, IN_FLIGHT),
    "a hundred in parallel": lambda it, size: it.many(size, Parallel.run, 100, 5),
    "sleepers": lambda it, size: it.many(size, Sleeper.run, size / SLEEPS_PER_SECOND, size),
    "signals": lambda it, size: it.signals(size),
    "long history": lambda it, size: it.run(LongHistory.run, size),
    "pending activities": lambda it, size: it.run(Parallel.run, size),
}
"""What a round does; the answer is how many units it was."""


async def play(client: Client, number: int, workload: str, size: int) -> dict[str, Any]:
    """One round."""
    one = Round(client, number)
    wall_s, cpu_s, main_s = time.perf_counter(), time.process_time(), time.thread_time()
    units = await WORKLOADS[workload](one, size)
    return {
        "units": units,
        "wall_s": time.perf_counter() - wall_s,
        "cpu_s": time.process_time() - cpu_s,
        "main_thread_s": time.thread_time() - main_s,
        "latencies_ms": sorted(one.latencies_ms),
        # Linux counts in KiB, macOS in bytes.
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * (1 if sys.platform == "darwin" else 1024),
    }


async def main(target: str) -> None:
    client = await Client.connect(target)
    worker = Worker(
        client,
        task_queue=QUEUE,
        workflows=[LongHistory, Parallel, Sequence, Signalled, Sleeper],
        activities=[compose],
        max_concurrent_workflow_tasks=IN_FLIGHT,
        max_concurrent_activities=IN_FLIGHT,
    )
    async with worker:
        print(json.dumps({"ready": True}), flush=True)
        number = 0
        while line := await asyncio.to_thread(sys.stdin.readline):
            number += 1
            print(json.dumps(await play(client, number, **json.loads(line))), flush=True)


if __name__ == "__main__":
    if Client.__module__.startswith("perdure."):
        from perdure.cli.session import loop_factory

        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(main(sys.argv[1]))
    else:
        asyncio.run(main(sys.argv[1]))
