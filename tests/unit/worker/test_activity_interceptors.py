"""Two interceptors around activities: the order, what each sees, and what they change; for local activities as well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.client import Client
from perdure.common import RetryPolicy
from perdure.exceptions import ApplicationError
from perdure.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    Worker,
)

SHORT = timedelta(seconds=20)
AT_ONCE = RetryPolicy(maximum_attempts=2, initial_interval=timedelta(milliseconds=1))

log: list[tuple[str, str, Any]]


@pytest.fixture(autouse=True)
def empty_log() -> None:
    global log  # noqa: PLW0603 - activities are plain functions
    log = []


class Outbound(ActivityOutboundInterceptor):
    def __init__(self, next: ActivityOutboundInterceptor, name: str) -> None:
        super().__init__(next)
        self.name = name

    def info(self) -> activity.Info:
        info = super().info()
        return replace(info, activity_type=f"{info.activity_type} {self.name}")

    def heartbeat(self, *details: Any) -> None:
        log.append((self.name, "heartbeat", list(details)))
        super().heartbeat(*details, self.name)


class Inbound(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, name: str) -> None:
        super().__init__(next)
        self.name = name

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        log.append((self.name, "init", None))
        super().init(Outbound(outbound, self.name))

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        log.append((self.name, "execute", list(input.args)))
        input.args = [f"{input.args[0]} {self.name}"]
        return f"{await super().execute_activity(input)} {self.name}"


class Named(Interceptor):
    def __init__(self, name: str) -> None:
        self.name = name

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        # One that overrides nothing stands in between.
        return Inbound(ActivityInboundInterceptor(super().intercept_activity(next)), self.name)


@activity.defn
async def work(text: str) -> str:
    assert activity.info().activity_type == "work outer inner"
    activity.heartbeat("beat")
    if activity.info().attempt == 1 and not activity.info().is_local:
        # The heartbeat travels with the failure, if it was not sent before.
        raise ApplicationError("once more")
    return f"{text} {list(activity.info().heartbeat_details)}"


@activity.defn
def work_in_a_thread(text: str) -> str:
    activity.heartbeat("beat")
    return f"{text}|{activity.info().activity_type}"


@workflow.defn
class Calls:
    @workflow.run
    async def run(self, name: str, local: bool) -> str:
        execute = workflow.execute_local_activity if local else workflow.execute_activity
        return await execute(
            name, "x", start_to_close_timeout=SHORT, retry_policy=AT_ONCE, result_type=str
        )


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    with ThreadPoolExecutor(1) as executor:
        async with (
            await Client.connect("memory:") as connected,
            Worker(
                connected,
                task_queue="q",
                workflows=[Calls],
                activities=[work, work_in_a_thread],
                activity_executor=executor,
                interceptors=[Named("outer"), Named("inner")],
            ),
        ):
            yield connected


async def run(client: Client, name: str, *, local: bool = False) -> str:
    async with asyncio.timeout(60):
        return await client.execute_workflow(Calls.run, args=[name, local], id="w", task_queue="q")


ONE_ATTEMPT = [
    ("outer", "init", None),
    ("inner", "init", None),
    ("outer", "execute", ["x"]),
    ("inner", "execute", ["x outer"]),
    # Each wraps the outbound interceptor that it is given: on the way out the later one comes first.
    ("inner", "heartbeat", ["beat"]),
    ("outer", "heartbeat", ["beat", "inner"]),
]


async def test_both_wrap_each_attempt(client: Client) -> None:
    assert await run(client, "work") == "x outer inner ['beat', 'inner', 'outer'] inner outer"
    assert log == ONE_ATTEMPT * 2


async def test_both_wrap_activities_in_threads(client: Client) -> None:
    assert await run(client, "work_in_a_thread") == (
        "x outer inner|work_in_a_thread outer inner inner outer"
    )
    assert log == ONE_ATTEMPT


async def test_both_wrap_local_activities(client: Client) -> None:
    assert await run(client, "work", local=True) == "x outer inner [] inner outer"
    assert log == ONE_ATTEMPT


class Seeing(Interceptor):
    """Keeps the inputs."""

    def __init__(self) -> None:
        self.inputs: list[ExecuteActivityInput] = []

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        inputs = self.inputs

        class Keeping(ActivityInboundInterceptor):
            async def execute_activity(self, input: ExecuteActivityInput) -> Any:
                inputs.append(input)
                return await super().execute_activity(input)

        return Keeping(next)


@activity.defn
async def on_the_loop(text: str) -> str:
    return text


@pytest.mark.parametrize("fn", [on_the_loop, work_in_a_thread])
async def test_the_input_says_what_runs_and_where(fn: Any) -> None:
    seeing = Seeing()
    with ThreadPoolExecutor(1) as executor:
        async with (
            await Client.connect("memory:") as client,
            Worker(
                client,
                task_queue="q",
                workflows=[Calls],
                activities=[fn],
                activity_executor=executor,
                interceptors=[seeing],
            ),
        ):
            await run(client, fn.__name__)
    (given,) = seeing.inputs
    where: Executor | None = None if fn is on_the_loop else executor
    assert (given.fn, given.args, given.executor) == (fn, ["x"], where)
    assert dict(given.headers) == {}
