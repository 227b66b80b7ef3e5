"""Workflows and activities for the official SDK: one of each thing that a server must do for them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
)

SOON = timedelta(milliseconds=50)


@activity.defn
async def flaky(name: str) -> str:
    """Fails twice, then greets; says in which attempt."""
    attempt = activity.info().attempt
    if attempt < 3:
        raise ApplicationError(f"attempt {attempt} fails", type="Flaky")
    return f"Hello, {name}! (attempt {attempt})"


@activity.defn
async def hopeless() -> None:
    raise ApplicationError("never works", "a detail", type="Hopeless", non_retryable=True)


@activity.defn
async def patient() -> str:
    """Beats until it is cancelled."""
    beats = 0
    try:
        while True:
            activity.heartbeat(beats)
            beats += 1
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        activity.heartbeat("cancelled")
        raise


@activity.defn
async def resumes() -> int:
    """Fails once with a heartbeat, and goes on from it."""
    details = activity.info().heartbeat_details
    if not details:
        activity.heartbeat(41)
        raise ApplicationError("interrupted")
    return int(details[0]) + 1


@workflow.defn
class Greeting:
    """Activity with retries, timer, signal, query, marker, search of its own state."""

    def __init__(self) -> None:
        self._name = ""
        self._stage = "waiting"

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self._name != "")
        self._stage = "greeting"
        greeting = await workflow.execute_activity(
            flaky,
            self._name,
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)),
        )
        self._stage = "sleeping"
        await workflow.sleep(SOON)
        if workflow.patched("loud"):
            greeting = greeting.upper()
        self._stage = "done"
        return greeting

    @workflow.signal
    def name(self, name: str) -> None:
        self._name = name

    @workflow.query
    def stage(self) -> str:
        return self._stage

    @workflow.query
    def broken(self) -> str:
        raise ApplicationError("no such thing")


@workflow.defn
class Cancellable:
    """Waits for an activity until it is cancelled, then cleans up."""

    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.execute_activity(
                patient,
                start_to_close_timeout=timedelta(seconds=30),
                heartbeat_timeout=timedelta(seconds=1),
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            )
        except ActivityError as error:
            return f"cleaned up after {type(error.cause).__name__}"
        return "never"


@workflow.defn
class Cancelled:
    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(timedelta(hours=1))


@workflow.defn
class Failing:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(hopeless, start_to_close_timeout=timedelta(seconds=10))


@workflow.defn
class Heartbeats:
    @workflow.run
    async def run(self) -> int:
        return await workflow.execute_activity(
            resumes,
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)),
        )


@workflow.defn
class FanOut:
    """Many activities at once; some are cancelled by a timer."""

    @workflow.run
    async def run(self, width: int) -> int:
        async def one(number: int) -> int:
            await workflow.execute_activity(
                flaky,
                str(number),
                start_to_close_timeout=timedelta(seconds=10),
                retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=1)),
            )
            return number

        return sum(await asyncio.gather(*(one(number) for number in range(width))))


@workflow.defn
class Timeouts:
    """Each kind of activity time-out, by the name of the failure that the workflow sees."""

    @workflow.run
    async def run(self) -> list[str]:
        once = RetryPolicy(maximum_attempts=1)
        seen: list[str] = []
        each: list[workflow.ActivityConfig] = [
            {"start_to_close_timeout": timedelta(milliseconds=100)},
            {
                "start_to_close_timeout": timedelta(seconds=20),
                "heartbeat_timeout": timedelta(milliseconds=100),
            },
            {"schedule_to_start_timeout": timedelta(milliseconds=100), "task_queue": "nobody"},
        ]
        for options in each:
            try:
                options["retry_policy"] = once
                options["schedule_to_close_timeout"] = timedelta(seconds=30)
                await workflow.execute_activity("stuck", **options)
            except ActivityError as error:
                cause = error.cause
                seen.append(str(getattr(getattr(cause, "type", None), "name", "")))
        return seen


@activity.defn
async def stuck() -> None:
    """Neither beats nor ends in time."""
    await asyncio.sleep(1)


@workflow.defn
class LocalActivity:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_local_activity(
            flaky,
            "local",
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=1)),
        )


@activity.defn
async def effect(path: str, name: str) -> str:
    """Leaves a line in a file, so that the lines show how often it ran."""
    with Path(path).open("a") as file:  # noqa: ASYNC230 -- one short line
        file.write(f"{name}\n")
    return name


@workflow.defn
class TwoSteps:
    """An effect, a sleep during which the server dies, and the effect's name as result."""

    @workflow.run
    async def run(self, path: str, name: str) -> str:
        result = await workflow.execute_activity(
            effect,
            args=[path, name],
            start_to_close_timeout=timedelta(seconds=60),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)),
        )
        await workflow.sleep(timedelta(milliseconds=300))
        return result


