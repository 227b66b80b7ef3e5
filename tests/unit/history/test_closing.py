"""The ends of a run: by command, by the caller, by time; and what is left of it."""

from __future__ import annotations

import pytest

from perdure.core.limits import DEFAULT_LIMITS
from perdure.core.units import MINUTE_NS, SECOND_NS
from perdure.history import transitions
from perdure.history.state.facts import FactKind
from perdure.history.state.run_state import RunStatus
from perdure.wire.api import command as commands_api
from perdure.wire.api import enums, failure, workflowservice
from perdure.wire.errors import InvalidArgument, NotFound
from perdure.wire.times import duration
from tests.harness.builders import json_payloads
from tests.unit.history.harness import (
    STICKY,
    Run,
    command,
    complete_workflow,
    schedule_activity,
    start_request,
    start_timer,
)

Terminate = workflowservice.TerminateWorkflowExecutionRequest


def busy_run(**start: object) -> Run:
    """Sticky, with a timer, a started activity, a started workflow task and a signal that waits for it."""
    run = Run()
    run.start(start_request(**start))
    run.step(start_timer("t", 3600 * SECOND_NS), schedule_activity("a"))
    run.signal("first")
    run.poll_activity()
    run.poll_workflow(STICKY)
    run.signal("second")
    return run


def check_closed(run: Run, status: RunStatus) -> None:
    assert run.state.status is status
    assert run.current is not None
    assert (run.current.status, run.current.close_ns) == (status, run.now_ns)
    assert run.delete_at_ns == run.now_ns + DEFAULT_LIMITS.retention_default_ns
    assert run.last is not None
    assert run.last.delete_at_ns is not None
    assert run.last.visibility is not None
    assert run.last.visibility.status == status
    assert run.last.visibility.history_length == len(run.events)
    # Of the facts only those remain that answer repeated requests.
    assert {kind for kind, _ in run.facts} <= {FactKind.CREATE, FactKind.CANCEL_REQUEST}
    run.wake()
    assert run.wake_at_ns == 0


def test_complete() -> None:
    run = Run()
    run.start()
    run.step(schedule_activity(), complete_workflow("Hello"))
    closed = run.event("WorkflowExecutionCompleted")
    assert closed.result == json_payloads("Hello")
    assert closed.workflow_task_completed_event_id == 4
    check_closed(run, RunStatus.COMPLETED)


def test_fail() -> None:
    run = Run()
    run.start()
    reason = failure.Failure(message="no stock")
    attributes = commands_api.FailWorkflowExecutionCommandAttributes(failure=reason)
    run.step(command(fail_workflow_execution_command_attributes=attributes))
    closed = run.event("WorkflowExecutionFailed")
    assert closed.failure == reason
    assert closed.retry_state == enums.RETRY_STATE_RETRY_POLICY_NOT_SET
    check_closed(run, RunStatus.FAILED)


def test_a_failure_without_failure_is_bad_attributes() -> None:
    run = Run()
    run.start()
    attributes = commands_api.FailWorkflowExecutionCommandAttributes()
    with pytest.raises(InvalidArgument, match=r"^BadFailWorkflowExecutionAttributes: "):
        run.step(command(fail_workflow_execution_command_attributes=attributes))


def test_cancel() -> None:
    run = Run()
    run.start()
    attributes = commands_api.CancelWorkflowExecutionCommandAttributes(details=json_payloads("why"))
    run.step(command(cancel_workflow_execution_command_attributes=attributes))
    assert run.event("WorkflowExecutionCanceled").details == json_payloads("why")
    check_closed(run, RunStatus.CANCELED)


def test_terminate_fails_the_started_task_and_keeps_what_waited() -> None:
    run = busy_run()
    run.do(
        transitions.terminate, Terminate(reason="enough", identity="op", details=json_payloads("d"))
    )
    assert run.kinds[-3:] == [
        "WorkflowTaskFailed",
        "WorkflowExecutionSignaled",
        "WorkflowExecutionTerminated",
    ]
    cause = run.event("WorkflowTaskFailed").cause
    assert cause == enums.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND
    closed = run.event("WorkflowExecutionTerminated")
    assert (closed.reason, closed.identity) == ("enough", "op")
    check_closed(run, RunStatus.TERMINATED)


