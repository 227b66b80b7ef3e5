"""Activities, timers, children and external workflows: every way they end and are cancelled."""

from __future__ import annotations

import pytest

from perdure.replay import commands as cmd
from perdure.replay.failures import activity_cancelled
from perdure.replay.jobs import (
    Cancelled,
    ChildStarted,
    ChildStartFailed,
    Completed,
    Failed,
    FireTimer,
    ResolveActivity,
    ResolveCancelExternal,
    ResolveChild,
    ResolveChildStart,
    ResolveSignalExternal,
)
from perdure.replay.task import Fatal
from perdure.wire.api import common, enums, history
from perdure.wire.api import failure as failures
from tests.unit.replay.build import Driver, Events, activity, live, payload, script, timer
from tests.unit.replay.test_engine import types

TRY, WAIT, ABANDON = cmd.ActivityCancellationType
BROKE = failures.Failure(message="it broke")


def running(*, cancel: cmd.ActivityCancellationType, started: bool) -> tuple[Driver, Events, int]:
    """An activity that was cancelled in the task that a signal caused."""
    events = Events().start()
    scheduled = events.completed().activity()
    if started:
        events.add("ActivityTaskStarted", scheduled_event_id=scheduled)
    events.signal().task()
    driver = Driver(script([activity(cancel=cancel)], [cmd.RequestCancelActivity(seq=1)]))
    return driver, events, scheduled


def test_an_activity_resolves_with_its_result_and_failure() -> None:
    events = Events().start()
    first = events.completed().activity("1")
    second = events.activity("two", "ship")
    result = common.Payloads(payloads=[payload("paid")])
    events.activity_done(first, result=result).activity_done(second, "Failed", failure=BROKE).task()
    commands = [activity(1), cmd.ScheduleActivity(seq=2, activity_id="two", activity_type="ship")]
    driver = Driver(script(commands))
    driver.feed(live(events, previous=3))
    one, two = driver.seen[1].jobs
    assert one == ResolveActivity(1, Completed(payload("paid")))
    assert isinstance(two, ResolveActivity)
    assert isinstance(two.result, Failed)
    failure = two.result.failure
    assert failure.message == "Activity task failed"
    assert failure.cause == BROKE
    info = failure.activity_failure_info
    assert (info.activity_id, info.activity_type.name) == ("two", "ship")
    assert (info.scheduled_event_id, info.started_event_id) == (second, second + 3)
    assert driver.engine.pending_operations == 0


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize(
    ("cancel", "sent", "resolved"),
    [
        (TRY, ["REQUEST_CANCEL_ACTIVITY_TASK"], True),
        (WAIT, ["REQUEST_CANCEL_ACTIVITY_TASK"], False),
        (ABANDON, [], True),
    ],
)
def test_cancelling_a_scheduled_activity(
    cancel: cmd.ActivityCancellationType, sent: list[str], resolved: bool, started: bool
) -> None:
    driver, events, _ = running(cancel=cancel, started=started)
    answer = driver.feed(live(events, previous=3))
    assert types(answer) == sent
    assert (driver.jobs[2:] == [["ResolveActivity"]]) is resolved
    if resolved:
        job = driver.seen[2].jobs[0]
        assert isinstance(job, ResolveActivity)
        assert isinstance(job.result, Cancelled)
        assert job.result.failure.message == "Activity cancelled"
        assert job.result.failure.cause.HasField("canceled_failure_info")


@pytest.mark.parametrize("outcome", ["Completed", "Failed", "TimedOut", "Canceled"])
@pytest.mark.parametrize("cancel", [TRY, WAIT, ABANDON])
def test_what_a_cancelled_activity_does_later(
    cancel: cmd.ActivityCancellationType, outcome: str
) -> None:
    driver, events, scheduled = running(cancel=cancel, started=False)
    driver.feed(live(events, previous=3))
    driver.engine.task_reported()
    seen = len(driver.seen)
    first = len(events)
    events.completed()
    if cancel is not ABANDON:
        events.add("ActivityTaskCancelRequested", scheduled_event_id=scheduled)
    events.activity_done(scheduled, outcome).signal().task()
    driver.feed(live(events[first:], previous=first))
    assert driver.engine.error is None, "late events are the server's right"
    expected = ["SignalWorkflow"] + (["ResolveActivity"] if cancel is WAIT else [])
    assert driver.jobs[seen:] == [expected]
    assert driver.engine.pending_operations == 0


@pytest.mark.parametrize(
    "details", [None, common.Payloads(), common.Payloads(payloads=[payload()])]
)
def test_the_details_of_a_cancellation_are_those_of_its_event(
    details: common.Payloads | None,
) -> None:
    class Charge:
        command: cmd.ScheduleActivity = activity()
        activity_id = "a"

    event = history.ActivityTaskCanceledEventAttributes(
        details=details, scheduled_event_id=5, started_event_id=6, identity="w"
    )
    failure = activity_cancelled(Charge(), event)
    assert failure.cause.canceled_failure_info == failures.CanceledFailureInfo(details=details)
    info = failure.activity_failure_info
    assert (info.scheduled_event_id, info.started_event_id, info.identity) == (5, 6, "w")
    unsent = activity_cancelled(Charge()).cause
    assert not unsent.canceled_failure_info.HasField("details")


