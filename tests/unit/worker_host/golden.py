"""Workflows equivalent to those that recorded the official histories, and where the histories lie."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.client.history import WorkflowHistory

FOLDER = Path(__file__).parents[3].parent / "shared" / "histories" / "official"


def load(name: str) -> WorkflowHistory:
    """A recorded history; skips on a plain clone, where they are not there."""
    path = FOLDER / f"test_replayer_{name}.json"
    if not path.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI needs the recorded histories: {path} is missing")
        pytest.skip("the recorded histories are not part of the repository")
    return WorkflowHistory.from_json("golden", path.read_text())


def load_without_flags(name: str) -> WorkflowHistory:
    """The history as an SDK without language flags would have written it."""
    document = json.loads(load(name).to_json())
    for event in document["events"]:
        attributes = event.get("workflowTaskCompletedEventAttributes", {})
        attributes.get("sdkMetadata", {}).pop("langUsedFlags", None)
    return WorkflowHistory.from_json("golden", document)


@activity.defn
async def say_hello(name: str) -> str:
    return f"Hello, {name}!"


@activity.defn
async def short_activity_async() -> int:
    return 1


@dataclass
class Parameters:
    name: str
    should_wait: bool = False
    should_error: bool = False
    should_cause_nondeterminism: bool = False


@workflow.defn(name="SayHelloWorkflow")
class SayHello:
    def __init__(self) -> None:
        self.go_on = False

    @workflow.run
    async def run(self, parameters: Parameters) -> str:
        greeting = await workflow.execute_activity(
            say_hello, parameters.name, schedule_to_close_timeout=timedelta(minutes=1)
        )
        if parameters.should_wait:
            await workflow.wait_condition(lambda: self.go_on)
        if parameters.should_cause_nondeterminism and workflow.unsafe.is_replaying():
            await asyncio.sleep(0.1)
        return greeting

    @workflow.signal
    def finish(self) -> None:
        self.go_on = True


@workflow.defn(name="UpdateCompletionAfterWorkflowReturn")
class LateUpdate:
    def __init__(self) -> None:
        self.returned = False

    @workflow.run
    async def run(self) -> str:
        self.returned = True
        return "workflow-result"

    @workflow.update
    async def my_update(self) -> str:
        await workflow.wait_condition(lambda: self.returned)
        return "update-result"


@workflow.defn(name="SignalsActivitiesTimersUpdatesTracingWorkflow")
class Tracing:
    """Everything yields once within a task, then waits for a condition that holds."""

    def __init__(self) -> None:
        self.events: list[str] = []

    async def trace(self, prefix: str) -> None:
        ready: asyncio.Future[bool] = asyncio.Future()
        ready.set_result(True)
        await ready
        self.events.append(f"{prefix}-1")
        await workflow.wait_condition(lambda: True)
        self.events.append(f"{prefix}-2")

    @workflow.run
    async def run(self) -> list[str]:
        timer = asyncio.create_task(self.timer())
        greeting = asyncio.create_task(self.greeting())
        await asyncio.gather(timer, greeting)
        return self.events

    @workflow.signal
    async def dosig(self, name: str) -> None:
        self.events.append(f"sig-{name}-sync")
        await self.trace(f"sig-{name}")

    @workflow.update
    async def doupdate(self, name: str) -> None:
        self.events.append(f"update-{name}-sync")
        await self.trace(f"update-{name}")

    async def timer(self) -> None:
        self.events.append("timer-sync")
        await workflow.sleep(0.1)
        await self.trace("timer")

    async def greeting(self) -> None:
        self.events.append("act-sync")
        await workflow.execute_activity(
            say_hello, "Enchi", schedule_to_close_timeout=timedelta(seconds=30)
        )
        await self.trace("act")


@workflow.defn(name="ActivityAndSignalsWhileWorkflowDown")
class Counting:
    def __init__(self) -> None:
        self.events: list[str] = []
        self.counter = 0

    @workflow.run
    async def run(self, activity_queue: str) -> list[str]:
        greeting = asyncio.create_task(self.greeting(activity_queue))
        await workflow.wait_condition(lambda: self.counter >= 2)
        self.events.append(f"counter-{self.counter}")
        await greeting
        return self.events

    @workflow.signal
    async def dosig(self, name: str) -> None:
        self.events.append(f"sig-{name}")
        self.counter += 1

    async def greeting(self, activity_queue: str) -> None:
        self.events.append("act-start")
        await workflow.execute_activity(
            say_hello,
            "Enchi",
            schedule_to_close_timeout=timedelta(seconds=30),
            task_queue=activity_queue,
        )
        self.counter += 1
        self.events.append("act-done")


@workflow.defn(name="QuickActivityWorkflow")
class QuickActivities:
    @workflow.run
    async def run(self, total_seconds: float = 10.0) -> None:
        end = workflow.now() + timedelta(seconds=total_seconds)
        while True:
            await workflow.execute_activity(
                short_activity_async, schedule_to_close_timeout=timedelta(seconds=10)
            )
            if workflow.now() > end:
                break


ALL: list[type[Any]] = [SayHello, LateUpdate, Tracing, Counting, QuickActivities]
