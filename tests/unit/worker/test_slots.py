"""Slots: in order, never lost, never taken past those who wait."""

from __future__ import annotations

import asyncio

import pytest

from perdure.worker.polling.slots import Slots


async def test_who_waited_longest_gets_the_slot() -> None:
    slots = Slots(1)
    assert slots.try_take()
    order: list[int] = []

    async def worker(number: int) -> None:
        await slots.take()
        order.append(number)
        slots.release()

    workers = [asyncio.create_task(worker(number)) for number in range(3)]
    await asyncio.sleep(0)
    slots.release()
    assert not slots.try_take(), "it belongs to the first who waits"
    await asyncio.gather(*workers)
    assert order == [0, 1, 2]
    assert slots.used == 0


async def test_who_leaves_does_not_keep_the_slot() -> None:
    slots = Slots(1)
    assert slots.try_take()
    early, late = asyncio.create_task(slots.take()), asyncio.create_task(slots.take())
    await asyncio.sleep(0)
    early.cancel()
    await asyncio.gather(early, return_exceptions=True)
    slots.release()
    late.cancel()  # in the moment in which the slot has come
    await asyncio.gather(late, return_exceptions=True)
    assert slots.used == 0
    assert slots.try_take()


async def test_idle_means_that_all_are_free() -> None:
    slots = Slots(2)
    await slots.wait_idle()
    assert slots.try_take()
    waiting = asyncio.create_task(slots.wait_idle())
    await asyncio.sleep(0)
    assert not waiting.done()
    slots.release()
    await waiting


def test_none_is_too_few() -> None:
    with pytest.raises(ValueError, match="at least one slot"):
        Slots(0)
