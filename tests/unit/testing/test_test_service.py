"""TestService: the locks are counted, sleeps are in test time, and nothing else in the engine notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty

from perdure.core.units import DAY_NS, SECOND_NS
from perdure.server.time_skipping.node import TimeSkippingNode, open_time_skipping_node
from perdure.wire.api import testservice
from perdure.wire.errors import InvalidArgument
from perdure.wire.seam import TEST_SERVICE
from perdure.wire.times import duration, timestamp, timestamp_ns

MARGIN_NS = 60 * SECOND_NS


@pytest.fixture
async def node() -> AsyncIterator[TimeSkippingNode]:
    opened = await open_time_skipping_node()
    yield opened
    await opened.close()


async def call(node: TimeSkippingNode, name: str, request: Any = None) -> Any:
    method = TEST_SERVICE[name]
    return await node.node.frontend.dispatch(
        method, method.request_type() if request is None else request
    )


async def now_ns(node: TimeSkippingNode) -> int:
    return timestamp_ns((await call(node, "GetCurrentTime", Empty())).time)


def days(number: int) -> testservice.SleepRequest:
    return testservice.SleepRequest(duration=duration(number * DAY_NS))


async def test_a_sleep_skips_only_with_its_own_lock_away(node: TimeSkippingNode) -> None:
    began = await now_ns(node)
    locked = asyncio.ensure_future(call(node, "Sleep", days(1)))
    await asyncio.sleep(0.02)
    assert not locked.done()
    await call(node, "UnlockTimeSkippingWithSleep", days(2))
    assert 2 * DAY_NS <= await now_ns(node) - began < 2 * DAY_NS + MARGIN_NS
    await locked
    assert (node.time.locks, node.time.lent) == (1, 0)


async def test_sleepers_wake_in_order_at_their_time(node: TimeSkippingNode) -> None:
    began = await now_ns(node)
    woken: list[tuple[int, int]] = []

    async def sleep(number: int) -> None:
        await call(node, "Sleep", days(number))
        woken.append((number, (await now_ns(node) - began) // DAY_NS))

    sleeping = [asyncio.ensure_future(sleep(number)) for number in (3, 1, 2)]
    await asyncio.sleep(0)
    await call(node, "UnlockTimeSkipping")
    await asyncio.gather(*sleeping)
    await call(node, "LockTimeSkipping")
    assert woken == [(1, 1), (2, 2), (3, 3)]
    assert node.time.skips == 3


async def test_locks_are_counted(node: TimeSkippingNode) -> None:
    await call(node, "LockTimeSkipping")
    await call(node, "UnlockTimeSkipping")
    assert not node.time.is_open
    await call(node, "UnlockTimeSkipping")
    assert node.time.is_open


async def test_time_is_locked_when_the_last_of_several_waiting_callers_locks_it(
    node: TimeSkippingNode,
) -> None:
    """The clients of other SDKs unlock for each result they wait for, however many at once."""
    for _ in range(3):
        await call(node, "UnlockTimeSkipping")
    for _ in range(2):
        await call(node, "LockTimeSkipping")
        assert node.time.is_open
    await call(node, "LockTimeSkipping")
    assert not node.time.is_open
    assert node.time.locks == 1


async def test_a_sleeper_of_open_time_lends_nothing(node: TimeSkippingNode) -> None:
    await call(node, "UnlockTimeSkipping")
    sleeping = asyncio.ensure_future(call(node, "UnlockTimeSkippingWithSleep", days(1)))
    await asyncio.sleep(0)
    assert node.time.lent == 0
    await sleeping
    assert (node.time.locks, node.time.lent) == (0, 0)


async def test_sleep_until_a_moment_of_the_past_returns_at_once(node: TimeSkippingNode) -> None:
    past = testservice.SleepUntilRequest(timestamp=timestamp(await now_ns(node) - DAY_NS))
    await call(node, "SleepUntil", past)
    assert node.time.skips == 0


async def test_sleep_until_a_moment_to_come(node: TimeSkippingNode) -> None:
    at_ns = await now_ns(node) + DAY_NS
    await call(node, "UnlockTimeSkipping")
    await call(node, "SleepUntil", testservice.SleepUntilRequest(timestamp=timestamp(at_ns)))
    assert at_ns <= await now_ns(node) < at_ns + MARGIN_NS


async def test_a_sleep_that_is_given_up_puts_its_lock_back(node: TimeSkippingNode) -> None:
    await call(node, "LockTimeSkipping")
    sleeping = asyncio.ensure_future(call(node, "UnlockTimeSkippingWithSleep", days(1)))
    await asyncio.sleep(0.01)
    assert (node.time.locks, node.time.lent) == (2, 1)
    sleeping.cancel()
    await asyncio.gather(sleeping, return_exceptions=True)
    assert (node.time.locks, node.time.lent) == (2, 0)


async def test_a_negative_sleep_is_refused(node: TimeSkippingNode) -> None:
    request = testservice.SleepRequest()
    request.duration.FromTimedelta(timedelta(seconds=-1))
    with pytest.raises(InvalidArgument, match="negative"):
        await call(node, "Sleep", request)
