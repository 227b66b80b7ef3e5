"""Task groups in workflow code: a failure of a member ends the workflow as a failure that is awaited does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perdure import workflow
from perdure.exceptions import ApplicationError, CancelledError
from perdure.replay import commands, jobs
from perdure.worker.host.options import HostOptions
from tests.unit.worker_host.driver import Driver


async def _fails() -> None:
    await asyncio.sleep(0)
    raise ApplicationError("no money", type="Broke")


async def _times_out() -> None:
    async with asyncio.timeout(1):
        await asyncio.Event().wait()


async def _has_a_bug() -> None:
    raise ValueError("bug")


async def _in_a_group(*members: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for member in members:
            group.create_task(_awaited(member))


async def _awaited(member: Callable[[], Awaitable[None]]) -> None:
    await member()


_BODIES: dict[str, Callable[[], Awaitable[None]]] = {
    "alone": lambda: _in_a_group(_fails),
    "both": lambda: _in_a_group(_fails, _fails),
    "nested": lambda: _in_a_group(lambda: _in_a_group(_fails), _fails),
    "bug": lambda: _in_a_group(_has_a_bug),
    "bug and failure": lambda: _in_a_group(_fails, lambda: _in_a_group(_fails, _has_a_bug)),
    "known and failure": lambda: _in_a_group(_fails, _raises_a_known_group),
    "known and bug": lambda: _in_a_group(_raises_a_known_group, _has_a_bug),
    "times out": lambda: _in_a_group(_times_out),
    "sleeps": lambda: _in_a_group(_fails, lambda: workflow.sleep(60)),
}


@workflow.defn
class Grouped:
    @workflow.run
    async def run(self, body: str) -> None:
        if body:
            await _BODIES[body]()
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    async def signal(self, body: str) -> None:
        await _BODIES[body]()

    @workflow.update
    async def update(self, body: str) -> None:
        await _BODIES[body]()


def failed(result: list[commands.Command]) -> commands.FailWorkflow:
    found = [each for each in result if isinstance(each, commands.FailWorkflow)]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("body", ["alone", "both", "nested", "sleeps"])
def test_failures_of_members_fail_the_workflow(body: str):
    failure = failed(Driver(Grouped).start(body)).failure
    assert "Broke: no money" in failure.message
    assert failure.application_failure_info.type == "ExceptionGroup"
    assert failure.cause.message == "no money"


def test_a_timeout_in_a_group_fails_the_workflow():
    driver = Driver(Grouped)
    (timer,) = driver.start("times out")
    assert isinstance(timer, commands.StartTimer)
    assert "TimeoutError" in failed(driver.activate(jobs.FireTimer(seq=timer.seq))).failure.message


@pytest.mark.parametrize("body", ["bug", "bug and failure"])
def test_a_bug_among_the_members_fails_the_task(body: str):
    with pytest.raises(ExceptionGroup):
        Driver(Grouped).start(body)


class Known(ExceptionGroup[Exception]):
    """A group type that users name as a failure."""


async def _raises_a_known_group() -> None:
    raise Known("known", [ValueError("bug")])


@pytest.mark.parametrize("body", ["bug", "bug and failure"])
def test_group_types_that_are_named_as_failures_fail_the_workflow(body: str):
    options = HostOptions(failure_exception_types=[ExceptionGroup])
    assert "ValueError: bug" in failed(Driver(Grouped, options).start(body)).failure.message


def test_a_group_of_a_named_type_counts_as_a_failure_within_another_group():
    options = HostOptions(failure_exception_types=[Known])
    failure = failed(Driver(Grouped, options).start("known and failure")).failure
    assert "ValueError: bug" in failure.message
    with pytest.raises(ExceptionGroup):
        Driver(Grouped, options).start("known and bug")
    with pytest.raises(ExceptionGroup):
        Driver(Grouped).start("known and failure")


def test_signal_handlers_fail_the_workflow():
    driver = Driver(Grouped)
    driver.start("")
    assert "no money" in failed(driver.signal("signal", "both")).failure.message


def test_update_handlers_fail_their_update():
    driver = Driver(Grouped)
    driver.start("")
    result = driver.update("update", "both")
    (rejected,) = [
        each.response
        for each in result
        if isinstance(each, commands.UpdateResponse)
        and isinstance(each.response, commands.UpdateRejected)
    ]
    assert "no money" in rejected.failure.message


async def _cancelled_like_an_activity(*_: Any) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise CancelledError("the activity was cancelled") from None


@workflow.defn
class Cancelling:
    @workflow.run
    async def run(self, extra: str) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(_cancelled_like_an_activity())
            group.create_task(_cancelled_like_an_activity())
            if extra:
                group.create_task(self._fails_late())

    async def _fails_late(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ApplicationError("late")


def test_a_cancelled_workflow_whose_group_only_has_cancellations_is_cancelled():
    driver = Driver(Cancelling)
    driver.start("")
    result = driver.activate(jobs.CancelWorkflow(reason="r"))
    assert [type(each) for each in result] == [commands.CancelWorkflowExecution]
    driver = Driver(Cancelling)
    driver.start("more")
    assert "late" in failed(driver.activate(jobs.CancelWorkflow(reason="r"))).failure.message
