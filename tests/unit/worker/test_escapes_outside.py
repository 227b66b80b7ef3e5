"""Any error of a plugin reaches who has made or runs the worker; one of a meter costs the task that records.

Nothing is left behind: another worker of the same client works.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.client import Client, WorkflowHistory
from perdure.common import MetricCounter, MetricMeter, RetryPolicy, metrics
from perdure.worker import (
    Plugin,
    Replayer,
    ReplayerConfig,
    Worker,
    WorkerConfig,
    WorkflowReplayResult,
)
from tests.unit.worker.escapes import (
    ALL,
    CANCELLATIONS,
    Failure,
    Other,
    blow,
    every_kind,
    names,
    reported,
    worker,
)

pytestmark = pytest.mark.usefixtures("execution")


class Exploding(Plugin):
    """Raises at one place."""

    def __init__(self, place: str, kind: str) -> None:
        self._place = place
        self._kind = kind

    def _blow(self, place: str) -> None:
        if place == self._place:
            blow(self._kind)

    def name(self) -> str:
        self._blow("name")
        return "exploding"

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        self._blow("configure_worker")
        return config

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        self._blow("before the run")
        await next(worker)
        self._blow("after the run")

    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        self._blow("configure_replayer")
        return config

    def run_replayer(
        self,
        replayer: Replayer,
        histories: AsyncIterator[WorkflowHistory],
        next: Callable[
            [Replayer, AsyncIterator[WorkflowHistory]],
            AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]],
        ],
    ) -> AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]]:
        self._blow("run_replayer")
        return next(replayer, histories)


class AtOnce(Exploding):
    """Its `run_worker` is no coroutine function: it raises when it is called."""

    def run_worker(  # type: ignore[override]
        self, worker: Worker, next: Callable[[Worker], Awaitable[None]]
    ) -> Awaitable[None]:
        self._blow("at once")
        return next(worker)


async def run(client: Client, plugin: Plugin) -> None:
    serving = Worker(client, task_queue="escapes", workflows=[Other], plugins=[plugin])
    running = asyncio.ensure_future(serving.shutdown())
    try:
        await serving.run()
    finally:
        await running
        assert not serving.is_running


def is_it(error: BaseException, kind: str) -> bool:
    return isinstance(error, type(ALL[kind]())) or names(Failure(message=repr(error)), kind)


@pytest.mark.parametrize(
    "place", ["configure_worker", "before the run", "after the run", "at once"]
)
async def test_plugins_of_workers(place: str):
    async with worker([]) as world:
        for kind in ALL:
            plugin = (AtOnce if place == "at once" else Exploding)(place, kind)
            with pytest.raises(BaseException) as caught:
                await run(world.client, plugin)
            assert is_it(caught.value, kind), (kind, caught.value)


@pytest.mark.parametrize("place", ["configure_replayer", "run_replayer"])
async def test_plugins_of_replayers(place: str):
    async with worker([]) as world:
        handle = await world.start(Other.run, id="replayed")
        await handle.result()
        history = await handle.fetch_history()
        for kind in ALL:
            with pytest.raises(BaseException) as caught:
                await Replayer(workflows=[Other], plugins=[Exploding(place, kind)]).replay_workflow(
                    history
                )
            assert is_it(caught.value, kind), (kind, caught.value)


@pytest.mark.parametrize("kind", [*CANCELLATIONS, "ValueError", "StopIteration", "Odd"])
async def test_a_block_does_not_outlive_a_worker_that_a_plugin_ends(kind: str):
    async with worker([]) as world:
        plugin = Exploding("before the run", kind)
        serving = Worker(world.client, task_queue="escapes", workflows=[Other], plugins=[plugin])
        with pytest.raises(BaseException) as caught:
            async with serving:
                await asyncio.sleep(60)
                raise AssertionError
        assert is_it(caught.value, kind), (kind, caught.value)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        assert serving.is_shutdown


# ── metrics ───────────────────────────────────────────────────────────────────────────────────────


class _Counter(metrics._NoopCounter):
    """Raises when something is added."""

    place = ""

    def add(self, value: int, additional_attributes: Any = None) -> None:
        if self.place == "add":
            blow(additional_attributes["kind"])


class _Meter(metrics._NoopMeter):
    """A meter that raises at one place; the kind is the description of the instrument."""

    def __init__(self, place: str) -> None:
        self._place = place

    def create_counter(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricCounter:
        if self._place == "create":
            blow(description or "")
        counter = _Counter(name, description, unit)
        counter.place = self._place
        return counter


@activity.defn
async def records(kind: str) -> None:
    activity.metric_meter().create_counter("c", kind).add(1, {"kind": kind})


@workflow.defn
class Records:
    @workflow.run
    async def run(self, kind: str, where: str) -> None:
        if where == "workflow":
            workflow.metric_meter().create_counter("c", kind).add(1, {"kind": kind})
        options: dict[str, Any] = {
            "start_to_close_timeout": timedelta(seconds=60),
            "retry_policy": RetryPolicy(maximum_attempts=1),
        }
        if where == "local activity":
            await workflow.execute_local_activity(records, kind, **options)
        await workflow.execute_activity(records, kind, **options)


@pytest.mark.parametrize("where", ["workflow", "activity", "local activity"])
@pytest.mark.parametrize("place", ["create", "add"])
async def test_meters(place: str, where: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(MetricMeter, "noop", _Meter(place))  # what workers take
    async with worker([Records], activities=[records]) as world:

        async def check(kind: str) -> Failure:
            return await reported(await world.start(Records.run, kind, where, id=kind))

        await every_kind(check)
