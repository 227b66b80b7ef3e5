"""Any error, at any place where an activity's code is called, costs that attempt and nothing else."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.common import RawValue, RetryPolicy
from perdure.converter import DataConverter
from perdure.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)
from tests.unit.worker.escapes import Failure, blow, every_kind, reported, worker
from tests.unit.worker.test_escapes_converters import Trap, Trapped

_ONCE = RetryPolicy(maximum_attempts=1)
_LONG = timedelta(seconds=60)


class Awaited:
    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __await__(self) -> Generator[Any, None, None]:
        yield from asyncio.sleep(0).__await__()
        blow(self._kind)


@dataclasses.dataclass
class Checked:
    kind: str

    def __post_init__(self) -> None:
        blow(self.kind)


@activity.defn
async def in_coroutine(kind: str) -> None:
    await asyncio.sleep(0)
    blow(kind)


@activity.defn
async def at_once(kind: str) -> None:
    blow(kind)


@activity.defn
async def in_awaitable(kind: str) -> None:
    await Awaited(kind)


@activity.defn
def in_thread(kind: str) -> None:
    blow(kind)


@activity.defn
async def in_argument(given: Checked) -> None: ...


@activity.defn
async def harmless(kind: str) -> None:
    activity.heartbeat(1)


@activity.defn(dynamic=True)
async def dynamic(args: Sequence[RawValue]) -> None:
    blow(activity.payload_converter().from_payload(args[0].payload, str))


@activity.defn(name="in_object")
class CallableObject:
    async def __call__(self, kind: str) -> None:
        blow(kind)


@workflow.defn
class Calling:
    @workflow.run
    async def run(self, name: str, given: Any, local: bool) -> None:
        if local:
            await workflow.execute_local_activity(
                name, given, start_to_close_timeout=_LONG, retry_policy=_ONCE
            )
        else:
            await workflow.execute_activity(
                name, given, start_to_close_timeout=_LONG, retry_policy=_ONCE
            )


_ALL: list[Callable[..., Any]] = [
    in_coroutine, at_once, in_awaitable, in_thread, in_argument, harmless, dynamic, CallableObject(),
]  # fmt: skip


@pytest.mark.parametrize("local", [False, True], ids=["normal", "local"])
@pytest.mark.parametrize(
    "name",
    [
        "in_coroutine", "at_once", "in_awaitable", "in_thread", "in_argument", "unknown", "in_object",
    ],
)  # fmt: skip
async def test_functions(name: str, local: bool):
    with ThreadPoolExecutor(2) as executor:
        async with worker([Calling], activities=_ALL, activity_executor=executor) as world:

            async def check(kind: str) -> Failure:
                given = {"kind": kind} if name == "in_argument" else kind
                return await reported(await world.start(Calling.run, name, given, local, id=kind))

            await every_kind(check)


class _Outbound(ActivityOutboundInterceptor):
    def __init__(self, next: ActivityOutboundInterceptor, place: str) -> None:
        super().__init__(next)
        self._place = place

    def heartbeat(self, *details: Any) -> None:
        if self._place == "heartbeat":
            blow(activity.info().workflow_id or "")
        super().heartbeat(*details)


class _Inbound(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, place: str) -> None:
        super().__init__(next)
        self._place = place

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        if self._place == "init":
            blow(activity.info().workflow_id or "")
        super().init(_Outbound(outbound, self._place))

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        if self._place == "execute_activity":
            blow(input.args[0])
        return await super().execute_activity(input)


class Intercepting(Interceptor):
    def __init__(self, place: str) -> None:
        self._place = place

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        if self._place == "intercept_activity":
            blow(activity.info().workflow_id or "")
        return _Inbound(next, self._place)


@pytest.mark.parametrize("local", [False, True], ids=["normal", "local"])
@pytest.mark.parametrize("place", ["intercept_activity", "init", "execute_activity", "heartbeat"])
async def test_interceptors(place: str, local: bool):
    given = [Intercepting(place)]
    async with worker([Calling], activities=[harmless], interceptors=given) as world:

        async def check(kind: str) -> Failure:
            handle = await world.start(Calling.run, "harmless", kind, local, id=kind)
            return await reported(handle)

        await every_kind(check)


async def test_details_of_heartbeats():
    @activity.defn
    async def beating(kind: str) -> None:
        activity.heartbeat(Trap("write", kind))
        await asyncio.sleep(60)

    converter = DataConverter(payload_converter_class=Trapped)
    async with worker([Calling], activities=[beating], converter=converter) as world:

        async def check(kind: str) -> Failure:
            return await reported(await world.start(Calling.run, "beating", kind, False, id=kind))

        await every_kind(check)
