"""Cancellations of what waits for the server: what is asked of it, who sees the outcome, who the cancellation."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from perdure import workflow
from perdure.converter import DataConverter, DefaultFailureConverter
from perdure.exceptions import ActivityError, ApplicationError
from perdure.replay import commands, jobs
from perdure.worker.host.jobs import UnknownOperationError
from perdure.worker.host.state import MAX_EVICTIONS, SINGLE_BATCH
from perdure.worker.host.teardown import graveyard
from tests.unit.worker_host.doing import TO_RUN, Does, cancels, doing, forever
from tests.unit.worker_host.driver import (
    Driver,
    activity_cancelled,
    names,
    one,
    payloads,
    result,
)

if TYPE_CHECKING:
    from collections.abc import Callable

MINUTE = timedelta(minutes=1)
COMPLETED_FLAG = 1
"""The language flag under which a cancellation wins over an activity's outcome that is there."""

ACTIVITY_DONE = jobs.ResolveActivity(seq=1, result=jobs.Completed(payloads("done")[0]))
CHILD_STARTED = jobs.ResolveChildStart(seq=1, outcome=jobs.ChildStarted("child-run"))
CHILD_DONE = jobs.ResolveChild(seq=1, result=jobs.Completed(payloads("done")[0]))
SIGNALLED = jobs.ResolveSignalExternal(seq=1, failure=None)
CANCEL = jobs.CancelWorkflow(reason="enough")


def activity() -> workflow.ActivityHandle[Any]:
    return workflow.start_activity("a", start_to_close_timeout=MINUTE)


# An outcome and a cancellation in one activation -----------------------------------------------------


@pytest.mark.parametrize(
    ("replaying", "flags", "expected", "used"),
    [
        (False, frozenset[int](), ["CancelWorkflowExecution"], (COMPLETED_FLAG,)),
        (True, frozenset({COMPLETED_FLAG}), ["CancelWorkflowExecution"], (COMPLETED_FLAG,)),
        (True, frozenset[int](), ["RequestCancelActivity", "CompleteWorkflow"], ()),
        (True, frozenset({SINGLE_BATCH}), ["CancelWorkflowExecution"], ()),
    ],
)
def test_an_activitys_outcome_and_a_cancellation(
    replaying: bool, flags: frozenset[int], expected: list[str], used: tuple[int, ...]
) -> None:
    run, _ = doing(activity)
    run.replaying, run.flags = replaying, flags
    assert names(run.activate(ACTIVITY_DONE, CANCEL)) == expected
    assert run.used_flags == used


@pytest.mark.parametrize("replaying", [False, True])
def test_a_childs_outcome_wins_over_a_cancellation_that_comes_with_it(replaying: bool) -> None:
    async def child() -> Any:
        return await workflow.execute_child_workflow("C", id="c")

    run, _ = doing(child)
    run.activate(CHILD_STARTED)
    run.replaying = replaying
    found = run.activate(CHILD_DONE, CANCEL)
    assert names(found) == ["CancelChildWorkflow", "CompleteWorkflow"]
    assert result(found) == "done"
    assert run.used_flags == ()


def test_an_outcome_that_comes_after_the_cancellation_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    waiting: list[asyncio.Task[Any]] = []

    async def main() -> Any:
        waiting.append(asyncio.create_task(_awaiting(activity())))
        try:
            return await waiting[0]
        except asyncio.CancelledError:
            return "cancelled"

    run, _ = doing(main, cancels(waiting), flags=frozenset({SINGLE_BATCH}))
    assert result(run.activate(ACTIVITY_DONE, run.signal_job("hear"))) == "cancelled"
    assert caplog.records == []


async def _awaiting(handle: Any) -> Any:
    return await handle


# What the cancelled task sees ------------------------------------------------------------------------


def test_a_cancellation_that_was_dealt_with_does_not_count_any_more() -> None:
    """`asyncio.timeout` and `TaskGroup` count requests: one that is left over would end them."""
    counted: list[int] = []
    waiting: list[asyncio.Task[Any]] = []

    async def signal() -> None:
        await workflow.get_external_workflow_handle("o").signal("s")
        task = asyncio.current_task()
        assert task is not None
        counted.append(task.cancelling())

    async def main() -> None:
        waiting.append(asyncio.create_task(signal()))
        await waiting[0]

    run, _ = doing(main, cancels(waiting))
    asked = one(run.signal("hear"), commands.CancelSignalExternal)
    assert asked.site is not None
    assert names(run.activate(SIGNALLED)) == ["CompleteWorkflow"]
    assert counted == [0]


def test_a_start_of_a_child_is_not_waited_for_when_the_workflow_is_cancelled() -> None:
    async def start() -> None:
        await workflow.start_child_workflow("C", id="c")

    run, _ = doing(start)
    asked, ended = run.cancel()
    assert isinstance(asked, commands.CancelChildWorkflow)
    assert asked.site is not None
    assert names([ended]) == ["CancelWorkflowExecution"]


