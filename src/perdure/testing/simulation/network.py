"""The network: the seam on virtual time, with everything that a network may do to a call.

A call may be late, lost before it arrives, lost on its way back after it was executed, or executed twice. A lost call
ends as Unavailable, or stays open until the caller's deadline. Messages are copied, as on a wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from perdure.core.units import SECOND_NS
from perdure.testing.simulation.loop import Process
from perdure.wire import errors

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from perdure.wire.seam import InlineWorkers, Method

Dispatch = Callable[
    ["Method", "Message", Mapping[str, str | bytes], int | None], Awaitable["Message"]
]


@dataclass
class NetworkFaults:
    """Probabilities per call. The world changes them while it runs."""

    delay_max_s: float = 0.005
    late_chance: float = 0.02
    late_s: float = 1.5
    lose_request: float = 0.02
    lose_response: float = 0.02
    repeat: float = 0.01
    impatient: float = 0.03
    """The caller cancels the call while it is in progress."""
    partitioned: bool = False

    @staticmethod
    def none() -> NetworkFaults:
        return NetworkFaults(0.001, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


class Endpoint:
    """Where calls arrive; `process` is None while the node is down."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._dispatch: Dispatch | None = None
        self._open: dict[asyncio.Future[Message], asyncio.Task[None]] = {}
        self._callers: dict[asyncio.Future[Message], str] = {}
        self.cancelled_by_others: list[str] = []
        """Calls that ended as cancelled although their callers are still waiting."""

    @property
    def is_up(self) -> bool:
        return self._process is not None

    def up(self, process: Process, dispatch: Dispatch) -> None:
        self._process, self._dispatch = process, dispatch

    def down(self) -> None:
        """The process has died: callers see their connections reset."""
        self._process = self._dispatch = None
        for reply in list(self._open):
            if not reply.done():
                reply.set_exception(errors.Unavailable("connection reset"))
        self._open.clear()

    def start(
        self,
        method: Method,
        request: Message,
        metadata: Mapping[str, str | bytes],
        timeout_ns: int | None,
        caller: str = "",
    ) -> asyncio.Future[Message]:
        """Run the call in the node's process; the future belongs to the network and outlives the node."""
        process, dispatch = self._process, self._dispatch
        if process is None or dispatch is None:
            raise errors.Unavailable("connection refused")
        copy = method.request_type()
        copy.CopyFrom(request)
        reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        async def execute() -> None:
            try:
                response = await dispatch(method, copy, metadata, timeout_ns)
            except asyncio.CancelledError:
                if reply in self._open:
                    self.cancelled_by_others.append(method.name)
                raise
            except Exception as error:  # noqa: BLE001 - every error is returned to the caller
                if not reply.done():
                    reply.set_exception(error)
            else:
                answer = method.response_type()
                answer.CopyFrom(response)
                if not reply.done():
                    reply.set_result(answer)

        task = process.spawn(execute(), method.name)
        self._open[reply] = task
        self._callers[reply] = caller
        reply.add_done_callback(self._settled)
        return reply

    def _settled(self, reply: asyncio.Future[Message]) -> None:
        self._open.pop(reply, None)
        self._callers.pop(reply, None)
        if not reply.cancelled():
            reply.exception()  # retrieved here, because the caller may be a killed process

    def reset(self, caller: str) -> None:
        """The caller's process was killed: its connection and its calls break."""
        for reply in [reply for reply, name in self._callers.items() if name == caller]:
            self.withdraw(reply)

    def withdraw(self, reply: asyncio.Future[Message]) -> None:
        """The caller has gone: cancel the call, as a broken stream does."""
        task = self._open.pop(reply, None)
        self._callers.pop(reply, None)
        if task is not None:
            task.cancel()


class SimConnection:
    """One client's way to an endpoint. Implements the seam."""

    polls_are_free = False

    def __init__(
        self, endpoint: Endpoint, faults: NetworkFaults, random: Random, name: str
    ) -> None:
        self.inline_workers: InlineWorkers | None = None
        """Set if client and engine are in the same process."""
        self._endpoint = endpoint
        self._faults = faults
        self._random = random
        self._name = name
        self._closed = False

    async def call(
        self,
        method: Method,
        request: Message,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout_ns: int | None = None,
    ) -> Message:
        timeout_s = (timeout_ns or 60 * SECOND_NS) / SECOND_NS
        try:
            async with asyncio.timeout(timeout_s):
                return await self._call(method, request, metadata or {}, timeout_ns)
        except TimeoutError:
            raise errors.DeadlineExceeded(f"{method.name}: no answer in {timeout_s} s") from None

    async def _call(
        self,
        method: Method,
        request: Message,
        metadata: Mapping[str, str | bytes],
        timeout_ns: int | None,
    ) -> Message:
        faults, random = self._faults, self._random
        await asyncio.sleep(self._delay_s())
        if self._closed or faults.partitioned or random.random() < faults.lose_request:
            await self._lost()
        endpoint = self._endpoint
        if not method.name.startswith("Poll") and random.random() < faults.repeat:
            endpoint.start(method, request, metadata, timeout_ns, self._name)
            await asyncio.sleep(self._delay_s())
        reply = endpoint.start(method, request, metadata, timeout_ns, self._name)
        if random.random() < faults.impatient:
            await asyncio.sleep(0.01 * random.random())
            endpoint.withdraw(reply)
            raise errors.Unavailable("connection reset")
        try:
            response = await asyncio.shield(reply)
        except asyncio.CancelledError:
            endpoint.withdraw(reply)
            raise
        await asyncio.sleep(self._delay_s())
        if faults.partitioned or random.random() < faults.lose_response:
            await self._lost()
        return response

    async def _lost(self) -> None:
        if self._random.random() < 0.5:
            raise errors.Unavailable("connection reset")
        await asyncio.sleep(3_600)

    def _delay_s(self) -> float:
        faults = self._faults
        if faults.late_chance and self._random.random() < faults.late_chance:
            return faults.late_s * self._random.random()
        return faults.delay_max_s * self._random.random()

    async def close(self) -> None:
        self._closed = True