@workflow.defn
class Child:
    """Greets, after a fresh start when asked; waits for a word or its cancellation when told to."""

    def __init__(self) -> None:
        self._word = ""

    @workflow.run
    async def run(self, how: str) -> str:
        if how == "again":
            workflow.continue_as_new("greet")
        if how == "fail":
            raise ApplicationError("a child fails", type="Childish", non_retryable=True)
        if how == "wait":
            await workflow.wait_condition(lambda: self._word != "")
        parent = workflow.info().parent
        root = workflow.info().root
        assert parent is not None
        assert root is not None
        assert root.workflow_id == parent.workflow_id
        return f"{how} {self._word} {parent.workflow_id}"

    @workflow.signal
    def say(self, word: str) -> None:
        self._word = word


@workflow.defn
class Parent:
    @workflow.run
    async def run(self) -> list[str]:
        me = workflow.info().workflow_id
        seen = [
            await workflow.execute_child_workflow(Child.run, how, id=f"{me}-{how}")
            for how in ("greet", "again")
        ]
        try:
            await workflow.execute_child_workflow(Child.run, "fail", id=f"{me}-fail")
        except ChildWorkflowError as error:
            seen.append(type(error.cause).__name__)
        waiting = await workflow.start_child_workflow(Child.run, "wait", id=f"{me}-wait")
        try:
            await workflow.start_child_workflow(Child.run, "wait", id=f"{me}-wait")
        except WorkflowAlreadyStartedError as error:
            seen.append(type(error).__name__)
        await waiting.signal(Child.say, "hello")
        seen.append(await waiting)
        other = await workflow.start_child_workflow(Child.run, "wait", id=f"{me}-other")
        await workflow.get_external_workflow_handle(f"{me}-other").signal("say", "external")
        seen.append(await other)
        try:
            await workflow.get_external_workflow_handle(f"{me}-nobody").signal("say", "x")
        except ApplicationError as error:
            seen.append(type(error).__name__)
        canceled = await workflow.start_child_workflow(Child.run, "wait", id=f"{me}-canceled")
        canceled.cancel()
        try:
            await canceled
        except ChildWorkflowError as error:
            seen.append(type(error.cause).__name__)
        foreign = await workflow.start_child_workflow(Child.run, "wait", id=f"{me}-foreign")
        await workflow.get_external_workflow_handle(f"{me}-foreign").cancel()
        try:
            await foreign
        except ChildWorkflowError as error:
            seen.append(type(error.cause).__name__)
        for name, policy in (
            ("terminated", workflow.ParentClosePolicy.TERMINATE),
            ("asked", workflow.ParentClosePolicy.REQUEST_CANCEL),
            ("abandoned", workflow.ParentClosePolicy.ABANDON),
        ):
            await workflow.start_child_workflow(
                Child.run, "wait", id=f"{me}-{name}", parent_close_policy=policy
            )
        return seen


@workflow.defn
class Updatable:
    """Takes updates until told to stop."""

    def __init__(self) -> None:
        self._total = 0
        self._stop = ""

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self._stop != "")
        if self._stop == "again":
            workflow.continue_as_new()
        return self._total

    @workflow.signal
    def stop(self, how: str) -> None:
        self._stop = how

    @workflow.update
    def add(self, amount: int) -> int:
        self._total += amount
        return self._total

    @add.validator
    def check_add(self, amount: int) -> None:
        if amount < 0:
            raise ValueError("only more")

    @workflow.update
    async def slow(self) -> str:
        await workflow.sleep(SOON)
        return "slow " + await workflow.execute_activity(
            flaky,
            "update",
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)),
        )

    @workflow.update
    async def fails(self) -> None:
        raise ApplicationError("an update fails", type="Failing")

    @workflow.update
    async def endless(self) -> None:
        await workflow.wait_condition(lambda: False)


WORKFLOWS = [
    TwoSteps,
    Greeting,
    Cancellable,
    Cancelled,
    Failing,
    Heartbeats,
    FanOut,
    Timeouts,
    LocalActivity,
    Child,
    Parent,
    Updatable,
]
ACTIVITIES = [effect, flaky, hopeless, patient, resumes, stuck]