def test_an_activity_cancelled_in_its_own_task_never_leaves() -> None:
    driver = Driver(script([activity(), cmd.RequestCancelActivity(seq=1), timer()]))
    answer = driver.feed(live(Events().start()))
    assert types(answer) == ["START_TIMER"]
    assert driver.jobs == [["InitializeWorkflow"], ["ResolveActivity"]]


def test_a_command_taken_back_in_a_later_activation_of_its_task_never_leaves() -> None:
    cancelled = [activity(), activity(2), cmd.RequestCancelActivity(seq=1)]
    driver = Driver(script(cancelled, [cmd.RequestCancelActivity(seq=2)]))
    answer = driver.feed(live(Events().start()))
    assert types(answer) == []
    assert len(driver.seen) == 3


def test_two_result_payloads_are_fatal() -> None:
    events = Events().start()
    scheduled = events.completed().activity()
    two = common.Payloads(payloads=[payload("a"), payload("b")])
    events.activity_done(scheduled, result=two).task()
    driver = Driver(script([activity()])).replay(events)
    assert isinstance(driver.engine.error, Fatal)
    assert "exactly one is allowed" in driver.engine.error.message


def test_timers_fire_and_are_cancelled() -> None:
    events = Events().start()
    first = events.completed().timer("1")
    second = events.timer("2")
    events.fired(first).task()
    driver = Driver(script([timer(1), timer(2)], [cmd.CancelTimer(seq=1), cmd.CancelTimer(seq=2)]))
    answer = driver.feed(live(events, previous=3))
    assert driver.seen[1].jobs == (FireTimer(1),)
    assert types(answer) == ["CANCEL_TIMER"]
    driver.engine.task_reported()
    began = len(events)
    events.completed().add("TimerCanceled", timer_id="2", started_event_id=second)
    events.signal().task()
    driver.feed(live(events[began:], previous=began))
    assert driver.engine.error is None
    assert driver.engine.pending_operations == 0


# --- children ---

CHILD = cmd.ChildWorkflowCancellationType


def start_child(
    cancel: cmd.ChildWorkflowCancellationType = CHILD.ABANDON,
) -> cmd.StartChildWorkflow:
    return cmd.StartChildWorkflow(
        seq=1, workflow_id="child", workflow_type="Sub", cancellation_type=cancel
    )


def with_child(events: Events) -> int:
    return events.completed().add(
        "StartChildWorkflowExecutionInitiated",
        workflow_id="child",
        workflow_type=common.WorkflowType(name="Sub"),
    )


def child_started(events: Events, initiated: int) -> None:
    events.add(
        "ChildWorkflowExecutionStarted",
        initiated_event_id=initiated,
        workflow_execution=common.WorkflowExecution(workflow_id="child", run_id="child-run"),
    )


@pytest.mark.parametrize(
    ("outcome", "kind", "message"),
    [
        ("Completed", Completed, ""),
        ("Failed", Failed, "Child Workflow execution failed"),
        ("TimedOut", Failed, "Child Workflow execution timed out"),
        ("Canceled", Cancelled, "Child Workflow execution cancelled"),
        ("Terminated", Failed, "Child Workflow execution terminated"),
    ],
)
def test_a_child_starts_and_ends(outcome: str, kind: type, message: str) -> None:
    events = Events().start()
    initiated = with_child(events)
    child_started(events, initiated)
    events.add(f"ChildWorkflowExecution{outcome}", initiated_event_id=initiated)
    events.task()
    driver = Driver(script([start_child()]))
    driver.feed(live(events, previous=3))
    start, end = driver.seen[1].jobs
    assert start == ResolveChildStart(1, ChildStarted("child-run"))
    assert isinstance(end, ResolveChild)
    assert isinstance(end.result, kind)
    if isinstance(end.result, (Failed, Cancelled)):
        failure = end.result.failure
        assert failure.message == message
        info = failure.child_workflow_execution_failure_info
        assert info.workflow_execution.run_id == "child-run"
        assert info.initiated_event_id == initiated


