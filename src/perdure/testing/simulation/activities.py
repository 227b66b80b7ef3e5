"""Activities in the simulation: recorded, delayed, made to fail, or executed without an answer."""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from perdure import activity
from perdure.core.units import SECOND_NS
from perdure.exceptions import ApplicationError
from perdure.testing.simulation import faults as f
from perdure.testing.simulation.loop import Impossible
from perdure.testing.simulation.outcome import Execution
from perdure.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from datetime import timedelta

    from perdure.testing.simulation.loop import Process


F = TypeVar("F", bound=f.Fault)


class Universe(Protocol):
    """The simulated world as activities see it (`world.Universe`)."""

    def began(self, name: str, args: Sequence[Any], attempt: int, timeout_ns: int) -> Execution:
        """An execution begins."""
        ...

    def faults_of(self, record: Execution, kind: type[F]) -> list[F]:
        """The faults of this kind that concern this execution."""
        ...

    def note(self, what: f.Fault | str) -> None:
        """Note that something happened."""
        ...

    async def pause(self, length_ns: int) -> None:
        """An attempt waits because of a fault."""
        ...

    def executing(self, process: Process) -> AbstractContextManager[None]:
        """The user's function runs: test time is not skipped."""
        ...

    def kill_worker(self, down_ns: int) -> None:
        """Kill the worker process. Another one starts after `down_ns` of test time."""
        ...

    def break_off(self, error: BaseException) -> None:
        """Report an error of the test, not of the workflow."""
        ...


class NoThreads(ThreadPoolExecutor):
    """For the registration of sync activities. The interceptor calls them itself, so nothing is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        raise AssertionError(f"the simulation has no threads, {fn} wants one")


class SimulatedActivities(Interceptor):
    """Wraps all activities of one worker process."""

    def __init__(self, universe: Universe, process: Process) -> None:
        self._universe = universe
        self._process = process

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Inbound(next, self._universe, self._process)


class _Inbound(ActivityInboundInterceptor):
    def __init__(
        self, following: ActivityInboundInterceptor, universe: Universe, process: Process
    ) -> None:
        super().__init__(following)
        self._universe = universe
        self._process = process

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        universe = self._universe
        info = activity.info()
        record = universe.began(info.activity_type, input.args, info.attempt, timeout_ns(info))
        for fault in universe.faults_of(record, f.ActivityFails):
            universe.note(fault)
            raise ApplicationError("injected by the simulation", type="Injected")
        for fault in universe.faults_of(record, f.ActivityLate):
            universe.note(fault)
            await universe.pause(fault.delay_ns)
        with universe.executing(self._process):
            await self._call(input, record)
        if deaths := universe.faults_of(record, f.DiesAfterExecuting):
            universe.note(deaths[0])
            universe.kill_worker(SECOND_NS)
            await _for_ever()
        for fault in universe.faults_of(record, f.AnswerLate):
            universe.note(fault)
            await universe.pause(fault.delay_ns)
        record.is_known = True
        if record.error is not None:
            raise record.error
        return record.result

    async def _call(self, input: ExecuteActivityInput, record: Execution) -> None:
        call = getattr(input.fn, "__call__", None)  # noqa: B004 - objects with an async __call__
        try:
            if inspect.iscoroutinefunction(input.fn) or inspect.iscoroutinefunction(call):
                record.result = await self.next.execute_activity(input)
            else:
                record.result = input.fn(*input.args)
        except Impossible as error:
            self._universe.break_off(error)
            record.error = error
        except Exception as error:  # noqa: BLE001 - raised again when the answer may be known
            record.error = error


async def _for_ever() -> None:
    await asyncio.Event().wait()


def timeout_ns(info: activity.Info) -> int:
    """How long an attempt may take, in nanoseconds; 0 for no limit."""
    timeouts: list[timedelta] = [
        each
        for each in (info.start_to_close_timeout, info.schedule_to_close_timeout)
        if each is not None
    ]
    return min((int(each.total_seconds() * SECOND_NS) for each in timeouts), default=0)
