"""Workflow tasks that fail or time out: what is history, transient attempts, pace of the retries (S-8 and S-9)."""

from __future__ import annotations

import pytest

from perdure.core.units import SECOND_NS
from perdure.history import transitions
from perdure.history.state.run_state import RunStatus
from perdure.wire.api import enums, workflowservice
from perdure.wire.errors import NotFound
from tests.unit.history.harness import (
    complete_workflow,
    event_kind,
    start_timer,
)
from tests.unit.history.workflow_tasks import failing_run, started_run

Cause = enums.WorkflowTaskFailedCause
FailedRequest = workflowservice.RespondWorkflowTaskFailedRequest


# Failures and transient attempts.


def test_rule_8_only_the_first_failure_is_history() -> None:
    run = failing_run(4)
    assert run.kinds == [
        "WorkflowExecutionStarted",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskFailed",
    ]
    assert run.event("WorkflowTaskFailed").failure.message == "history does not match"


def test_rule_8_a_transient_attempt_is_shown_and_written_when_it_completes() -> None:
    run = failing_run(3)
    task = run.poll_workflow(identity="w3")
    assert (task.attempt, task.started_event_id, task.last_event_id) == (3, 6, 4)
    scheduled, started = task.transient_events
    assert [event_kind(event) for event in task.transient_events] == [
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
    ]
    assert (scheduled.event_id, started.event_id) == (5, 6)
    assert scheduled.workflow_task_scheduled_event_attributes.attempt == 3
    assert run.kinds[-1] == "WorkflowTaskFailed"
    run.pass_time(SECOND_NS)
    run.complete(task, [start_timer()])
    assert run.kinds[4:] == [
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "TimerStarted",
    ]
    for shown, written in zip(task.transient_events, run.events[4:6], strict=True):
        written.task_id = shown.task_id
        assert shown == written, "the worker was shown what history then says"


def test_rule_8_new_events_make_a_waiting_transient_attempt_a_normal_task() -> None:
    run = failing_run(2)
    run.signal()
    task = run.poll_workflow()
    assert run.kinds[4:] == [
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
    ]
    assert (task.attempt, task.transient_events) == (1, ())
    run.complete(task)
    assert run.kinds[-1] == "WorkflowTaskCompleted"


def test_rule_8_the_history_tail_shows_transient_events_to_readers() -> None:
    run = failing_run(2)
    tail = transitions.tail(run.state, run.env)
    assert [event_kind(event) for event in tail.transient_events] == ["WorkflowTaskScheduled"]
    run.signal()
    assert transitions.tail(run.state, run.env).transient_events == ()


def test_rule_8_events_during_a_transient_attempt_wait_and_follow_it() -> None:
    run = failing_run(2)
    task = run.poll_workflow()
    run.signal()
    assert "WorkflowExecutionSignaled" not in run.kinds
    reply = run.complete(task)
    assert run.kinds[4:] == [
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
    ]
    assert reply.workflow_task is not None


def test_a_transient_attempt_survives_a_restart() -> None:
    run = failing_run(3)
    run.reload()
    task = run.poll_workflow()
    run.reload()
    run.complete(task, [complete_workflow()])
    assert run.state.status is RunStatus.COMPLETED


def test_a_response_too_large_for_grpc_terminates() -> None:
    run = started_run()
    request = FailedRequest(cause=Cause.WORKFLOW_TASK_FAILED_CAUSE_GRPC_MESSAGE_TOO_LARGE)
    request.failure.message = "5 MiB"
    run.do(transitions.fail_workflow_task, run.poll_workflow().token, request)
    assert run.kinds[-1] == "WorkflowExecutionTerminated"
    assert run.event("WorkflowExecutionTerminated").reason == "GrpcMessageTooLarge: 5 MiB"


# Time-outs.


def test_a_worker_that_does_not_answer_loses_its_task() -> None:
    run = started_run()
    task = run.poll_workflow()
    run.sleep(10 * SECOND_NS)
    timed_out = run.event("WorkflowTaskTimedOut")
    assert timed_out.timeout_type == enums.TIMEOUT_TYPE_START_TO_CLOSE
    assert (timed_out.scheduled_event_id, timed_out.started_event_id) == (2, 3)
    with pytest.raises(NotFound):
        run.complete(task)
    assert run.poll_workflow().attempt == 2


def test_rule_8_later_time_outs_are_not_history() -> None:
    run = started_run()
    for attempt in (1, 2, 3):
        assert run.poll_workflow().attempt == attempt
        run.sleep(10 * SECOND_NS)
    assert run.kinds.count("WorkflowTaskTimedOut") == 1


def test_rule_9_retries_are_paced_by_a_growing_time_out() -> None:
    run = started_run()
    timeouts = list[int]()
    for _ in range(12):
        run.poll_workflow()
        task = run.state.workflow_task
        assert task is not None
        timeouts.append(task.start_to_close_ns // SECOND_NS)
        run.sleep(task.start_to_close_ns)
    assert timeouts == [10, 10, 10, 15, 20, 30, 50, 90, 170, 330, 610, 610]


def test_a_time_out_flushes_what_waited() -> None:
    run = started_run()
    run.poll_workflow()
    run.signal()
    run.sleep(10 * SECOND_NS)
    assert run.kinds[3:] == [
        "WorkflowTaskTimedOut",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
    ]
    assert run.poll_workflow().attempt == 1
