"""Local activities of one run over a few slots, and two activities to run."""

from __future__ import annotations

import asyncio
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from perdure import activity
from perdure.core.units import SECOND_NS
from perdure.exceptions import ApplicationError
from perdure.replay.commands import ScheduleLocalActivity
from perdure.replay.jobs import Completed, Failed
from perdure.replay.local import LocalActivityRequest, LocalResult
from perdure.replay.task import RunInfo
from perdure.wire.api import enums
from perdure.worker.activity.local import LocalActivities, RunLocalActivities
from perdure.worker.polling.slots import Slots
from tests.unit.server.virtual import on_virtual_time as from_zero
from tests.unit.worker.harness import CONVERTER, Harness

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

RUN = RunInfo("ns", "w", "r", "Flow", "q")
NOW_NS = 1_000 * SECOND_NS
TO_START, TO_CLOSE, START_TO_CLOSE = (
    enums.TIMEOUT_TYPE_SCHEDULE_TO_START,
    enums.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE,
    enums.TIMEOUT_TYPE_START_TO_CLOSE,
)

P = ParamSpec("P")


def on_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """As the server's, but some time after the loop's own beginning: no worker starts at zero."""

    @wraps(test)
    async def later(*arguments: P.args, **options: P.kwargs) -> None:
        await asyncio.sleep(1_000)
        await test(*arguments, **options)

    return from_zero(later)


infos: list[activity.Info] = []
ends: list[str] = []


@activity.defn
async def flaky(failures: int) -> int:
    infos.append(activity.info())
    await asyncio.sleep(1)
    if activity.info().attempt <= failures:
        raise ApplicationError("not yet", type="NotYet")
    return activity.info().attempt


@activity.defn
async def held(seconds: float) -> str:
    infos.append(activity.info())
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        details = activity.cancellation_details()
        assert details is not None
        ends.append(
            "time-out"
            if details.timed_out
            else "request"
            if details.cancel_requested
            else "nothing"
        )
        raise
    return "let go"


@activity.defn
async def gives_up(seconds: float) -> None:
    infos.append(activity.info())
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        raise ApplicationError("gave up") from None


class World:
    """Local activities of one run over one slot."""

    def __init__(self, slots: int = 1, interceptors: Sequence[Any] = ()) -> None:
        self.slots = Slots(slots)
        self.tasks: list[asyncio.Task[Any]] = []
        activities = Harness(flaky, held, gives_up, interceptors=interceptors).activities
        self.worker = LocalActivities(activities, self.slots, self._spawn)
        self.run: RunLocalActivities = self.worker.of_run(RUN)
        self.results: dict[int, LocalResult] = {}
        self.ended_s: dict[int, float] = {}

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=name)
        self.tasks.append(task)
        return task

    async def schedule(
        self, seq: int, kind: str, *args: Any, now_ns: int = NOW_NS, **options: Any
    ) -> None:
        command = ScheduleLocalActivity(
            seq=seq,
            activity_type=kind,
            arguments=await CONVERTER.encode(args) if args else [],
            **options,
        )
        self.run.apply([LocalActivityRequest(command)], now_ns)

    async def until(self, *seqs: int) -> None:
        """Wait for these results; remembers when each one came, in seconds."""
        loop = asyncio.get_running_loop()
        while not set(seqs) <= set(self.results):
            await self.run.wait(10_000)
            for seq, result in self.run.take_results():
                self.results[seq] = result
                self.ended_s[seq] = loop.time()

    async def outcome(self, kind: str, *args: Any, **options: Any) -> LocalResult:
        await self.schedule(1, kind, *args, **options)
        await self.until(1)
        await asyncio.gather(*self.tasks, return_exceptions=True)
        assert self.slots.used == 0, "the slot is free again"
        assert self.run.is_idle
        return self.results[1]


def time_out(result: LocalResult) -> Any:
    assert isinstance(result.outcome, Failed)
    assert result.outcome.failure.message == "Activity timed out"
    return result.outcome.failure.timeout_failure_info.timeout_type


async def value(result: LocalResult) -> Any:
    assert isinstance(result.outcome, Completed), result.outcome
    assert result.outcome.result is not None
    return (await CONVERTER.decode([result.outcome.result]))[0]


async def began_s() -> float:
    return asyncio.get_running_loop().time()
