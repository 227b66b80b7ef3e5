"""Pollers never give up; answers are repeated until the server takes or refuses them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from perdure.wire import errors
from perdure.worker import pollers
from perdure.worker.pollers import Poller, until_answered
from perdure.worker.slots import Slots


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_time(attempt: int) -> float:
        return 0.0

    monkeypatch.setattr(pollers, "pause_s", no_time)


async def test_a_poller_survives_errors_and_hands_on_what_comes() -> None:
    script: list[object] = [
        errors.Unavailable("down"),
        errors.Internal("odd"),
        None,
        "one",
        errors.Unavailable("down again"),
        "two",
    ]
    handled: list[str] = []
    ended = asyncio.Event()

    async def poll() -> str | None:
        if not script:
            ended.set()
            await asyncio.Event().wait()
        item = script.pop(0)
        if isinstance(item, errors.RpcError):
            raise item
        assert item is None or isinstance(item, str)
        return item

    async def handle(task: str) -> None:
        handled.append(task)

    tasks: list[asyncio.Task[None]] = []

    def spawn(work: Coroutine[Any, Any, None], name: str) -> None:
        tasks.append(asyncio.ensure_future(work))

    slots = Slots(2)
    poller = Poller("test", slots, poll, handle, spawn)
    running = asyncio.create_task(poller.run())
    await ended.wait()
    await asyncio.gather(*tasks)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert handled == ["one", "two"]
    assert slots.used == 0


async def test_a_slot_is_taken_before_the_poll_and_held_by_the_task() -> None:
    release = asyncio.Event()
    polls = 0

    async def poll() -> str:
        nonlocal polls
        polls += 1
        return "task"

    async def handle(task: str) -> None:
        await release.wait()

    tasks: list[asyncio.Future[None]] = []

    def spawn(work: Coroutine[Any, Any, None], name: str) -> None:
        tasks.append(asyncio.ensure_future(work))

    slots = Slots(2)
    poller = Poller("test", slots, poll, handle, spawn)
    running = asyncio.create_task(poller.run())
    for _ in range(20):
        await asyncio.sleep(0)
    assert polls == 2, "no poll without a free slot"
    poller.stop()
    release.set()
    await asyncio.gather(running, *tasks)
    assert slots.used == 0


async def test_a_poller_ends_with_its_connection() -> None:
    async def poll() -> str | None:
        raise errors.ConnectionClosed("connect again")

    async def handle(task: str) -> None:
        raise AssertionError(task)

    slots = Slots(1)
    await Poller("test", slots, poll, handle, lambda work, name: None).run()
    await slots.wait_idle()


async def test_an_answer_is_repeated_until_taken() -> None:
    outcomes: list[Exception | str] = [
        errors.Unavailable("down"),
        errors.DeadlineExceeded("slow"),
        "taken",
    ]

    async def call() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert await until_answered("test", call) == "taken"


async def test_not_found_ends_the_repeats_and_refusals_are_raised() -> None:
    async def gone() -> str:
        raise errors.not_found("gone")

    async def refused() -> str:
        raise errors.InvalidArgument("bad")

    assert await until_answered("test", gone) is None
    with pytest.raises(errors.InvalidArgument):
        await until_answered("test", refused)


async def test_giving_up_raises_the_last_error() -> None:
    async def down() -> str:
        raise errors.Unavailable("down")

    with pytest.raises(errors.Unavailable):
        await until_answered("test", down, give_up=lambda: True)


async def test_a_message_that_can_not_travel_is_not_sent_again() -> None:
    calls = 0

    async def call() -> str:
        nonlocal calls
        calls += 1
        raise errors.ResourceExhausted("grpc: received message larger than max (5 vs. 4)")

    with pytest.raises(errors.ResourceExhausted):
        await until_answered("test", call)
    assert calls == 1
