"""The workflows whose histories are recorded, one topic each. Do not change their code: the histories depend on it.

The result of a workflow shows in which order things happened. A replay must return the same result.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from tests.replay.recorded.library import exceptions, workflow
from tests.replay.recorded.steps import (
    ELSEWHERE,
    LONG,
    ONCE,
    OPTIONS,
    SOON,
    beats_until_cancelled,
    double,
    greet,
    refuses,
    stops_beating,
    third_time_lucky,
)


def defined(cls: type) -> Any:
    """`workflow.defn` without the sandbox, which would import the chosen library again."""
    return workflow.defn(sandboxed=False)(cls)


async def outcomes_of(*awaitables: Any) -> list[Any]:
    return list(await asyncio.gather(*awaitables, return_exceptions=True))


@defined
class Greets:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(greet, name, **OPTIONS)


@defined
class DiffersOnReplay:
    """Not deterministic: its replay must fail."""

    @workflow.run
    async def run(self, name: str) -> str:
        greeting = await workflow.execute_activity(greet, name, **OPTIONS)
        if workflow.unsafe.is_replaying():
            await asyncio.sleep(0.1)
        return greeting


@defined
class Traces:
    """Each part yields once, then waits for a condition that holds: the order of the results shows each tick."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.finished = False

    async def trace(self, name: str) -> None:
        ready: asyncio.Future[bool] = asyncio.Future()
        ready.set_result(True)
        await ready
        self.seen.append(f"{name} 1")
        await workflow.wait_condition(lambda: True)
        self.seen.append(f"{name} 2")

    @workflow.run
    async def run(self) -> list[str]:
        await asyncio.gather(self.timer(), self.activity())
        await workflow.wait_condition(lambda: self.finished)
        return self.seen

    @workflow.signal
    async def hear(self, name: str) -> None:
        self.seen.append(f"signal {name}")
        await self.trace(f"signal {name}")
        self.finished |= name == "last"

    @workflow.update
    async def change(self, name: str) -> None:
        self.seen.append(f"update {name}")
        await self.trace(f"update {name}")

    async def timer(self) -> None:
        self.seen.append("timer")
        await workflow.sleep(0.02)
        await self.trace("timer")

    async def activity(self) -> None:
        self.seen.append("activity")
        await workflow.execute_activity(greet, "Ada", **OPTIONS)
        await self.trace("activity")


