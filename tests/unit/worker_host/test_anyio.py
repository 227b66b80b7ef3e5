"""Scopes and task groups of anyio in workflow code: a cancellation is delivered, once, and the activation ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import MethodType
from typing import Any, cast

import anyio
import pytest

from perdure import activity, workflow
from perdure.exceptions import ApplicationError, FailureError
from perdure.replay import commands, jobs
from perdure.wire.api import failure as failures
from perdure.worker.host.redelivery import Redeliveries, is_from_scope, is_redelivery
from perdure.worker.host.teardown import graveyard
from tests.unit.worker_host.driver import Driver, activity_cancelled, failure_of, names, value

_SECOND = timedelta(seconds=1)


@activity.defn
async def work() -> str:
    return "done"


async def _activity(kind: workflow.ActivityCancellationType) -> Any:
    return await workflow.execute_activity(
        work, start_to_close_timeout=_SECOND, cancellation_type=kind
    )


async def _local() -> Any:
    return await workflow.execute_local_activity(work, start_to_close_timeout=_SECOND)


async def _child() -> Any:
    return await workflow.execute_child_workflow("Child", id="c")


async def _signal() -> None:
    await workflow.get_external_workflow_handle("other").signal("x")


_TYPES = workflow.ActivityCancellationType
_OPERATIONS: dict[str, Callable[[], Awaitable[Any]]] = {
    "try": lambda: _activity(_TYPES.TRY_CANCEL),
    "wait": lambda: _activity(_TYPES.WAIT_CANCELLATION_COMPLETED),
    "abandon": lambda: _activity(_TYPES.ABANDON),
    "local": _local,
    "child": _child,
    "signal": _signal,
    "sleep": lambda: workflow.sleep(3600),
    "condition": lambda: workflow.wait_condition(lambda: False),
    "event": lambda: asyncio.Event().wait(),
}


@workflow.defn
class Scoped:
    def __init__(self) -> None:
        self.steps: list[str] = []

    @workflow.run
    async def run(self, operation: str, then: str) -> str:
        with anyio.move_on_after(1) as scope:
            try:
                await _OPERATIONS[operation]()
            except FailureError as error:
                self.steps.append(type(error).__name__)
            if then == "sleeps":
                # Still in the cancelled scope: anyio cancels whatever is awaited here.
                await workflow.sleep(3600)
        if then == "works":
            self.steps.append(await workflow.execute_activity(work, start_to_close_timeout=_SECOND))
        return f"{scope.cancel_called} {scope.cancelled_caught} {' '.join(self.steps)}".strip()

    @workflow.query
    def seen(self) -> str:
        return " ".join(self.steps)


def result_of(result: list[commands.Command]) -> Any:
    (completed,) = result
    assert isinstance(completed, commands.CompleteWorkflow)
    return value(completed.result)


@pytest.mark.parametrize("operation", ["try", "wait", "abandon"])
def test_an_activity_is_cancelled_once_and_awaited(operation: str):
    run = Driver(Scoped)
    assert names(run.start(operation, "")) == ["StartTimer", "ScheduleActivity"]
    assert names(run.fire_timer(1)) == ["RequestCancelActivity"]
    assert run.activate() == []
    cancelled = jobs.ResolveActivity(seq=1, result=jobs.Cancelled(activity_cancelled()))
    assert result_of(run.activate(cancelled)) == "True False ActivityError"


def test_a_result_that_comes_nevertheless_counts():
    run = Driver(Scoped)
    run.start("wait", "")
    run.fire_timer(1)
    assert result_of(run.complete_activity(1, "late")) == "True False"


def test_a_result_that_comes_with_the_deadline_ends_the_scope():
    run = Driver(Scoped)
    run.start("try", "")
    ended = run.activate(
        jobs.FireTimer(seq=1), jobs.ResolveActivity(seq=1, result=jobs.Completed(None))
    )
    assert names(ended)[-1] == "CompleteWorkflow"


def test_a_local_activity_is_cancelled_once_and_awaited():
    run = Driver(Scoped)
    assert names(run.start("local", "")) == ["StartTimer", "ScheduleLocalActivity"]
    assert names(run.fire_timer(1)) == ["RequestCancelLocalActivity"]
    cancelled = jobs.ResolveActivity(seq=1, result=jobs.Cancelled(activity_cancelled()))
    assert result_of(run.activate(cancelled)) == "True False ActivityError"


def test_a_child_is_cancelled_once_and_awaited():
    run = Driver(Scoped)
    assert names(run.start("child", "")) == ["StartTimer", "StartChildWorkflow"]
    run.activate(jobs.ResolveChildStart(seq=1, outcome=jobs.ChildStarted("r")))
    assert names(run.fire_timer(1)) == ["CancelChildWorkflow"]
    cancelled = failures.Failure(
        message="Child Workflow execution failed",
        child_workflow_execution_failure_info=failures.ChildWorkflowExecutionFailureInfo(),
        cause=failures.Failure(canceled_failure_info=failures.CanceledFailureInfo()),
    )
    ended = run.activate(jobs.ResolveChild(seq=1, result=jobs.Cancelled(cancelled)))
    assert result_of(ended) == "True False ChildWorkflowError"


def test_a_child_that_has_not_started_is_cancelled_once():
    run = Driver(Scoped)
    run.start("child", "")
    assert names(run.fire_timer(1)) == ["CancelChildWorkflow"]


def test_a_signal_to_another_workflow_is_cancelled_once():
    run = Driver(Scoped)
    assert names(run.start("signal", "")) == ["StartTimer", "SignalExternal"]
    assert names(run.fire_timer(1)) == ["CancelSignalExternal"]
    refused = failure_of(ApplicationError("cancelled"))
    ended = run.activate(jobs.ResolveSignalExternal(seq=1, failure=refused))
    assert result_of(ended) == "True False ApplicationError"


@pytest.mark.parametrize("operation", ["sleep", "condition", "event"])
def test_what_needs_no_server_ends_at_once(operation: str):
    run = Driver(Scoped)
    run.start(operation, "")
    ended = run.fire_timer(1)
    assert names(ended)[-1] == "CompleteWorkflow"
    assert result_of(ended[-1:]) == "True True"


def test_what_follows_in_the_scope_is_cancelled_in_the_same_activation():
    run = Driver(Scoped)
    run.start("wait", "sleeps")
    run.fire_timer(1)
    cancelled = jobs.ResolveActivity(seq=1, result=jobs.Cancelled(activity_cancelled()))
    ended = run.activate(cancelled)
    assert result_of(ended[-1:]) == "True True ActivityError"


def test_what_follows_the_scope_is_not_cancelled():
    run = Driver(Scoped)
    run.start("wait", "works")
    run.fire_timer(1)
    cancelled = jobs.ResolveActivity(seq=1, result=jobs.Cancelled(activity_cancelled()))
    assert names(run.activate(cancelled)) == ["ScheduleActivity"]
    assert result_of(run.complete_activity(2, "done")) == "True False ActivityError done"


def test_queries_are_answered_while_a_cancellation_is_held_back():
    run = Driver(Scoped)
    run.start("wait", "sleeps")
    run.fire_timer(1)
    for _ in range(3):
        assert run.ask("seen") == ""
    cancelled = jobs.ResolveActivity(seq=1, result=jobs.Cancelled(activity_cancelled()))
    assert result_of(run.activate(cancelled)[-1:]) == "True True ActivityError"


def test_a_run_is_evicted_while_a_cancellation_is_held_back():
    run = Driver(Scoped)
    run.start("wait", "")
    run.fire_timer(1)
    before = len(graveyard)
    run.host.close()
    assert len(graveyard) == before


# ── scopes in scopes, task groups ─────────────────────────────────────────────────────────────────


@workflow.defn
class Nested:
    @workflow.run
    async def run(self, form: str) -> str:
        match form:
            case "outer":
                with anyio.move_on_after(1) as outer, anyio.move_on_after(100) as inner:
                    await self.tolerant()
                return f"{outer.cancel_called} {inner.cancel_called}"
            case "shielded":
                with anyio.move_on_after(1) as outer:
                    with anyio.CancelScope(shield=True):
                        await self.tolerant()
                    await workflow.sleep(3600)
                return f"{outer.cancelled_caught}"
            case "fail_after":
                try:
                    with anyio.fail_after(1):
                        await self.tolerant()
                        await asyncio.sleep(0)
                except TimeoutError:
                    return "timed out"
            case "asyncio.timeout around":
                try:
                    async with asyncio.timeout(50):
                        with anyio.move_on_after(1):
                            await self.tolerant()
                        await workflow.sleep(3600)
                except TimeoutError:
                    return "timed out"
            case "group":
                async with anyio.create_task_group() as group:
                    for _ in range(2):
                        group.start_soon(self.tolerant)
                    await workflow.sleep(1)
                    group.cancel_scope.cancel()
                return "ended"
            case "group that fails":
                async with anyio.create_task_group() as group:
                    group.start_soon(self.tolerant)
                    group.start_soon(self.fails)
            case _:
                raise AssertionError(form)
        return ""

    async def tolerant(self) -> None:
        try:
            await _activity(_TYPES.WAIT_CANCELLATION_COMPLETED)
        except FailureError:
            return

    async def fails(self) -> None:
        await workflow.sleep(1)
        raise ApplicationError("no money")


def cancelled(seq: int) -> jobs.ResolveActivity:
    return jobs.ResolveActivity(seq=seq, result=jobs.Cancelled(activity_cancelled()))


def test_an_outer_scope_cancels_what_an_inner_one_awaits():
    run = Driver(Nested)
    assert names(run.start("outer")) == ["StartTimer", "StartTimer", "ScheduleActivity"]
    assert names(run.fire_timer(1)) == ["RequestCancelActivity"]
    assert result_of(run.activate(cancelled(1))[-1:]) == "True False"


def test_a_shielded_scope_is_not_cancelled():
    run = Driver(Nested)
    run.start("shielded")
    assert run.fire_timer(1) == []
    assert result_of(run.complete_activity(1, "done")[-1:]) == "True"


def test_fail_after_times_out_once_the_activity_has_ended():
    run = Driver(Nested)
    run.start("fail_after")
    assert names(run.fire_timer(1)) == ["RequestCancelActivity"]
    assert result_of(run.activate(cancelled(1))[-1:]) == "timed out"


def test_a_timeout_of_asyncio_around_a_scope_still_counts():
    run = Driver(Nested)
    run.start("asyncio.timeout around")
    run.fire_timer(2)
    assert names(run.activate(cancelled(1))) == ["StartTimer"]
    assert result_of(run.fire_timer(1)[-1:]) == "timed out"


def test_a_cancelled_task_group_awaits_its_tasks():
    run = Driver(Nested)
    run.start("group")
    assert names(run.fire_timer(1)) == ["RequestCancelActivity"] * 2
    assert run.activate(cancelled(1)) == []
    assert result_of(run.activate(cancelled(2))) == "ended"


def test_a_task_group_that_fails_cancels_the_others_and_fails_the_workflow():
    run = Driver(Nested)
    run.start("group that fails")
    assert names(run.fire_timer(1)) == ["RequestCancelActivity"]
    (failed,) = run.activate(cancelled(1))
    assert isinstance(failed, commands.FailWorkflow)
    assert "no money" in failed.failure.message


# ── the parts ─────────────────────────────────────────────────────────────────────────────────────


class _Scope:
    def deliver(self) -> None: ...

    def _deliver_cancellation(self) -> None: ...


def test_only_deliveries_of_anyio_are_recognised():
    assert not is_redelivery(print)
    assert not is_redelivery(_Scope().deliver)
    assert not is_redelivery(_Scope()._deliver_cancellation)
    assert not is_from_scope(asyncio.CancelledError())
    assert not is_from_scope(asyncio.CancelledError(7))
    assert not is_from_scope(asyncio.CancelledError("other"))
    assert is_from_scope(asyncio.CancelledError("Cancelled via cancel scope 7f"))


def test_a_delivery_is_held_back_until_something_happens():
    loop = asyncio.new_event_loop()
    held = Redeliveries()
    callback = cast("MethodType", _Scope().deliver)
    handle = asyncio.Handle(print, (), loop)
    assert held.take(handle, callback, 5)
    held.run(callback, ())
    # One step, the delivery itself: nothing else has happened.
    assert not held.take(handle, callback, 6)
    assert held.due(6, is_quiet=False) == []
    assert held.due(7, is_quiet=False) == [handle]
    assert held.due(8, is_quiet=True) == []
    gone = asyncio.Handle(print, (), loop)
    assert held.take(gone, callback, 8)
    assert not held.take(gone, callback, 8)
    gone.cancel()
    assert held.due(9, is_quiet=True) == []
    loop.close()
