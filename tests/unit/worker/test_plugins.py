"""Plugins of workers and replayers: they change parameters, wrap the run, and come with the client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import pytest
from typing_extensions import override

from perdure import activity, workflow
from perdure import client as clients
from perdure.client import Client, ClientConfig, WorkflowHistory
from perdure.service import ConnectConfig, ServiceClient
from perdure.worker import (
    Plugin,
    Replayer,
    ReplayerConfig,
    Worker,
    WorkerConfig,
    WorkflowReplayResult,
)


@activity.defn
async def price() -> int:
    return 7


@workflow.defn
class Order:
    @workflow.run
    async def run(self) -> int:
        return await workflow.execute_activity(
            price, schedule_to_close_timeout=timedelta(minutes=1)
        )


class Adds(Plugin):
    """Brings the workflow and the activity, and says what happened."""

    def __init__(self, label: str, seen: list[str]) -> None:
        self.label = label
        self.seen = seen

    @override
    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        self.seen.append(f"{self.label} configures {len(config['workflows'])}")
        config["workflows"] = [*config["workflows"], Order][:1]
        config["activities"] = [*config["activities"], price][:1]
        return config

    @override
    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        self.seen.append(f"{self.label} begins")
        await next(worker)
        self.seen.append(f"{self.label} ends")

    @override
    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        self.seen.append(f"{self.label} configures {len(config['workflows'])}")
        config["workflows"] = [*config["workflows"], Order][:1]
        return config

    @override
    def run_replayer(
        self,
        replayer: Replayer,
        histories: AsyncIterator[WorkflowHistory],
        next: Callable[
            [Replayer, AsyncIterator[WorkflowHistory]],
            AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]],
        ],
    ) -> AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]]:
        self.seen.append(f"{self.label} replays")
        return next(replayer, histories)


class AddsEverywhere(Adds, clients.Plugin):
    """The same for the clients whose workers are meant."""

    @override
    def configure_client(self, config: ClientConfig) -> ClientConfig:
        return config

    @override
    async def connect_service_client(
        self, config: ConnectConfig, next: Callable[[ConnectConfig], Awaitable[ServiceClient]]
    ) -> ServiceClient:
        return await next(config)


async def test_plugins_of_the_client_and_of_the_worker_configure_and_wrap_it() -> None:
    seen: list[str] = []
    outer, inner = AddsEverywhere("client's", seen), Adds("worker's", seen)
    async with await Client.connect("memory:", plugins=[outer]) as client:
        worker = Worker(client, task_queue="q", plugins=[inner])
        assert seen == ["client's configures 0", "worker's configures 1"]
        async with worker:
            assert await client.execute_workflow(Order.run, id="w", task_queue="q") == 7
        assert seen[2:] == ["client's begins", "worker's begins", "worker's ends", "client's ends"]


async def test_a_worker_shows_its_parameters_before_and_after_the_plugins() -> None:
    async with await Client.connect("memory:") as client:
        inner = Adds("worker's", [])
        worker = Worker(client, task_queue="q", plugins=[inner], max_cached_workflows=5)
        given, active = worker.config(), worker.config(active_config=True)
        assert (given["workflows"], active["workflows"]) == ((), [Order])
        assert given["plugins"] == [inner]
        assert (given["max_cached_workflows"], active["max_cached_workflows"]) == (5, 5)
        given["max_cached_workflows"] = 6
        assert worker.config()["max_cached_workflows"] == 5
        again = Worker(**worker.config())
        assert again.config(active_config=True)["workflows"] == [Order]


async def test_a_plugin_that_would_be_applied_twice_is_reported() -> None:
    plugin = AddsEverywhere("both", [])
    async with await Client.connect("memory:", plugins=[plugin]) as client:
        with pytest.warns(UserWarning, match="AddsEverywhere is on the client and on the worker"):
            Worker(client, task_queue="q", plugins=[plugin])


async def test_a_plugin_that_fails_while_the_worker_runs_ends_it() -> None:
    class Fails(Adds):
        @override
        async def run_worker(
            self, worker: Worker, next: Callable[[Worker], Awaitable[None]]
        ) -> None:
            raise LookupError("no tracer")

    async with await Client.connect("memory:") as client:
        worker = Worker(client, task_queue="q", plugins=[Fails("f", [])])
        with pytest.raises(LookupError, match="no tracer"):
            await worker.run()
        assert worker.is_shutdown


def _nothing(config: Any) -> Any:
    del config


def _one_more(config: Any) -> Any:
    return config | {"max_nexus": 1}


def _one_less(config: Any) -> Any:
    del config["workflows"]
    return config


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (_nothing, "must return the configuration, not NoneType"),
        (_one_more, "set 'max_nexus', which is not a parameter here"),
        (_one_less, "removed 'workflows' from the configuration"),
    ],
)
async def test_a_plugin_that_breaks_the_configuration_is_named(
    broken: Callable[[Any], Any], message: str
) -> None:
    class Breaks(Adds):
        @override
        def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
            return broken(config)

        @override
        def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
            return broken(config)

    plugin = Breaks("b", [])
    async with await Client.connect("memory:") as client:
        with pytest.raises(TypeError, match=message) as worker_error:
            Worker(client, task_queue="q", plugins=[plugin])
    with pytest.raises(TypeError, match=message):
        Replayer(workflows=[Order], plugins=[plugin])
    assert "Breaks" in str(worker_error.value)


async def test_plugins_configure_and_wrap_replayers() -> None:
    seen: list[str] = []
    async with await Client.connect("memory:") as client:
        async with Worker(client, task_queue="q", workflows=[Order], activities=[price]):
            await client.execute_workflow(Order.run, id="w", task_queue="q")
        history = await client.get_workflow_handle("w").fetch_history()
    replayer = Replayer(workflows=[], plugins=[Adds("one", seen), Adds("two", seen)])
    assert replayer.config()["workflows"] == []
    assert replayer.config(active_config=True)["workflows"] == [Order]
    assert (await replayer.replay_workflow(history)).replay_failure is None
    assert seen == ["one configures 0", "two configures 1", "one replays", "two replays"]


async def test_a_replayer_whose_plugin_swallows_the_history_says_so() -> None:
    class Swallows(Adds):
        @override
        def run_replayer(
            self,
            replayer: Replayer,
            histories: AsyncIterator[WorkflowHistory],
            next: Callable[
                [Replayer, AsyncIterator[WorkflowHistory]],
                AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]],
            ],
        ) -> AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]]:
            async def none() -> AsyncIterator[WorkflowHistory]:
                return
                yield

            return next(replayer, none())

    replayer = Replayer(workflows=[Order], plugins=[Swallows("s", [])])
    with pytest.raises(RuntimeError, match="run_replayer gave no result"):
        await replayer.replay_workflow(WorkflowHistory("w", []))
