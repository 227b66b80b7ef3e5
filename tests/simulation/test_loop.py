"""The virtual event loop: time jumps, the order is that of asyncio, and a deadlock is an error."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from perdure.testing.simulation.disk import DiskFaults, SimExecutor
from perdure.testing.simulation.loop import DeadlockError, Process, SimClock, SimLoop


def test_a_year_of_sleeps_takes_no_time_and_keeps_order() -> None:
    loop = SimLoop()
    seen: list[tuple[float, int]] = []

    async def sleeper(number: int) -> None:
        await asyncio.sleep(number * 86_400.0)
        seen.append((loop.time(), number))

    async def main() -> None:
        await asyncio.gather(*(sleeper(number) for number in (3, 1, 2)))

    loop.run(main())
    assert [number for _, number in seen] == [1, 2, 3]
    assert seen[-1][0] == pytest.approx(3 * 86_400.0)


def test_waiting_for_nothing_is_a_deadlock() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match="nothing can happen"):
        SimLoop().run(main())


def test_the_clock_follows_the_loop() -> None:
    loop = SimLoop()
    clock = SimClock(loop)

    async def main() -> int:
        before = clock.now_ns()
        await asyncio.sleep(1.5)
        return clock.now_ns() - before

    assert loop.run(main()) == pytest.approx(1_500_000_000, abs=2)


def test_disk_jobs_run_in_order_and_a_crash_ends_them() -> None:
    loop = SimLoop()
    done: list[int] = []

    async def main() -> None:
        executor = SimExecutor(DiskFaults(Random(1)))
        jobs = [
            asyncio.create_task(executor.run(lambda number=number: done.append(number)))
            for number in range(5)
        ]
        await asyncio.gather(*jobs[:3])
        executor.crash()
        await asyncio.sleep(60)
        assert not jobs[4].done()

    loop.run(main())
    assert done[:3] == [0, 1, 2]
    assert 4 not in done


def test_a_killed_process_runs_nothing_any_more_not_even_finally() -> None:
    loop = SimLoop()
    seen: list[str] = []
    killed = Process("victim")
    other = Process("other")

    async def work(name: str) -> None:
        try:
            for number in range(3):
                await asyncio.sleep(1)
                seen.append(f"{name} {number}")
        finally:
            seen.append(f"{name} ended")

    async def main() -> None:
        killed.spawn(work("victim"), "work")
        task = other.spawn(work("other"), "work")
        await asyncio.sleep(1.5)
        killed.kill()
        await task
        await asyncio.sleep(10)

    loop.run(main())
    assert seen == ["victim 0", "other 0", "other 1", "other 2", "other ended"]
