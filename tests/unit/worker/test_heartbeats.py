"""Heartbeats: the first at once, the latest wins, nothing after the end."""

from __future__ import annotations

import asyncio
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
