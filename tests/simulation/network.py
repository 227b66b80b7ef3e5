"""The network: the seam on virtual time, with everything a network may do to a call.

A call may be late, lost before it arrives, lost on its way back (it was executed!), or executed twice. What is lost surfaces
as Unavailable or not at all until the caller's deadline. The messages are copied, as a wire would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from perdure.core.units import SECOND_NS
from perdure.wire import errors

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from perdure.wire.seam import Method

Dispatch = Callable[["Method", "Message", Mapping[str, str | bytes], int | None], Awaitable["Message"]]


@dataclass
class NetworkFaults:
    """Chances per call; changed by the world while it runs."""

    delay_max_s: float = 0.005
    late_chance: float = 0.02
    late_s: float = 1.5
    lose_request: float = 0.02
    lose_response: float = 0.02
    repeat: float = 0.01
    partitioned: bool = False

    @staticmethod
    def none() -> NetworkFaults:
        return NetworkFaults(0.001, 0.0, 0.0, 0.0, 0.0, 0.0)


class Endpoint:
    """Where calls arrive; `dispatch` is None while the node is down."""

    def __init__(self) -> None:
        self.dispatch: Dispatch | None = None
        self.running: set[asyncio.Task[Message]] = set()

    def crash(self) -> None:
        """The process is gone: nothing is answered, calls under way end with it."""
        self.dispatch = None
        for task in list(self.running):
            task.cancel()


class SimConnection:
    """One client's way to an endpoint. Implements the seam."""

    def __init__(self, endpoint: Endpoint, faults: NetworkFaults, random: Random, name: str) -> None:
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
        dispatch = self._endpoint.dispatch
        if dispatch is None:
            raise errors.Unavailable("connection refused")
        if not method.name.startswith("Poll") and random.random() < faults.repeat:
            self._start(dispatch, method, request, metadata, timeout_ns)
            await asyncio.sleep(self._delay_s())
        response = await self._execute(dispatch, method, request, metadata, timeout_ns)
        await asyncio.sleep(self._delay_s())
        if faults.partitioned or random.random() < faults.lose_response:
            await self._lost()
        return response

    def _start(
        self,
        dispatch: Dispatch,
        method: Method,
        request: Message,
        metadata: Mapping[str, str | bytes],
        timeout_ns: int | None,
    ) -> asyncio.Task[Message]:
        copy = method.request_type()
        copy.CopyFrom(request)

        async def execute() -> Message:
            response = await dispatch(method, copy, metadata, timeout_ns)
            answer = method.response_type()
            answer.CopyFrom(response)
            return answer

        task = asyncio.create_task(execute(), name=f"{self._name} {method.name}")
        self._endpoint.running.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Message]) -> None:
        self._endpoint.running.discard(task)
        if not task.cancelled():
            task.exception()  # seen: a repeated call's error has nobody to tell

    async def _execute(
        self,
        dispatch: Dispatch,
        method: Method,
        request: Message,
        metadata: Mapping[str, str | bytes],
        timeout_ns: int | None,
    ) -> Message:
        task = self._start(dispatch, method, request, metadata, timeout_ns)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                # The node died under the call.
                raise errors.Unavailable("connection reset") from None
            # The caller left: withdraw, like a cancelled RPC does.
            task.cancel()
            raise

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