def test_rule_24_terminate_of_a_closed_run_is_not_found() -> None:
    run = busy_run()
    run.do(transitions.terminate, Terminate())
    with pytest.raises(NotFound, match="already completed"):
        run.do(transitions.terminate, Terminate())


def test_terminate_means_the_chain_that_it_names() -> None:
    run = busy_run()
    with pytest.raises(NotFound, match="not found"):
        run.do(transitions.terminate, Terminate(first_execution_run_id="other"))
    first = run.state.info.first_run_id
    run.do(transitions.terminate, Terminate(first_execution_run_id=first))
    assert not run.state.is_running


def test_a_run_time_out() -> None:
    run = busy_run(workflow_run_timeout=duration(5 * SECOND_NS))
    run.sleep(5 * SECOND_NS)
    assert run.kinds[-1] == "WorkflowExecutionTimedOut"
    retry_state = run.event("WorkflowExecutionTimedOut").retry_state
    assert retry_state == enums.RETRY_STATE_RETRY_POLICY_NOT_SET
    check_closed(run, RunStatus.TIMED_OUT)


def test_the_time_of_a_run_starts_after_its_delay() -> None:
    run = Run()
    run.start(
        start_request(
            workflow_start_delay=duration(MINUTE_NS),
            workflow_run_timeout=duration(5 * SECOND_NS),
        )
    )
    run.sleep(MINUTE_NS + 4 * SECOND_NS)
    assert run.state.is_running
    run.sleep(SECOND_NS)
    assert run.state.status is RunStatus.TIMED_OUT


def test_a_run_that_times_out_while_nothing_happens_needs_no_worker() -> None:
    run = Run()
    run.start(start_request(workflow_execution_timeout=duration(MINUTE_NS)))
    run.reload()
    run.sleep(2 * MINUTE_NS)
    assert run.state.status is RunStatus.TIMED_OUT
    assert run.state.close_ns == run.state.info.start_ns + MINUTE_NS


# Wake-ups.


def test_an_early_wake_up_only_arms_the_next() -> None:
    run = Run()
    run.start()
    task = run.poll_workflow()
    task_time_out_ns = run.wake_at_ns
    run.complete(task, [start_timer("late", 3600 * SECOND_NS)])
    before = run.kinds
    run.now_ns = task_time_out_ns
    run.wake()
    assert run.kinds == before
    assert run.wake_at_ns == run.state.timers["late"].fire_ns


def test_late_timers_fire_at_once_and_in_order() -> None:
    run = Run()
    run.start()
    run.step(start_timer("b", 20 * SECOND_NS), start_timer("a", 10 * SECOND_NS))
    run.pass_time(3600 * SECOND_NS)
    run.reload()
    run.wake()
    fired = [
        event.timer_fired_event_attributes.timer_id
        for event in run.events
        if event.HasField("timer_fired_event_attributes")
    ]
    assert fired == ["a", "b"]
    assert run.kinds[-1] == "WorkflowTaskScheduled"
    assert run.kinds.count("WorkflowTaskScheduled") == 2


def test_a_wake_up_that_fails_loses_no_deadline() -> None:
    run = Run()
    run.start()
    run.step(start_timer("1", SECOND_NS), start_timer("2", 2 * SECOND_NS))
    run.pass_time(MINUTE_NS)
    before = run.state.snapshot()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("perdure.history.timer.schedule_workflow_task", _explode)
        with pytest.raises(RuntimeError):
            transitions.wake(run.state, run.env)
    assert run.state.snapshot() == before
    run.check()
    run.wake()
    assert run.kinds.count("TimerFired") == 2


def _explode(*_arguments: object) -> None:
    raise RuntimeError("a bug")


def test_deadlines_of_finished_steps_do_not_pile_up() -> None:
    run = Run()
    run.start()
    for _ in range(50):
        run.step()
        run.signal()
    assert len(run.state.deadlines) < 80, "two per workflow task, were they never dropped"
