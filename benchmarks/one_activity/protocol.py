"""How the bench drives a measured program: a line of JSON in, one round, a line of JSON out."""

from __future__ import annotations

import asyncio
import contextlib
import cProfile
import json
import sys
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from benchmarks.one_activity.shares import shares_of

IN_FLIGHT = 100


async def serve_rounds(execute: Callable[[str], Awaitable[str]]) -> None:
    """Play rounds until standard input ends.

    A request is `{"workflows": n, "profile": bool}`; the answer has the CPU time of this process and the wall time of
    the round, in seconds, and with `profile` the shares of the main thread.

    Args:
        execute: Runs one workflow with this id to its end; returns its result.
    """
    print(json.dumps({"ready": True}), flush=True)
    number = 0
    while line := await asyncio.to_thread(sys.stdin.readline):
        request = json.loads(line)
        number += 1
        print(json.dumps(await _round(execute, number, **request)), flush=True)


async def _round(
    execute: Callable[[str], Awaitable[str]], number: int, *, workflows: int, profile: bool
) -> dict[str, Any]:
    free = asyncio.Semaphore(IN_FLIGHT)

    async def one(index: int) -> None:
        async with free:
            result = await execute(f"bench-{number}-{index}")
            if result != "Hello, bench!":
                raise AssertionError(f"a workflow returned {result!r}")

    with _profiled(enabled=profile) as shares:
        wall_s, cpu_s, main_s = time.perf_counter(), time.process_time(), time.thread_time()
        await asyncio.gather(*(one(index) for index in range(workflows)))
        answer: dict[str, Any] = {
            "wall_s": time.perf_counter() - wall_s,
            "cpu_s": time.process_time() - cpu_s,
            "main_thread_s": time.thread_time() - main_s,
        }
    return answer | {"shares": shares}


@contextlib.contextmanager
def _profiled(*, enabled: bool) -> Generator[list[Any]]:
    shares: list[Any] = []
    if not enabled:
        yield shares
        return
    # The CPU time of this thread: waiting costs nothing.
    profile = cProfile.Profile(time.thread_time)
    profile.enable()
    try:
        yield shares
    finally:
        profile.disable()
        shares += shares_of(profile)
