"""TestService: the RPCs of a server that skips time, and the table of such a server.

Not here: when time is skipped (`time_skipping.skipping`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.core.limits import DURATION_MAX_NS
from perdure.core.units import MINUTE_NS, later_ns
from perdure.server.frontend.rpcs import RPCS, Access, Routing, Rpc
from perdure.wire.api import testservice
from perdure.wire.errors import InvalidArgument
from perdure.wire.seam import TEST_SERVICE
from perdure.wire.times import duration_ns, timestamp, timestamp_ns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.empty_pb2 import Empty
    from google.protobuf.message import Message

    from perdure.server.frontend.call import Call
    from perdure.server.frontend.rpcs import Handler
    from perdure.server.frontend.services import Services
    from perdure.server.time_skipping.skipping import TimeSkipping


def table(time: TimeSkipping) -> Mapping[str, Rpc]:
    """All RPCs of a node whose clock is controlled by `time`."""
    rows = {path: _watched(rpc, time) for path, rpc in RPCS.items()}
    service = _TestService(time)
    handlers: dict[str, Handler] = {
        "LockTimeSkipping": service.lock,
        "UnlockTimeSkipping": service.unlock,
        "Sleep": service.sleep,
        "SleepUntil": service.sleep_until,
        "UnlockTimeSkippingWithSleep": service.unlock_with_sleep,
        "GetCurrentTime": service.current_time,
    }
    for name, handler in handlers.items():
        method = TEST_SERVICE[name]
        rows[method.path] = Rpc(method, Access.ADMIN, Routing.ANY, handler, 10 * MINUTE_NS)
    return rows


def _watched(rpc: Rpc, time: TimeSkipping) -> Rpc:
    """After each answer, give a caller that is not a worker a moment to continue before time is skipped."""
    if rpc.access is Access.WORK:
        return rpc
    handler = rpc.handler

    async def answer(services: Any, call: Any, request: Any) -> Message | bytes:
        with time.answering():
            return await handler(services, call, request)

    return rpc._replace(handler=answer)


class _TestService:
    """The handlers of TestService, called like those of the frontend."""

    def __init__(self, time: TimeSkipping) -> None:
        self._time = time

    async def lock(
        self, services: Services, call: Call, request: testservice.LockTimeSkippingRequest
    ) -> testservice.LockTimeSkippingResponse:
        self._time.lock()
        return testservice.LockTimeSkippingResponse()

    async def unlock(
        self, services: Services, call: Call, request: testservice.UnlockTimeSkippingRequest
    ) -> testservice.UnlockTimeSkippingResponse:
        self._time.unlock()
        return testservice.UnlockTimeSkippingResponse()

    async def sleep(
        self, services: Services, call: Call, request: testservice.SleepRequest
    ) -> testservice.SleepResponse:
        await self._time.sleep_until(self._after(request))
        return testservice.SleepResponse()

    async def sleep_until(
        self, services: Services, call: Call, request: testservice.SleepUntilRequest
    ) -> testservice.SleepResponse:
        await self._time.sleep_until(timestamp_ns(request.timestamp))
        return testservice.SleepResponse()

    async def unlock_with_sleep(
        self, services: Services, call: Call, request: testservice.SleepRequest
    ) -> testservice.SleepResponse:
        await self._time.sleep_until(self._after(request), is_unlocked=True)
        return testservice.SleepResponse()

    async def current_time(
        self, services: Services, call: Call, request: Empty
    ) -> testservice.GetCurrentTimeResponse:
        return testservice.GetCurrentTimeResponse(time=timestamp(self._time.clock.now_ns()))

    def _after(self, request: testservice.SleepRequest) -> int:
        length_ns = duration_ns(request.duration)
        if length_ns < 0:
            raise InvalidArgument("Duration must not be negative.")
        return later_ns(self._time.clock.now_ns(), min(length_ns, DURATION_MAX_NS))
