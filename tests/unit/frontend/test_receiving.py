"""Requests are received a few at a time, and those that arrive slowly hold up no others for long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.core.units import SECOND_NS
from perdure.server.transport import receiving
from perdure.server.transport.receiving import ARRIVING_MAX, SLOW_MAX, WAITING_MAX, Receiving
from perdure.wire.errors import InvalidArgument, ResourceExhausted
from tests.unit.server.virtual import on_virtual_time
from tests.unit.server.world import settle

SLOW_S = receiving.SLOW_NS / SECOND_NS
PATIENCE_S = receiving.PATIENCE_NS / SECOND_NS


class Call:
    """A call whose request arrives when the test says so."""

    def __init__(self, server: Receiving) -> None:
        self.message: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.is_reading = False
        self.answer = asyncio.ensure_future(server.read(self))

    async def read(self) -> Any:
        self.is_reading = True
        return await self.message

    async def arrive(self, message: Any = b"request") -> None:
        self.message.set_result(message)
        await settle()

    @property
    def is_refused(self) -> bool:
        return self.answer.done() and isinstance(self.answer.exception(), ResourceExhausted)


async def calls(server: Receiving, count: int) -> list[Call]:
    made = [Call(server) for _ in range(count)]
    await settle()
    return made


def reading(made: list[Call]) -> list[bool]:
    return [call.is_reading for call in made]


@on_virtual_time
async def test_a_few_requests_are_received_at_a_time_and_of_the_others_the_last_is_the_next():
    server = Receiving()
    made = await calls(server, ARRIVING_MAX + 3)
    assert reading(made) == [True] * ARRIVING_MAX + [False] * 3
    for ended in range(3):
        await made[ended].arrive()
        assert await made[ended].answer == b"request"
        turns = [False] * (2 - ended) + [True] * (ended + 1)
        assert reading(made) == [True] * ARRIVING_MAX + turns
    for call in made[3:]:
        await call.arrive()
    again = await calls(server, ARRIVING_MAX + 1)
    assert reading(again) == [True] * ARRIVING_MAX + [False], "each place was given back once"


@on_virtual_time
async def test_a_slow_request_has_all_the_time_while_nobody_waits():
    server = Receiving()
    made = await calls(server, ARRIVING_MAX)
    await asyncio.sleep(3600)
    for call in made:
        await call.arrive()
        assert await call.answer == b"request"


@on_virtual_time
async def test_slow_requests_make_room_and_arrive_elsewhere():
    server = Receiving()
    slow = await calls(server, ARRIVING_MAX)
    waiting = await calls(server, 2)
    await asyncio.sleep(SLOW_S - 0.1)
    assert reading(waiting) == [False, False]
    await asyncio.sleep(0.2)
    assert reading(waiting) == [True, True]
    for call in (*slow, *waiting):
        assert not call.answer.done()
        await call.arrive()
        assert await call.answer == b"request"
    again = await calls(server, ARRIVING_MAX + 1)
    assert reading(again) == [True] * ARRIVING_MAX + [False], "a slow one gives no place back twice"


async def full(server: Receiving) -> list[Call]:
    """Requests of which none arrives, in all places; all are slow."""
    made: list[Call] = []
    for begin in range(0, ARRIVING_MAX + SLOW_MAX, ARRIVING_MAX):
        if begin:
            await asyncio.sleep(SLOW_S + 0.1)
        made += await calls(server, ARRIVING_MAX)
        await asyncio.sleep(SLOW_S + 0.1)
    await asyncio.sleep(SLOW_S + 0.1)
    assert all(reading(made))
    return made


@on_virtual_time
async def test_a_quiet_server_gives_slow_requests_time():
    """More uploads than places, each of a few seconds: all arrive."""
    server = Receiving()
    made = await full(server)
    more = await calls(server, WAITING_MAX)
    await asyncio.sleep(PATIENCE_S - 0.1)
    assert not any(reading(more))
    for call in (*made, *reversed(more)):
        assert call.is_reading
        await call.arrive()
        assert await call.answer == b"request"


@on_virtual_time
async def test_one_slow_request_is_refused_for_few_calls_that_wait_for_long():
    server = Receiving()
    made = await full(server)
    assert SLOW_MAX % ARRIVING_MAX == 0, (
        "so the last few are in the places that are not for slow ones"
    )
    late = made[: -ARRIVING_MAX - 1 : -1]  # the call that came last began first
    waiting = await calls(server, 3)
    await asyncio.sleep(PATIENCE_S + 0.1)
    assert [call.is_refused for call in late] == [True] + [False] * (ARRIVING_MAX - 1)
    assert not any(call.is_refused for call in made[:-ARRIVING_MAX])
    assert reading(waiting) == [False, False, True]
    await asyncio.sleep(PATIENCE_S - 0.2)
    assert not late[1].is_refused, "one at a time"
    await asyncio.sleep(0.2)
    assert late[1].is_refused
    assert not late[2].is_refused
    assert reading(waiting) == [False, True, True]
    await waiting[1].arrive()
    assert reading(waiting) == [True, True, True], "a quick one passes its place on"


@on_virtual_time
async def test_a_flood_ends_slow_requests_at_once():
    server = Receiving()
    made = await full(server)
    await calls(server, WAITING_MAX + 1)
    await asyncio.sleep(SLOW_S + 0.1)
    assert sum(call.is_refused for call in made[-ARRIVING_MAX:]) == 1
    await calls(server, ARRIVING_MAX)
    await asyncio.sleep(SLOW_S + 0.1)
    assert all(call.is_refused for call in made[-ARRIVING_MAX:])
    assert not any(call.is_refused for call in made[:-ARRIVING_MAX]), "these were there first"


@on_virtual_time
async def test_after_a_minute_the_slowest_goes_first():
    server = Receiving()
    made = await full(server)
    await asyncio.sleep(receiving.SLOWEST_NS / SECOND_NS)
    waiting = await calls(server, 1)
    await asyncio.sleep(SLOW_S + 0.1)
    assert [call.is_refused for call in made] == [True] + [False] * (len(made) - 1)
    assert reading(waiting) == [True]
    for call in (*made, *waiting):
        if not call.answer.done():
            await call.arrive()
    again = await calls(server, ARRIVING_MAX + 1)
    assert reading(again) == [True] * ARRIVING_MAX + [False]


@on_virtual_time
async def test_a_call_that_is_cancelled_gives_its_place_or_its_turn_to_the_next():
    server = Receiving()
    made = await calls(server, ARRIVING_MAX + 3)
    made[ARRIVING_MAX].answer.cancel()
    made[0].answer.cancel()
    await settle()
    assert reading(made)[ARRIVING_MAX:] == [False, False, True]


@pytest.mark.parametrize("turns", range(8))
@on_virtual_time
async def test_a_call_that_is_cancelled_while_its_turn_comes_loses_no_place(turns: int):
    server = Receiving()
    made = await calls(server, ARRIVING_MAX + 1)
    made[0].message.set_result(b"request")
    for _ in range(turns):
        await asyncio.sleep(0)
    made[-1].answer.cancel()
    await settle()
    late = await calls(server, 2)
    assert reading(late) == [True, False]


@on_virtual_time
async def test_a_thousand_calls_that_send_nothing_cost_another_one_half_a_second():
    server = Receiving()
    await calls(server, 1_000)
    await asyncio.sleep(SLOW_S / 2)
    (honest,) = await calls(server, 1)
    assert not honest.is_reading
    await asyncio.sleep(SLOW_S)
    assert honest.is_reading


@on_virtual_time
async def test_a_call_without_a_request_is_refused_and_one_that_breaks_off_gives_its_place_back():
    server = Receiving()
    for _ in range(2 * ARRIVING_MAX):
        (call,) = await calls(server, 1)
        await call.arrive(receiving.EOF)
        with pytest.raises(InvalidArgument, match="no request"):
            await call.answer
        (broken,) = await calls(server, 1)
        broken.message.set_exception(ConnectionError("gone"))
        with pytest.raises(ConnectionError):
            await broken.answer
