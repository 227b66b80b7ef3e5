"""Activities, timers, conditions, children, other workflows: commands out, resolutions in."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.common import Priority, RetryPolicy
from perdure.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    WorkflowAlreadyStartedError,
)
from perdure.replay import commands, jobs
from perdure.wire.api import enums
from tests.unit.worker_host.driver import (
    CONVERTER,
    Driver,
    activity_cancelled,
    activity_failure,
    failure_of,
    names,
    one,
    payloads,
    result,
    value,
)

SECOND = timedelta(seconds=1)


@activity.defn
async def double(number: int) -> int:
    return 2 * number


@activity.defn(start_to_close_timeout=5 * SECOND, summary="doubles")
async def double_with_options(number: int) -> int:
    return 2 * number


@workflow.defn
class OneActivity:
    @workflow.run
    async def run(self, number: int) -> int:
        return await workflow.execute_activity(
            double,
            number,
            task_queue="other",
            schedule_to_close_timeout=4 * SECOND,
            schedule_to_start_timeout=3 * SECOND,
            start_to_close_timeout=2 * SECOND,
            heartbeat_timeout=SECOND,
            retry_policy=RetryPolicy(maximum_attempts=3),
            cancellation_type=workflow.ActivityCancellationType.ABANDON,
            activity_id="the-id",
            summary="a summary",
            priority=Priority(priority_key=2),
        )


def test_an_activity_carries_every_option() -> None:
    run = Driver(OneActivity)
    command = one(run.start(21), commands.ScheduleActivity)
    assert command.seq == 1
    assert command.activity_id == "the-id"
    assert command.activity_type == "double"
    assert command.task_queue == "other"
    assert [value(p) for p in command.arguments] == [21]
    assert command.schedule_to_close_timeout_ns == 4_000_000_000
    assert command.schedule_to_start_timeout_ns == 3_000_000_000
    assert command.start_to_close_timeout_ns == 2_000_000_000
    assert command.heartbeat_timeout_ns == 1_000_000_000
    assert command.retry_policy is not None
    assert command.retry_policy.maximum_attempts == 3
    assert command.cancellation_type is commands.ActivityCancellationType.ABANDON
    assert value(command.summary) == "a summary"
    assert command.priority is not None
    assert command.priority.priority_key == 2
    assert result(run.complete_activity(1, 42)) == 42


def test_a_command_knows_the_users_line() -> None:
    command = one(Driver(OneActivity).start(1), commands.ScheduleActivity)
    assert command.site is not None
    assert [frame.code for frame in command.site] == [OneActivity.run.__code__]


def test_a_failed_activity_raises_with_its_cause() -> None:
    run = Driver(OneActivity)
    run.start(1)
    failed = one(
        run.activate(jobs.ResolveActivity(seq=1, result=jobs.Failed(activity_failure()))),
        commands.FailWorkflow,
    )
    assert failed.failure.HasField("activity_failure_info")
    assert failed.failure.cause.message == "boom"


@workflow.defn
class DirectCall:
    @workflow.run
    async def run(self) -> int:
        return await double_with_options(4) + await workflow.execute_activity(
            double_with_options, 5, start_to_close_timeout=SECOND
        )


def test_an_activity_with_options_on_its_decorator_is_scheduled_by_a_plain_call() -> None:
    run = Driver(DirectCall)
    first = one(run.start(), commands.ScheduleActivity)
    assert (first.activity_type, first.start_to_close_timeout_ns) == (
        "double_with_options",
        5_000_000_000,
    )
    assert value(first.summary) == "doubles"
    second = one(run.complete_activity(1, 8), commands.ScheduleActivity)
    assert second.start_to_close_timeout_ns == 1_000_000_000
    assert value(second.summary) == "doubles"
    assert result(run.complete_activity(2, 10)) == 18


async def test_outside_workflows_it_is_a_plain_call() -> None:
    assert await double_with_options(4) == 8


@workflow.defn
class NoTimeout:
    @workflow.run
    async def run(self) -> int:
        return await workflow.execute_activity(double, 1)


def test_an_activity_needs_a_timeout() -> None:
    with pytest.raises(ValueError, match="start_to_close_timeout or schedule_to_close_timeout"):
        Driver(NoTimeout).start()


@workflow.defn
class CancelsActivity:
    @workflow.run
    async def run(self, early: bool) -> str:
        handle = workflow.start_activity(double, 1, start_to_close_timeout=SECOND)
        if not early:
            await asyncio.sleep(0)
        handle.cancel()
        handle.cancel()
        try:
            await handle
        except asyncio.CancelledError:
            return "cancelled at once"
        except ActivityError as error:
            return type(error.cause).__name__
        return "finished"


def test_a_cancelled_activity_requests_cancellation_once_and_waits_for_its_outcome() -> None:
    run = Driver(CancelsActivity)
    assert names(run.start(False)) == ["ScheduleActivity", "RequestCancelActivity"]
    end = run.activate(jobs.ResolveActivity(seq=1, result=jobs.Cancelled(activity_cancelled())))
    assert result(end) == "CancelledError"


def test_an_activity_cancelled_before_its_first_step_ends_at_once() -> None:
    found = Driver(CancelsActivity).start(True)
    assert names(found) == ["ScheduleActivity", "RequestCancelActivity", "CompleteWorkflow"]
    assert result(found) == "cancelled at once"


# Timers and conditions ----------------------------------------------------------------------------


@workflow.defn
class Sleeps(workflow.Workflow):
    @workflow.run
    async def run(self) -> float:
        start = workflow.time()
        await workflow.sleep(1.5, summary="a nap")
        await asyncio.sleep(0.25)
        await self.sleep(SECOND)
        await workflow.sleep(0)
        return workflow.time() - start


def test_timers() -> None:
    run = Driver(Sleeps)
    timer = one(run.start(), commands.StartTimer)
    assert (timer.seq, timer.start_to_fire_timeout_ns, value(timer.summary)) == (
        1,
        1_500_000_000,
        "a nap",
    )
    timer = one(run.fire_timer(1), commands.StartTimer)
    assert (timer.seq, timer.start_to_fire_timeout_ns, timer.summary) == (2, 250_000_000, None)
    assert one(run.fire_timer(2), commands.StartTimer).start_to_fire_timeout_ns == 1_000_000_000
    assert one(run.fire_timer(3), commands.StartTimer).start_to_fire_timeout_ns == 0
    assert result(run.fire_timer(4)) == 4.0


@workflow.defn
class WaitsForApproval:
    def __init__(self) -> None:
        self.approved = False

    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.wait_for_condition(
                lambda: self.approved, timeout=SECOND, timeout_summary="patience"
            )
        except TimeoutError:
            return "too late"
        return "approved"

    @workflow.signal
    def approve(self) -> None:
        self.approved = True


def test_a_condition_that_is_met_cancels_its_timer() -> None:
    run = Driver(WaitsForApproval)
    assert value(one(run.start(), commands.StartTimer).summary) == "patience"
    found = run.signal("approve")
    assert names(found) == ["CancelTimer", "CompleteWorkflow"]
    assert result(found) == "approved"


def test_a_condition_that_times_out() -> None:
    run = Driver(WaitsForApproval)
    run.start()
    assert result(run.fire_timer(1)) == "too late"


def test_a_timer_that_fires_after_it_was_cancelled_in_the_same_activation_is_ignored() -> None:
    run = Driver(WaitsForApproval)
    run.start()
    found = run.activate(run.signal_job("approve"), jobs.FireTimer(seq=1))
    assert result(found) == "approved"


# Children and other workflows ---------------------------------------------------------------------


@workflow.defn
class Child:
    @workflow.run
    async def run(self, name: str) -> str:
        return name

    @workflow.signal
    def poke(self, text: str) -> None:
        raise NotImplementedError


@workflow.defn
class Parent:
    @workflow.run
    async def run(self) -> str:
        handle = await workflow.start_child_workflow(
            Child.run, "x", id="child", memo={"a": 1}, run_timeout=SECOND
        )
        await handle.signal(Child.poke, "hello")
        return f"{handle.first_execution_run_id} {await handle}"


def test_a_child_is_started_signalled_and_awaited() -> None:
    run = Driver(Parent)
    start = one(run.start(), commands.StartChildWorkflow)
    assert (start.workflow_id, start.workflow_type, start.task_queue) == ("child", "Child", "queue")
    assert start.cancellation_type is (
        commands.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED
    )
    assert {key: value(payload) for key, payload in start.memo.items()} == {"a": 1}
    assert start.workflow_run_timeout_ns == 1_000_000_000
    signal = one(
        run.activate(jobs.ResolveChildStart(seq=1, outcome=jobs.ChildStarted("child-run"))),
        commands.SignalExternal,
    )
    assert (signal.child_workflow_only, signal.workflow_id, signal.signal_name) == (
        True,
        "child",
        "poke",
    )
    assert not run.activate(jobs.ResolveSignalExternal(seq=1, failure=None))
    end = run.activate(jobs.ResolveChild(seq=1, result=jobs.Completed(payloads("done")[0])))
    assert result(end) == "child-run done"


@workflow.defn
class TakenChild:
    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.execute_child_workflow("Child", "x", id="child")
        except WorkflowAlreadyStartedError as error:
            return error.workflow_id
        return "started"


def test_a_child_whose_id_is_taken() -> None:
    run = Driver(TakenChild)
    run.start()
    cause = enums.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS
    outcome = jobs.ChildStartFailed(workflow_id="child", workflow_type="Child", cause=cause)
    assert result(run.activate(jobs.ResolveChildStart(seq=1, outcome=outcome))) == "child"


@workflow.defn
class SignalsOthers:
    @workflow.run
    async def run(self) -> str:
        other = workflow.get_external_workflow_handle_for(Child.run, "other", run_id="o")
        await other.signal(Child.poke, "hi")
        try:
            await other.cancel(reason="enough")
        except ApplicationError as error:
            return error.message
        return "cancelled"


def test_other_workflows_are_signalled_and_cancelled() -> None:
    run = Driver(SignalsOthers)
    signal = one(run.start(), commands.SignalExternal)
    assert (signal.workflow_id, signal.run_id, signal.child_workflow_only) == ("other", "o", False)
    assert [value(p) for p in signal.args] == ["hi"]
    cancel = one(
        run.activate(jobs.ResolveSignalExternal(seq=1, failure=None)),
        commands.RequestCancelExternal,
    )
    assert (cancel.workflow_id, cancel.reason) == ("other", "enough")
    failed = jobs.ResolveCancelExternal(seq=1, failure=failure_of(ApplicationError("gone")))
    assert result(run.activate(failed)) == "gone"


# Ends ---------------------------------------------------------------------------------------------


@workflow.defn
class Continues:
    @workflow.run
    async def run(self, left: int) -> None:
        try:
            workflow.continue_as_new(left - 1, memo={"k": "v"}, run_timeout=SECOND)
        except Exception:  # noqa: BLE001  # users write this; it must not stop the end
            raise AssertionError from None


def test_continue_as_new_is_not_swallowed() -> None:
    command = one(Driver(Continues).start(3), commands.ContinueAsNew)
    assert [value(p) for p in command.arguments] == [2]
    assert command.workflow_run_timeout_ns == 1_000_000_000
    assert CONVERTER.from_payload(command.memo["k"]) == "v"


@workflow.defn(name="the-next")
class Next:
    @workflow.run
    async def run(self, given: str) -> None: ...


NEXT: dict[str, Any] = {"by its name": "the-next", "by its method": Next.run, "the same": None}


@workflow.defn
class ContinuesAs:
    @workflow.run
    async def run(self, how: str) -> None:
        workflow.continue_as_new("x", workflow=NEXT[how])


@pytest.mark.parametrize("how", NEXT)
def test_what_a_workflow_continues_as(how: str) -> None:
    command = one(Driver(ContinuesAs).start(how), commands.ContinueAsNew)
    assert command.workflow_type == ("" if NEXT[how] is None else "the-next")
    assert [value(p) for p in command.arguments] == ["x"]


@workflow.defn(failure_exception_types=[KeyError])
class Raises:
    @workflow.run
    async def run(self, kind: str) -> None:
        errors: dict[str, BaseException] = {
            "application": ApplicationError("bad", type="Bad", non_retryable=True),
            "timeout": TimeoutError(),
            "configured": KeyError("k"),
            "other": ValueError("a bug"),
            "cancelled": CancelledError("just so"),
        }
        raise errors[kind]


@pytest.mark.parametrize("kind", ["application", "timeout", "configured", "cancelled"])
def test_errors_that_fail_the_workflow(kind: str) -> None:
    assert names(Driver(Raises).start(kind)) == ["FailWorkflow"]


def test_any_other_error_fails_the_task() -> None:
    with pytest.raises(ValueError, match="a bug"):
        Driver(Raises).start("other")


@workflow.defn
class CanBeCancelled:
    @workflow.run
    async def run(self, clean_up: bool) -> str:
        try:
            await workflow.sleep(10)
        except asyncio.CancelledError:
            if not clean_up:
                raise
            await workflow.execute_activity(double, 1, start_to_close_timeout=SECOND)
            return f"cleaned up: {workflow.cancellation_reason()}"
        return "slept"


def test_a_cancelled_workflow_ends_as_cancelled() -> None:
    run = Driver(CanBeCancelled)
    run.start(False)
    assert names(run.cancel("why")) == ["CancelTimer", "CancelWorkflowExecution"]


def test_a_cancelled_workflow_may_clean_up_and_complete() -> None:
    run = Driver(CanBeCancelled)
    run.start(True)
    assert names(run.cancel("why")) == ["CancelTimer", "ScheduleActivity"]
    assert result(run.complete_activity(1, 2)) == "cleaned up: why"


@workflow.defn
class Group:
    @workflow.run
    async def run(self) -> list[int]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.one(n)) for n in (1, 2)]
        return [task.result() for task in tasks]

    async def one(self, number: int) -> int:
        return await workflow.execute_activity(double, number, start_to_close_timeout=SECOND)


def test_task_groups_work_and_cancel_their_activities() -> None:
    run = Driver(Group)
    assert names(run.start()) == ["ScheduleActivity", "ScheduleActivity"]
    failed = jobs.ResolveActivity(seq=1, result=jobs.Failed(activity_failure()))
    assert names(run.activate(failed)) == ["RequestCancelActivity"]
    cancelled = jobs.ResolveActivity(seq=2, result=jobs.Cancelled(activity_cancelled()))
    # Not as with the official SDK, whose task fails again and again while the workflow stays open.
    ended = one(run.activate(cancelled), commands.FailWorkflow)
    assert ended.failure.cause.cause.message == "boom"


@workflow.defn
class TimesOut:
    @workflow.run
    async def run(self) -> str:
        try:
            async with asyncio.timeout(1):
                await workflow.execute_activity(double, 1, start_to_close_timeout=10 * SECOND)
        except TimeoutError:
            return "timed out"
        return "finished"


def test_asyncio_timeout_is_a_durable_timer() -> None:
    run = Driver(TimesOut)
    assert names(run.start()) == ["StartTimer", "ScheduleActivity"]
    assert names(run.fire_timer(1)) == ["RequestCancelActivity"]
    cancelled = jobs.ResolveActivity(seq=1, result=jobs.Cancelled(activity_cancelled()))
    # As with the official SDK, what the activity says wins over the TimeoutError.
    failed = one(run.activate(cancelled), commands.FailWorkflow)
    assert failed.failure.HasField("activity_failure_info")