@defined
class CountsWhileDown:
    """Signals and the end of an activity arrive in one workflow task, because no worker was running."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.count = 0

    @workflow.run
    async def run(self) -> list[str]:
        greeting = asyncio.create_task(self.greeting())
        await workflow.wait_condition(lambda: self.count >= 2)
        self.seen.append(f"count {self.count}")
        await greeting
        return self.seen

    @workflow.signal
    async def hear(self, name: str) -> None:
        self.seen.append(f"signal {name}")
        self.count += 1

    async def greeting(self) -> None:
        self.seen.append("activity")
        await workflow.execute_activity(greet, "Ada", task_queue=ELSEWHERE, **OPTIONS)
        self.count += 1
        self.seen.append("greeted")


@defined
class LateUpdate:
    """An update completes after the workflow has returned, in the same workflow task."""

    def __init__(self) -> None:
        self.returned = False

    @workflow.run
    async def run(self) -> str:
        self.returned = True
        return "returned"

    @workflow.update
    async def change(self) -> str:
        await workflow.wait_condition(lambda: self.returned)
        return "changed"


@defined
class CancelledAsAnActivityEnds:
    """The cancellation of the workflow and the end of its activity arrive in one workflow task."""

    @workflow.run
    async def run(self) -> list[str]:
        seen: list[str] = []
        for number in range(3):
            try:
                queue = ELSEWHERE if number == 1 else None
                seen.append(
                    await workflow.execute_activity(greet, str(number), task_queue=queue, **OPTIONS)
                )
            except (asyncio.CancelledError, exceptions.ActivityError) as error:
                seen.append(type(error).__name__)
        return seen


@defined
class Activities:
    """Retries, failures that are not retried, missing heartbeats, and each cancellation type."""

    @workflow.run
    async def run(self) -> list[Any]:
        seen: list[Any] = [await workflow.execute_activity(third_time_lucky, **OPTIONS)]
        calls: list[tuple[Any, dict[str, Any]]] = [
            (refuses, {"args": ["no"], "start_to_close_timeout": LONG}),
            (
                stops_beating,
                {
                    "start_to_close_timeout": LONG,
                    "heartbeat_timeout": timedelta(milliseconds=200),
                    "retry_policy": ONCE,
                },
            ),
            (
                greet,
                {
                    "args": ["nobody"],
                    "task_queue": "recorded-nobody",
                    "schedule_to_start_timeout": timedelta(milliseconds=50),
                    "start_to_close_timeout": LONG,
                },
            ),
        ]
        for step, options in calls:
            try:
                await workflow.execute_activity(step, **options)
            except exceptions.ActivityError as error:
                kind = getattr(error.cause, "type", None)
                seen.append([type(error.cause).__name__, getattr(kind, "name", kind)])
        for name in ("TRY_CANCEL", "WAIT_CANCELLATION_COMPLETED", "ABANDON"):
            handle = workflow.start_activity(
                beats_until_cancelled,
                start_to_close_timeout=timedelta(seconds=20),
                heartbeat_timeout=timedelta(
                    seconds=2
                ),  # the SDK sends a heartbeat every 1.6 s at most
                cancellation_type=workflow.ActivityCancellationType[name],
                retry_policy=ONCE,
            )
            await workflow.sleep(0.05)
            handle.cancel()
            try:
                seen.append([name, await handle])
            except (exceptions.ActivityError, asyncio.CancelledError) as error:
                seen.append([name, type(error).__name__])
        unsent = workflow.start_activity(greet, "never sent", **OPTIONS)
        unsent.cancel()
        outcomes = await outcomes_of(unsent)
        seen.append(type(outcomes[0]).__name__)
        return seen


@defined
class Timers:
    @workflow.run
    async def run(self) -> list[str]:
        seen: list[str] = []
        await workflow.sleep(SOON)
        await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        cancelled = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.sleep(0.01)
        cancelled.cancel()
        for number, wait in enumerate(
            (
                asyncio.wait_for(asyncio.Event().wait(), 0.01),
                asyncio.wait_for(workflow.execute_activity(double, 1, **OPTIONS), 60),
                workflow.wait_condition(lambda: False, timeout=0.01),
                workflow.wait_condition(lambda: True, timeout=3600),
            )
        ):
            try:
                seen.append(f"{number} {await wait}")
            except TimeoutError:
                seen.append(f"{number} late")
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            seen.append("block late")
        async with asyncio.timeout(3600):
            seen.append(await workflow.execute_activity(greet, "in time", **OPTIONS))
        return seen


@defined
class Together:
    """The ways of asyncio to do several things at once."""

    @workflow.run
    async def run(self) -> list[Any]:
        def start(number: int) -> Any:
            return asyncio.create_task(workflow.execute_activity(double, number, **OPTIONS))

        seen: list[Any] = [await asyncio.gather(*(start(number) for number in range(3)))]
        sleeper = asyncio.create_task(asyncio.sleep(3600, "slept"))
        done, pending = await workflow.wait(
            [sleeper, start(10)], return_when=asyncio.FIRST_COMPLETED
        )
        seen.append([len(done), len(pending), [task.result() for task in done]])
        sleeper.cancel()
        tasks = [asyncio.create_task(asyncio.sleep(delay, delay)) for delay in (0.3, 0.01)]
        seen.append([await task for task in workflow.as_completed(tasks)])
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(3600))
                group.create_task(workflow.execute_activity(refuses, "group", **OPTIONS))
        except* exceptions.ActivityError as failures:
            seen.append(len(failures.exceptions))
        inner = asyncio.create_task(asyncio.sleep(0.02, "shielded"))
        outer = asyncio.ensure_future(asyncio.shield(inner))
        await asyncio.sleep(0)
        outer.cancel()
        seen.append(await inner)
        outcomes = await outcomes_of(
            workflow.execute_activity(refuses, "gathered", **OPTIONS),
            workflow.execute_activity(double, 21, **OPTIONS),
        )
        seen.append([type(outcomes[0]).__name__, outcomes[1]])
        return seen
