"""The end of a simulated world's loop, and what does not exist on it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from perdure.testing.simulation.loop import (
    FOREVER_S,
    DeadlockError,
    Impossible,
    Process,
    SimLoop,
)


async def waits(ended: list[str], name: str) -> None:
    """Wait until it is cancelled, and take a moment to end."""
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(1)
        ended.append(name)


def test_what_the_main_task_leaves_is_cancelled_and_awaited() -> None:
    loop = SimLoop()
    ended: list[str] = []

    async def main() -> str:
        left.extend(asyncio.ensure_future(waits(ended, name)) for name in ("a", "b"))
        await asyncio.sleep(1)
        return "done"

    left: list[asyncio.Future[None]] = []
    assert loop.run(main()) == "done"
    assert sorted(ended) == ["a", "b"]
    assert all(task.cancelled() for task in left)
    assert loop.is_closed()


def test_the_callers_own_loop_stays_the_current_one() -> None:
    own = asyncio.new_event_loop()
    asyncio.set_event_loop(own)
    try:
        SimLoop().run(asyncio.sleep(1))
        assert asyncio.get_event_loop() is own
    finally:
        asyncio.set_event_loop(None)
        own.close()


def test_an_error_at_the_end_does_not_replace_the_result() -> None:
    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("at the end")

    async def main() -> str:
        left.append(asyncio.ensure_future(fails()))
        await asyncio.sleep(1)
        return "done"

    left: list[asyncio.Future[None]] = []
    assert SimLoop().run(main()) == "done"
    with pytest.raises(ValueError, match="at the end"):
        left[0].result()


def test_the_error_of_the_main_task_ends_the_loop_as_well() -> None:
    loop = SimLoop()
    ended: list[str] = []

    async def main() -> None:
        left.append(asyncio.ensure_future(waits(ended, "a")))
        await asyncio.sleep(1)
        raise ValueError("no")

    left: list[asyncio.Future[None]] = []
    with pytest.raises(ValueError, match="no"):
        loop.run(main())
    assert ended == ["a"]
    assert loop.is_closed()


def test_generators_that_were_left_are_closed() -> None:
    ended: list[str] = []
    kept: list[AsyncGenerator[int]] = []

    async def numbers() -> AsyncGenerator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(1)
            ended.append("numbers")

    async def main() -> int:
        kept.append(numbers())
        return await anext(kept[0])

    assert SimLoop().run(main()) == 1
    assert ended == ["numbers"]


def test_what_belongs_to_a_process_is_not_awaited_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended: list[str] = []
    process = Process("p")

    async def frozen() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("frozen")

    async def main() -> None:
        process.spawn(frozen(), "work")
        await asyncio.sleep(1)
        process.kill()

    SimLoop().run(main())
    assert ended == []
    process.tasks.clear()
    gc.collect()
    assert caplog.records == [], "nobody complains of a task that was never finished"


def test_a_buried_process_is_finalised_whatever_its_blocks_do() -> None:
    ended: list[str] = []
    process = Process("p")

    async def plain() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("plain")

    async def main() -> None:
        process.spawn(waits([], "awaits in finally"), "one")
        process.spawn(plain(), "two")
        await asyncio.sleep(1)

    SimLoop().run(main())
    assert len(process.tasks) == 2
    process.bury()
    assert ended == ["plain"]
    assert process.tasks == []
    assert not process.is_alive


def test_tasks_of_a_process_are_named_after_it_and_inherit_its_context() -> None:
    process = Process("p")
    ran: list[str] = []

    async def inner() -> None:
        await asyncio.sleep(2)
        ran.append("inner")

    async def outer() -> None:
        task = asyncio.current_task()
        assert task is not None
        ran.append(task.get_name())
        await asyncio.gather(inner(), inner())

    async def main() -> None:
        process.spawn(outer(), "outer")
        await asyncio.sleep(1)
        process.kill()
        await asyncio.sleep(10)

    SimLoop().run(main())
    assert ran == ["p: outer"], "what a task of the process started is frozen too"
    process.bury()


def test_a_killed_process_hears_of_no_timer_and_of_no_call() -> None:
    process = Process("p")
    heard: list[str] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(2, heard.append, "timer")
        loop.call_later(0.5, heard.append, "early timer")
        await asyncio.sleep(1)
        loop.call_soon(heard.append, "call")

    async def main() -> None:
        process.spawn(work(), "work")
        loop = asyncio.get_running_loop()
        loop.call_later(3, heard.append, "timer of the world")
        loop.call_later(4, heard.append, "timer for the process", context=process.context)
        loop.call_later(1, process.kill)
        await asyncio.sleep(10)

    SimLoop().run(main())
    assert heard == ["early timer", "timer of the world"]


def test_the_names_of_those_who_wait_are_said_in_order() -> None:
    async def main() -> None:
        left.extend(asyncio.create_task(waits([], name), name=name) for name in ("c", "a", "b"))
        await asyncio.Event().wait()

    left: list[asyncio.Task[None]] = []
    with pytest.raises(DeadlockError, match=r"waiting: \['Task-\d+', 'a', 'b', 'c'\]"):
        SimLoop().run(main())


def test_the_longest_wait_is_just_short_of_endless() -> None:
    loop = SimLoop()
    loop.run(asyncio.sleep(FOREVER_S))
    assert loop.time() == FOREVER_S
    with pytest.raises(DeadlockError):
        SimLoop().run(asyncio.sleep(FOREVER_S + 1))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("create_connection", "no sockets"),
        ("create_unix_connection", "no sockets"),
        ("getaddrinfo", "no sockets"),
        ("subprocess_exec", "no processes"),
        ("subprocess_shell", "no processes"),
    ],
)
def test_what_does_not_exist_is_said_by_each_method(name: str, words: str) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        await getattr(loop, name)("x", "y")

    with pytest.raises(Impossible, match=words):
        SimLoop().run(main())


def test_there_are_no_threads() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().run_in_executor(None, print)

    with pytest.raises(Impossible, match="no threads"):
        SimLoop().run(main())
