"""Workflows and activities that send a marked text along every path there is; for `test_sealed_wire`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from perdure import activity, workflow
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError, CancelledError, ChildWorkflowError
from tests.unit.worker.sealing import mark

SHORT = timedelta(seconds=20)
ONCE = RetryPolicy(maximum_attempts=1)
AT_ONCE = RetryPolicy(maximum_attempts=2, initial_interval=timedelta(milliseconds=1))


class Outside:
    """What the workflows and activities of one test share with it."""

    def __init__(self) -> None:
        self.tokens: asyncio.Queue[bytes] = asyncio.Queue()
        """Of activities that are completed from outside."""
        self.task_failures = [mark("task failure")]
        """What workflow tasks are still to fail with."""


outside = Outside()


def begin_anew() -> None:
    global outside  # noqa: PLW0603 - activities are plain functions
    outside = Outside()


def fail(what: str) -> ApplicationError:
    """An error with a text in its message, its details and its cause."""
    error = ApplicationError(mark(f"{what} message"), mark(f"{what} details"), type="Planned")
    error.__cause__ = ApplicationError(mark(f"{what} cause"))
    return error


def assert_failed(error: BaseException | None, what: str) -> None:
    assert isinstance(error, ApplicationError)
    assert error.message == mark(f"{what} message")
    assert list(error.details) == [mark(f"{what} details")]
    assert isinstance(error.cause, ApplicationError)
    assert error.cause.message == mark(f"{what} cause")


@activity.defn
async def answer(text: str) -> str:
    assert text == mark("activity argument")
    return mark("activity result")


@activity.defn
async def raising(_: str) -> None:
    if activity.info().attempt == 1:
        activity.heartbeat(mark("first heartbeat"))
        await asyncio.sleep(0)
        activity.heartbeat(mark("unsent heartbeat"))
        raise ValueError("IN-CLEAR stack trace.")
    assert activity.info().heartbeat_details == [mark("unsent heartbeat")]
    raise fail("activity failure")


@activity.defn
async def elsewhere() -> str:
    outside.tokens.put_nowait(activity.info().task_token)
    activity.raise_complete_async()


@activity.defn
async def local(text: str) -> str:
    assert text == mark("local argument")
    if activity.info().attempt == 1:
        raise fail("local failure")
    return mark("local result")


@activity.defn
async def local_raising() -> None:
    raise fail("local failure")


@workflow.defn
class Child:
    def __init__(self) -> None:
        self.heard: list[str] = []

    @workflow.run
    async def run(self, text: str) -> str:
        assert text == mark("child argument")
        assert workflow.memo_value("note") == mark("child memo")
        await workflow.wait_condition(lambda: len(self.heard) == 2)
        if self.heard[1] == "fail":
            raise fail("child failure")
        return mark("child result")

    @workflow.signal
    def hear(self, *texts: str) -> None:
        self.heard += texts


@workflow.defn
class Steps:
    """Runs one of its methods; a table of little workflows."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @workflow.run
    async def run(self, step: str, text: str = "") -> str:
        method: Callable[[str], Awaitable[str]] = getattr(self, step)
        return await method(text)

    async def echo(self, text: str) -> str:
        assert text == mark("start argument")
        return mark("workflow result")

    async def listen(self, _: str) -> str:
        workflow.set_current_details(mark("current details"))
        await workflow.wait_condition(lambda: "end" in self.told)
        return "|".join(self.told)

    async def call_activity(self, _: str) -> str:
        return await workflow.execute_activity(
            answer,
            mark("activity argument"),
            start_to_close_timeout=SHORT,
            summary=mark("activity summary"),
        )

    async def call_raising(self, _: str) -> str:
        try:
            await workflow.execute_activity(
                raising, "", start_to_close_timeout=SHORT, retry_policy=AT_ONCE
            )
        except ActivityError as error:
            assert_failed(error.cause, "activity failure")
            raise
        return "not reached"

    async def call_elsewhere(self, _: str) -> str:
        started = workflow.start_activity(
            elsewhere,
            activity_id="it",
            start_to_close_timeout=SHORT,
            retry_policy=ONCE,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        await workflow.wait_condition(lambda: bool(self.told) or started.done())
        if not self.told:
            return await started
        started.cancel()
        try:
            return await started
        except ActivityError as error:
            cause = error.cause
        assert isinstance(cause, CancelledError)
        return str(cause.details[0])

    async def call_local(self, _: str) -> str:
        result = await workflow.execute_local_activity(
            local,
            mark("local argument"),
            start_to_close_timeout=SHORT,
            retry_policy=AT_ONCE,
            summary=mark("local summary"),
        )
        try:
            await workflow.execute_local_activity(
                local_raising, start_to_close_timeout=SHORT, retry_policy=ONCE
            )
        except ApplicationError as error:
            assert_failed(error, "local failure")
        return result

    async def call_children(self, _: str) -> str:
        results: list[str] = []
        for number, last in enumerate(("complete", "fail")):
            child = await workflow.start_child_workflow(
                Child.run,
                mark("child argument"),
                id=f"child-{number}",
                memo={"note": mark("child memo")},
                static_summary=mark("child summary"),
                static_details=mark("child details"),
            )
            await child.signal(Child.hear, mark("child signal"))
            other = workflow.get_external_workflow_handle_for(Child.run, f"child-{number}")
            await other.signal(Child.hear, last)
            try:
                results.append(await child)
            except ChildWorkflowError as error:
                assert_failed(error.cause, "child failure")
        return results[0]

    async def go_on(self, text: str) -> str:
        if not text:
            workflow.continue_as_new(
                args=["go_on", mark("next argument")], memo={"note": mark("next memo")}
            )
        assert text == mark("next argument")
        return str(workflow.memo_value("note"))

    async def upsert(self, _: str) -> str:
        workflow.upsert_memo({"note": mark("upserted memo")})
        await workflow.sleep(0.001, summary=mark("timer summary"))
        return str(workflow.memo_value("note"))

    async def fail(self, _: str) -> str:
        raise fail("workflow failure")

    async def fail_task(self, _: str) -> str:
        if outside.task_failures:
            raise RuntimeError(outside.task_failures.pop())
        return mark("workflow result")

    @workflow.signal
    def tell(self, text: str) -> None:
        self.told.append(text)

    @workflow.query
    def ask(self, text: str) -> str:
        if text != mark("query argument"):
            raise fail("query failure")
        return mark("query result")

    @workflow.update
    async def change(self, text: str) -> str:
        if text == mark("failing update"):
            raise fail("update failure")
        assert text == mark("update argument")
        return mark("update result")

    @change.validator
    def _check(self, text: str) -> None:
        if text == mark("rejected update"):
            raise fail("update rejection")


ACTIVITIES = (answer, raising, elsewhere, local, local_raising)
