"""Receives requests, only a few at a time, because each may be as large as the largest message.

Role: gRPC takes a message into memory as a whole, and has no limits per method. So a call reads its request here, in
one of a few places. Most requests have arrived with their call and pass at once. One that arrives slowly gives up its
place after half a second and takes one of a few places for slow ones. If those are taken, it is refused: at once while
many calls wait, and otherwise only one such request every five seconds. So a quiet server gives slow clients time, and
a flood of calls that send nothing delays another call by half a second.

Invariants: at most `ARRIVING_MAX` + `SLOW_MAX` requests are being received; the call that came last has the next turn;
a request is refused only if others wait.
Not here: how large a request may be (`grpc`).
"""

from __future__ import annotations

import asyncio
import math
from typing import Any, Protocol, cast

import grpc.aio

from perdure.core.units import SECOND_NS
from perdure.wire.api import enums
from perdure.wire.errors import InvalidArgument, resource_exhausted

EOF: Any = cast("Any", grpc.aio).EOF
"""What gRPC reads after the last message; its type stubs lack it."""
ARRIVING_MAX = 4
SLOW_MAX = 8
SLOW_NS = SECOND_NS // 2
WAITING_MAX = 16
"""While no more calls than this wait, a slow request is not refused at once."""
PATIENCE_NS = 5 * SECOND_NS
"""If at most `WAITING_MAX` calls wait, a slow request is refused for them only after this time. Clients wait ten
seconds or longer."""
SLOWEST_NS = 60 * SECOND_NS
"""A request that has been arriving for this long is ended when another slow one needs its place."""


class Source(Protocol):
    """A call as gRPC has it: `read` returns the next message, or `EOF`."""

    async def read(self) -> Any: ...


class Receiving:
    """The places of a server for requests that are being received."""

    def __init__(self) -> None:
        self._free = ARRIVING_MAX
        self._arriving: dict[asyncio.Timeout, float] = {}
        """Requests that are not slow yet, in order, and when each began to arrive."""
        self._slow: dict[asyncio.Timeout, float] = {}
        self._has_place: set[asyncio.Timeout] = set()
        """The calls that release a place when their request has arrived."""
        self._waiting: dict[asyncio.Future[None], float] = {}
        """The turns of calls without a place, in order, and when each began to wait."""
        self._refused_s = -math.inf
        """When the last slow request was refused."""
        self._sweep: asyncio.Task[None] | None = None

    async def read(self, source: Source) -> bytes:
        """The request of a call.

        Raises:
            ResourceExhausted: It arrives slowly, and so do too many others.
            InvalidArgument: The call ended without a request.
        """
        message = await self.next(source)
        if message is None:
            raise InvalidArgument("The call has no request.")
        return message

    async def next(self, source: Source) -> bytes | None:
        """The next message of a call; None at its end.

        Raises:
            ResourceExhausted: It arrives slowly, and so do too many others.
        """
        if self._free:
            self._free -= 1
        else:
            await self._turn()
        place = asyncio.timeout(None)
        self._has_place.add(place)
        try:
            async with place:
                self._arriving[place] = asyncio.get_running_loop().time()
                message = await source.read()
        except TimeoutError:
            raise resource_exhausted(
                "The request arrives too slowly, and so do too many others; try again.",
                enums.ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_SYSTEM_OVERLOADED,
            ) from None
        finally:
            self._arriving.pop(place, None)
            self._slow.pop(place, None)
            if place in self._has_place:
                self._has_place.discard(place)
                self._pass_on()
        return None if message is EOF else message

    async def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting[turn] = loop.time()
        if self._sweep is None or self._sweep.done():
            self._sweep = loop.create_task(self._make_room())
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            raise
        finally:
            self._waiting.pop(turn, None)

    def _pass_on(self) -> None:
        """Give a place to the call that came last: those before it may be many that send nothing."""
        while self._waiting:
            turn, _ = self._waiting.popitem()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    async def _make_room(self) -> None:
        """While calls wait, move what arrives slowly out of their way."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            # Without an entry, the places were given away a moment ago.
            place, since_s = next(iter(self._arriving.items()), (None, loop.time()))
            left_s = since_s + SLOW_NS / SECOND_NS - loop.time()
            if place is None or left_s > 0:
                await asyncio.sleep(max(left_s, 0.01))
                continue
            if len(self._slow) < SLOW_MAX or self._end_slowest(loop.time()):
                self._slow[place] = since_s
            elif (left_s := self._patience_s(loop.time())) > 0:
                # Until then, more calls may come, or this request may arrive.
                await asyncio.sleep(min(max(left_s, 0.01), SLOW_NS / SECOND_NS))
                continue
            else:
                self._refused_s = loop.time()
                place.reschedule(loop.time())
            del self._arriving[place]
            self._has_place.discard(place)
            self._pass_on()

    def _patience_s(self, now_s: float) -> float:
        """How much longer the waiting calls wait before a slow request is refused to make room."""
        waits = [since_s for turn, since_s in self._waiting.items() if not turn.done()]
        if len(waits) > WAITING_MAX:
            return 0
        return max((self._refused_s, *waits[:1])) + PATIENCE_NS / SECOND_NS - now_s

    def _end_slowest(self, now_s: float) -> bool:
        """End the slow request that began first, if that was long ago."""
        place, since_s = next(iter(self._slow.items()))
        if now_s - since_s < SLOWEST_NS / SECOND_NS:
            return False
        place.reschedule(now_s)
        del self._slow[place]
        return True