def test_a_child_may_fail_to_start() -> None:
    events = Events().start()
    initiated = with_child(events)
    cause = enums.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS
    events.add("StartChildWorkflowExecutionFailed", initiated_event_id=initiated, cause=cause)
    events.task()
    driver = Driver(script([start_child()]))
    driver.feed(live(events, previous=3))
    assert driver.seen[1].jobs == (
        ResolveChildStart(1, ChildStartFailed("child", "Sub", int(cause))),
    )


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize(
    ("cancel", "sent", "resolved"),
    [
        (CHILD.ABANDON, 0, True),
        (CHILD.TRY_CANCEL, 1, True),
        (CHILD.WAIT_CANCELLATION_COMPLETED, 1, False),
        (CHILD.WAIT_CANCELLATION_REQUESTED, 1, False),
    ],
)
def test_cancelling_a_child(
    cancel: cmd.ChildWorkflowCancellationType, sent: int, resolved: bool, started: bool
) -> None:
    events = Events().start()
    initiated = with_child(events)
    if started:
        child_started(events, initiated)
    events.signal().task()
    driver = Driver(
        script([start_child(cancel)], [cmd.CancelChildWorkflow(seq=1, reason="enough")])
    )
    answer = driver.feed(live(events, previous=3))
    assert types(answer) == ["REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION"] * sent
    if sent:
        request = answer.commands[0].request_cancel_external_workflow_execution_command_attributes
        assert request.child_workflow_only
        assert request.reason == "enough"
        assert request.run_id == ("child-run" if started else "")
    assert (driver.jobs[2:] == [["ResolveChild"]]) is resolved
    driver.engine.task_reported()
    began = len(events)
    events.completed()
    if sent:
        request_id = events.add("RequestCancelExternalWorkflowExecutionInitiated")
        events.add("ExternalWorkflowExecutionCancelRequested", initiated_event_id=request_id)
    if not started:
        child_started(events, initiated)
    events.add("ChildWorkflowExecutionCompleted", initiated_event_id=initiated)
    events.signal().task()
    seen = len(driver.seen)
    driver.feed(live(events[began:], previous=began))
    assert driver.engine.error is None
    resolutions = [name for name in driver.jobs[seen] if name != "SignalWorkflow"]
    late = ([] if started else ["ResolveChildStart"]) + ["ResolveChild"]
    assert resolutions == ([] if resolved else late)


def test_a_child_cancelled_in_its_own_task_never_leaves() -> None:
    driver = Driver(script([start_child(), cmd.CancelChildWorkflow(seq=1, reason="why")]))
    answer = driver.feed(live(Events().start()))
    assert types(answer) == []
    job = driver.seen[1].jobs[0]
    assert isinstance(job, ResolveChildStart)
    assert isinstance(job.outcome, Cancelled)
    expected = "Child Workflow Execution cancelled before scheduled: why"
    assert job.outcome.failure.message == expected


# --- other workflows ---


def test_signals_to_other_workflows() -> None:
    events = Events().start()
    first = events.completed().add("SignalExternalWorkflowExecutionInitiated")
    second = events.add("SignalExternalWorkflowExecutionInitiated")
    events.add("ExternalWorkflowExecutionSignaled", initiated_event_id=first)
    events.add("SignalExternalWorkflowExecutionFailed", initiated_event_id=second, cause=1)
    events.task()
    signals = [cmd.SignalExternal(seq=n, workflow_id="other", signal_name="go") for n in (1, 2, 3)]
    driver = Driver(script([*signals, cmd.CancelSignalExternal(seq=3)]))
    driver.feed(live(events, previous=3))
    assert driver.jobs[:2] == [["InitializeWorkflow"], ["ResolveSignalExternal"]]
    taken_back = driver.seen[1].jobs[0]
    assert isinstance(taken_back, ResolveSignalExternal)
    assert taken_back.failure is not None
    assert taken_back.failure.message == "Signal was cancelled before being sent"
    delivered, failed = driver.seen[2].jobs
    assert delivered == ResolveSignalExternal(1, None)
    assert isinstance(failed, ResolveSignalExternal)
    assert failed.failure is not None
    assert failed.failure.message == "Unable to signal external workflow because it was not found"
    assert failed.cause == 1


def test_cancel_requests_to_other_workflows() -> None:
    events = Events().start()
    first = events.completed().add("RequestCancelExternalWorkflowExecutionInitiated")
    second = events.add("RequestCancelExternalWorkflowExecutionInitiated")
    events.add("ExternalWorkflowExecutionCancelRequested", initiated_event_id=first)
    failed_type = "RequestCancelExternalWorkflowExecutionFailed"
    events.add(failed_type, initiated_event_id=second, cause=1)
    events.task()
    requests = [cmd.RequestCancelExternal(seq=n, workflow_id="o", reason="r") for n in (1, 2)]
    driver = Driver(script(requests))
    driver.feed(live(events, previous=3))
    done, failed = driver.seen[1].jobs
    assert done == ResolveCancelExternal(1, None)
    assert isinstance(failed, ResolveCancelExternal)
    assert failed.failure is not None
    assert failed.failure.message == "Unable to cancel external workflow because not found"


def test_the_reason_of_a_cancel_request_names_the_run() -> None:
    driver = Driver(script([cmd.RequestCancelExternal(seq=1, workflow_id="o", reason="late")]))
    answer = driver.feed(live(Events().start()))
    attributes = answer.commands[0].request_cancel_external_workflow_execution_command_attributes
    assert attributes.reason == ("Cancel requested by workflow with run id run-1 with reason: late")
