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


async def test_a_slot_that_is_withheld_is_nobodys_until_it_is_restored() -> None:
    slots = Slots(2)
    assert slots.try_take()
    slots.withhold()
    assert not slots.try_take()
    assert not slots.is_wanted
    taker = asyncio.create_task(slots.take())
    await asyncio.sleep(0)
    slots.restore()
    await taker
    assert slots.used == 2


async def test_more_are_in_use_than_there_are_left() -> None:
    slots = Slots(3)
    assert all(slots.try_take() for _ in range(3))
    slots.withhold()
    assert slots.is_wanted, "one of them must be given up"
    taker = asyncio.create_task(slots.take())
    await asyncio.sleep(0)
    slots.release()
    await asyncio.sleep(0)
    assert not taker.done()
    assert slots.used == 2
    slots.release()
    await taker
    assert slots.used == 2


async def test_those_who_left_get_no_slot_back() -> None:
    slots = Slots(1)
    slots.withhold()
    left, stays = asyncio.create_task(slots.take()), asyncio.create_task(slots.take())
    await asyncio.sleep(0)
    left.cancel()
    slots.restore()
    await asyncio.wait([left, stays])
    assert left.cancelled()
    assert slots.used == 1
    slots.release()
    await slots.wait_idle()


async def test_as_many_are_left_as_polls_need_until_all_are_withheld() -> None:
    slots = Slots(3, fewest=2)
    slots.withhold()
    slots.withhold()
    assert slots.try_take()
    assert slots.try_take()
    assert not slots.try_take()
    slots.release()
    slots.release()
    slots.withhold()
    assert not slots.try_take()
    await slots.wait_idle()
    for _ in range(3):
        slots.restore()
    assert all(slots.try_take() for _ in range(3))


async def test_a_slot_that_comes_back_may_be_one_that_is_still_in_use() -> None:
    slots = Slots(3)
    assert all(slots.try_take() for _ in range(3))
    slots.withhold()
    slots.withhold()
    taker = asyncio.create_task(slots.take())
    await asyncio.sleep(0)
    slots.release()
    slots.restore()
    await asyncio.sleep(0)
    assert (slots.used, taker.done()) == (2, False), "two are left, and in use"
    slots.restore()
    await taker
    assert slots.used == 3
