"""Workflows for engines whose workers work inline: one for each kind of thing that a workflow task can hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta
from typing import ClassVar

from perdure import activity, workflow
from perdure.common import RetryPolicy
from perdure.exceptions import ApplicationError

SECONDS = timedelta(seconds=60)
MOMENT = timedelta(milliseconds=5)
ONCE = RetryPolicy(maximum_attempts=1)

tenant: ContextVar[str] = ContextVar("tenant", default="none")


@activity.defn
async def double(number: int) -> int:
    return 2 * number


@activity.defn
async def refuse() -> None:
    raise ApplicationError("no", non_retryable=True)


@workflow.defn
class Sequence:
    """Activities one after the other."""

    @workflow.run
    async def run(self, number: int) -> int:
        for _ in range(3):
            number = await workflow.execute_activity(double, number, start_to_close_timeout=SECONDS)
        return number


@workflow.defn
class Parallel:
    """Many activities at once."""

    @workflow.run
    async def run(self, number: int) -> int:
        results = await asyncio.gather(
            *(
                workflow.execute_activity(double, each, start_to_close_timeout=SECONDS)
                for each in range(number)
            )
        )
        return sum(results)


@workflow.defn
class Local:
    """Local activities between activities."""

    @workflow.run
    async def run(self, number: int) -> int:
        number = await workflow.execute_local_activity(
            double, number, start_to_close_timeout=SECONDS
        )
        number = await workflow.execute_activity(double, number, start_to_close_timeout=SECONDS)
        return await workflow.execute_local_activity(double, number, start_to_close_timeout=SECONDS)


@workflow.defn
class Sleeper:
    """Timers, one of them cancelled."""

    @workflow.run
    async def run(self, number: int) -> int:
        await workflow.sleep(MOMENT)
        late = asyncio.create_task(workflow.sleep(60))
        await workflow.sleep(MOMENT)
        late.cancel()
        return number


@workflow.defn
class Failing:
    """An activity that fails, and a workflow that fails for it."""

    @workflow.run
    async def run(self, _number: int) -> None:
        await workflow.execute_activity(refuse, start_to_close_timeout=SECONDS, retry_policy=ONCE)


@workflow.defn
class Parent:
    """Child workflows."""

    @workflow.run
    async def run(self, number: int) -> int:
        first = await workflow.execute_child_workflow(
            Sequence.run, number, id=f"{workflow.info().workflow_id}-child"
        )
        return first + 1


@workflow.defn
class Again:
    """Continues as new, several times, without waiting for anything."""

    @workflow.run
    async def run(self, number: int) -> int:
        if number:
            workflow.continue_as_new(number - 1)
        return 7


@workflow.defn
class Patched:
    """A patch, a search attribute, a memo, and no wait at all."""

    @workflow.run
    async def run(self, number: int) -> int:
        if workflow.patched("patch"):
            number += 1
        workflow.upsert_memo({"number": number})
        return number


@workflow.defn
class Waiting:
    """Signals, updates and queries."""

    def __init__(self) -> None:
        self.values: list[int] = []

    @workflow.run
    async def run(self, number: int) -> list[int]:
        await workflow.wait_condition(lambda: len(self.values) >= number)
        return self.values

    @workflow.signal
    def add(self, value: int) -> None:
        self.values.append(value)

    @workflow.update
    async def put(self, value: int) -> int:
        self.values.append(
            await workflow.execute_activity(double, value, start_to_close_timeout=SECONDS)
        )
        return len(self.values)

    @put.validator
    def _check(self, value: int) -> None:
        if value < 0:
            raise ValueError("negative")

    @workflow.query
    def seen(self) -> list[int]:
        return self.values


@workflow.defn
class Slow:
    """A local activity first: its task stays open for a while."""

    def __init__(self) -> None:
        self.ended = False

    @workflow.run
    async def run(self) -> int:
        result = await workflow.execute_local_activity(double, 1, start_to_close_timeout=SECONDS)
        self.ended = True
        return result

    @workflow.query
    def is_done(self) -> bool:
        return self.ended


@workflow.defn(sandboxed=False)
class Watching:
    """Returns what `looks` say when the result of its activity has come."""

    looks: ClassVar[list[Callable[[], int]]] = []

    @workflow.run
    async def run(self) -> int:
        await workflow.execute_activity(double, 1, start_to_close_timeout=SECONDS)
        return Watching.looks.pop()()


@activity.defn
async def held() -> int:
    """Completed from elsewhere."""
    Held.token = activity.info().task_token
    activity.raise_complete_async()


class Held:
    """The token of `held`."""

    token = b""


@workflow.defn(sandboxed=False)
class WatchingHeld:
    """Like `Watching`, for an activity that is completed from elsewhere."""

    @workflow.run
    async def run(self) -> int:
        await workflow.execute_activity(held, activity_id="held", start_to_close_timeout=SECONDS)
        return Watching.looks.pop()()


@activity.defn
async def tenant_now() -> str:
    return tenant.get()


@workflow.defn
class AskTenant:
    """What its activities see."""

    @workflow.run
    async def run(self) -> list[str]:
        return [
            await workflow.execute_activity(tenant_now, start_to_close_timeout=SECONDS)
            for _ in range(3)
        ]


@workflow.defn
class Tenant:
    """What it sees of its starter's variables: nothing."""

    @workflow.run
    async def run(self) -> str:
        tenant.set(f"{tenant.get()}+")
        return tenant.get()


class Broken:
    """Whether `Breaks` raises now, and how often its code ran."""

    is_broken = True
    runs = 0


@workflow.defn(sandboxed=False)
class Breaks:
    """Fails its task until `Broken` says otherwise."""

    @workflow.run
    async def run(self) -> str:
        Broken.runs += 1
        if Broken.is_broken:
            raise RuntimeError("broken")
        return "mended"


WORKFLOWS = [
    Sequence, Parallel, Local, Sleeper, Failing, Parent, Again, Patched, Waiting, Slow, Watching, WatchingHeld,
    Tenant, Breaks,
]  # fmt: skip
