"""Heartbeats: the first at once, the latest wins, nothing after the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import Any

import pytest

from perdure.core.units import SECOND_NS
from perdure.worker.activity.heartbeats import Heartbeats, throttle_ns


@pytest.mark.parametrize(("timeout_s", "expected_s"), [(10, 8), (0, 30), (1000, 60)])
def test_throttle_is_most_of_the_timeout_within_bounds(timeout_s: int, expected_s: int) -> None:
    got = throttle_ns(timeout_s * SECOND_NS, 30 * SECOND_NS, 60 * SECOND_NS)
    assert got == expected_s * SECOND_NS


async def test_the_latest_details_win_and_unsent_ones_are_kept() -> None:
    sent: list[Sequence[Any]] = []
    gate = asyncio.Event()
    tasks: list[asyncio.Future[None]] = []

    async def send(details: Sequence[Any]) -> None:
        sent.append(details)
        await gate.wait()

    def spawn(work: Awaitable[None]) -> None:
        tasks.append(asyncio.ensure_future(work))

    heartbeats = Heartbeats(send, 0, spawn)
    heartbeats.record((1,))
    await asyncio.sleep(0)
    heartbeats.record((2,))
    heartbeats.record((3,))
    assert sent == [(1,)]
    assert heartbeats.unsent == (3,)
    gate.set()
    await asyncio.gather(*tasks)
    assert sent == [(1,), (3,)]
    assert heartbeats.unsent is None
    heartbeats.close()
    heartbeats.record((4,))
    assert len(tasks) == 1
    assert sent == [(1,), (3,)]


class Sender:
    """Counts what is sent and what came too late."""

    def __init__(self, timeout_s: float) -> None:
        self.sent: list[Sequence[Any]] = []
        self.overdue = 0
        self.tasks: list[asyncio.Future[None]] = []
        self.heartbeats = Heartbeats(
            self.send, 0, self.spawn, int(timeout_s * SECOND_NS), self.count_overdue
        )

    async def send(self, details: Sequence[Any]) -> None:
        self.sent.append(details)

    def spawn(self, work: Awaitable[None]) -> None:
        self.tasks.append(asyncio.ensure_future(work))

    def count_overdue(self) -> None:
        self.overdue += 1

    async def record(self, details: Sequence[Any]) -> None:
        self.heartbeats.record(details)
        await asyncio.gather(*self.tasks)


async def test_a_heartbeat_after_a_block_that_was_longer_than_the_time_out_is_not_sent() -> None:
    sender = Sender(timeout_s=0.01)
    time.sleep(0.05)  # noqa: ASYNC251 - the loop is to stand still
    assert sender.heartbeats.is_overdue
    await sender.record((1,))
    assert (sender.sent, sender.overdue) == ([], 1)
    sender.heartbeats.close()
    assert not sender.heartbeats.is_overdue


async def test_while_the_loop_turns_the_server_judges_what_is_late() -> None:
    # Another process may have sent heartbeats for the attempt, by its token or its id.
    sender = Sender(timeout_s=0.01)
    await asyncio.sleep(0.05)
    assert not sender.heartbeats.is_overdue
    await sender.record((1,))
    assert (sender.sent, sender.overdue) == ([(1,)], 0)
    time.sleep(0.05)  # noqa: ASYNC251
    assert sender.heartbeats.is_overdue, "the time-out counts from the last answer"
    sender.heartbeats.close()


async def test_without_a_time_out_nothing_is_late() -> None:
    sender = Sender(timeout_s=0)
    time.sleep(0.05)  # noqa: ASYNC251
    assert not sender.heartbeats.is_overdue
    await sender.record((1,))
    assert (sender.sent, sender.overdue) == ([(1,)], 0)