def test_a_start_of_a_child_is_waited_for_when_only_its_task_is_cancelled() -> None:
    starting: list[asyncio.Task[Any]] = []

    async def main() -> str | None:
        starting.append(asyncio.create_task(_awaiting(workflow.start_child_workflow("C", id="c"))))
        return (await starting[0]).first_execution_run_id

    run, _ = doing(main, cancels(starting))
    assert names(run.signal("hear")) == ["CancelChildWorkflow"]
    assert result(run.activate(CHILD_STARTED)) == "child-run"


@pytest.mark.parametrize(
    ("text", "reason"), [(("why",), "why"), ((), ""), ((None,), ""), ((7,), "")]
)
def test_a_child_is_told_why_when_the_caller_says_so(text: tuple[Any, ...], reason: str) -> None:
    async def main() -> None:
        child = await workflow.start_child_workflow("C", id="c")
        child.cancel(*text)
        await child

    run, _ = doing(main)
    asked = one(run.activate(CHILD_STARTED), commands.CancelChildWorkflow)
    assert asked.reason == reason


def test_an_activity_is_asked_once_and_again_after_its_back_off() -> None:
    """A local activity that waits in a durable timer has a new number afterwards."""

    async def main() -> str:
        handle = workflow.start_local_activity(
            "a",
            start_to_close_timeout=MINUTE,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        handles.append(handle)
        try:
            return await handle
        except ActivityError as error:
            return type(error.cause).__name__

    handles: list[Any] = []
    run, _ = doing(main, *[cancels(handles)] * 3)
    backoff = jobs.Backoff(attempt=2, backoff_ns=5, original_schedule_time_ns=3)
    assert names(run.activate(jobs.ResolveActivity(seq=1, result=backoff))) == ["StartTimer"]
    again = one(run.fire_timer(1), commands.ScheduleLocalActivity)
    assert (again.seq, again.attempt, again.original_schedule_time_ns) == (2, 2, 3)
    asked = one(run.signal("hear"), commands.RequestCancelLocalActivity)
    assert asked.seq == 2
    assert run.signal("hear") == [], "asked once"
    ended = run.activate(jobs.ResolveActivity(seq=2, result=jobs.Cancelled(activity_cancelled())))
    assert result(ended) == "CancelledError"


# A run that is torn down ------------------------------------------------------------------------------

OPERATIONS: dict[str, Callable[[], Any]] = {
    "sleep": lambda: workflow.sleep(1),
    "condition": lambda: workflow.wait_condition(lambda: False),
    "activity": activity,
    "local activity": lambda: workflow.start_local_activity("a", start_to_close_timeout=MINUTE),
    "child": lambda: workflow.start_child_workflow("C", id="c"),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_code_that_swallows_its_end_is_suspended_after_a_while(name: str) -> None:
    tries: list[str] = []

    async def main() -> None:
        for _ in range(10 * MAX_EVICTIONS):
            try:
                await OPERATIONS[name]()
            except BaseException as error:  # noqa: BLE001 - the bug of the user
                tries.append(str(error))

    run, _ = doing(main)
    buried = len(graveyard)
    run.host.close()
    refused = [each for each in tries if each.startswith("Ignoring ")]
    assert len(refused) == MAX_EVICTIONS + 1
    assert len(graveyard) == buried + 1


def test_an_error_in_a_finally_ends_a_coroutine_as_well() -> None:
    async def main() -> None:
        try:
            await forever()
        finally:
            raise LookupError

    run, _ = doing(main)
    buried = len(graveyard)
    run.host.close()
    assert len(graveyard) == buried


def test_a_task_that_never_began_does_not_run_at_its_end() -> None:
    ran: list[str] = []
    TO_RUN[:] = [lambda: ran.append("ran")]
    run = Driver(Does)
    with pytest.raises(UnknownOperationError):
        run.start(also=(jobs.ResolveActivity(seq=9, result=jobs.Completed(None)),))
    buried = len(graveyard)
    run.host.close()
    assert ran == []
    assert len(graveyard) == buried


class Converting(DefaultFailureConverter):
    """Notes what it converts."""

    converted: ClassVar[list[str]] = []

    def to_failure(self, exception: BaseException, payload_converter: Any, failure: Any) -> None:
        self.converted.append(str(exception))
        super().to_failure(exception, payload_converter, failure)


def test_how_a_run_ends_that_is_torn_down_is_told_nobody() -> None:
    async def main() -> None:
        try:
            await forever()
        finally:
            raise ApplicationError("too late")

    Converting.converted.clear()
    converter = DataConverter(failure_converter_class=Converting)
    run, _ = doing(main, data_converter=converter)
    run.host.close()
    assert Converting.converted == []
    run, _ = doing(main, data_converter=converter)
    assert names(run.cancel()) == ["FailWorkflow"]
    assert Converting.converted[0] == "too late"


def test_a_run_that_is_torn_down_is_in_no_task() -> None:
    seen: list[Any] = []

    async def main() -> None:
        info = workflow.info()
        try:
            await forever()
        finally:
            seen.append(
                [
                    info.get_current_history_length(),
                    info.get_current_history_size(),
                    info.is_continue_as_new_suggested(),
                    info.is_target_worker_deployment_version_changed(),
                    info.get_current_deployment_version(),
                    workflow.unsafe.is_replaying(),
                ]
            )

    run, _ = doing(main)
    run.host.close()
    assert seen == [[0, 0, False, False, None, True]]
