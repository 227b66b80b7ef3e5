"""Workflow tasks: taken, completed; limits. Not here: failures (`..._retry`), queues and heartbeats (`..._sticky`)."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.core.ids import QueueKind
from perdure.core.limits import Limits
from perdure.core.units import SECOND_NS
from perdure.entity.workers import PollInfo, StaleTask
from perdure.history import transitions
from perdure.history.commands.table import HANDLERS
from perdure.history.draft.tokens import WorkflowTaskToken
from perdure.history.state.facts import WorkflowTaskKind
from perdure.history.state.run_state import RunStatus
from perdure.wire.api import common, enums, sdk, workflowservice
from perdure.wire.errors import InvalidArgument, NotFound
from perdure.wire.times import duration_ns
from tests.harness.builders import cancel_timer
from tests.unit.history.harness import (
    QUEUE,
    STICKY,
    Run,
    complete_workflow,
    schedule_activity,
    start_request,
    start_timer,
)
from tests.unit.history.workflow_tasks import fail, failing_run, started_run

Cause = enums.WorkflowTaskFailedCause
FailedRequest = workflowservice.RespondWorkflowTaskFailedRequest


# Delivery.


def test_a_poll_starts_the_task_and_gets_the_history() -> None:
    run = started_run()
    reply = run.poll_workflow(identity="me")
    assert run.kinds[-1] == "WorkflowTaskStarted"
    assert (reply.first_event_id, reply.last_event_id) == (1, 3)
    assert (reply.previous_started_event_id, reply.started_event_id) == (0, 3)
    assert (reply.attempt, reply.is_sticky, reply.queue_name) == (1, False, QUEUE)
    assert reply.workflow_type == "Greeting"
    assert run.event("WorkflowTaskStarted").identity == "me"
    assert not run.tasks, "the transition that starts a task removes its row"


def test_a_repeated_start_is_the_same_start() -> None:
    run = started_run()
    ((row, task),) = run.tasks.items()
    poll = PollInfo(identity="worker", request_id="poll")
    first = run.do(transitions.start_workflow_task, task, row, poll)
    again = run.do(transitions.start_workflow_task, task, None, poll)
    assert again.token == first.token
    other = PollInfo(identity="other", request_id="other")
    assert run.do(transitions.start_workflow_task, task, None, other) == StaleTask()


def test_a_stale_task_only_loses_its_row() -> None:
    run = started_run()
    run.do(transitions.terminate, workflowservice.TerminateWorkflowExecutionRequest())
    assert run.tasks
    assert run.poll() is None
    assert not run.tasks


def test_redelivery_is_the_same_token_with_the_full_history() -> None:
    run = started_run()
    assert transitions.redeliver(run.state, run.env) is None
    run.step(start_timer(ns=SECOND_NS))
    run.sleep(SECOND_NS)
    first = run.poll_workflow(STICKY)
    assert first.first_event_id == 4
    again = transitions.redeliver(run.state, run.env)
    assert again is not None
    assert again.token == first.token
    assert (again.first_event_id, again.is_sticky) == (1, False)


# Completion.


def test_rule_1_command_events_name_the_completed_event_and_follow_their_order() -> None:
    run = started_run()
    run.step(schedule_activity("a"), start_timer("t"))
    assert run.kinds[3:] == ["WorkflowTaskCompleted", "ActivityTaskScheduled", "TimerStarted"]
    for kind in ("ActivityTaskScheduled", "TimerStarted"):
        assert run.event(kind).workflow_task_completed_event_id == 4
    completed = run.event("WorkflowTaskCompleted")
    assert (completed.scheduled_event_id, completed.started_event_id) == (2, 3)


def test_the_completed_event_carries_what_replay_needs() -> None:
    run = started_run()
    metadata = sdk.WorkflowTaskCompletedMetadata(
        lang_used_flags=[3], sdk_name="perdure", sdk_version="1"
    )
    run.step(sdk_metadata=metadata, binary_checksum="build")
    completed = run.event("WorkflowTaskCompleted")
    assert completed.sdk_metadata == metadata
    assert completed.binary_checksum == "build"


@pytest.mark.parametrize(
    ("fields", "build_id"),
    [
        ({}, ""),
        ({"binary_checksum": "sum"}, "sum"),
        ({"binary_checksum": "sum", "deployment_options": {"build_id": "options"}}, "options"),
        (
            {
                "deployment_options": {"build_id": "options"},
                "worker_version_stamp": {"build_id": "stamp"},
            },
            "stamp",
        ),
    ],
)
def test_the_completed_event_names_the_build(fields: dict[str, Any], build_id: str) -> None:
    run = started_run()
    run.step(start_timer(), **fields)
    written = run.event("WorkflowTaskCompleted")
    assert written.worker_version.build_id == build_id
    assert written.HasField("worker_version") == bool(build_id)


@pytest.mark.parametrize(
    "field", ["scheduled_event_id", "started_event_id", "attempt", "started_ns"]
)
def test_rule_13_a_token_of_another_task_is_not_found(field: str) -> None:
    run = started_run()
    token = run.poll_workflow().token
    values = {name: getattr(token, name) for name in token.__struct_fields__}
    wrong = WorkflowTaskToken(**(values | {field: values[field] + 1}))
    with pytest.raises(NotFound, match=r"Workflow task not found\."):
        run.complete(wrong)
    with pytest.raises(NotFound, match=r"Workflow task not found\."):
        run.do(transitions.fail_workflow_task, wrong, FailedRequest())


def test_rule_13_a_closed_run_has_no_tasks() -> None:
    run = started_run()
    task = run.poll_workflow()
    run.do(transitions.terminate, workflowservice.TerminateWorkflowExecutionRequest())
    with pytest.raises(NotFound, match="Workflow task not found"):
        run.complete(task)
    with pytest.raises(NotFound, match="already completed"):
        fail(run, task)


def test_rule_6_the_first_completion_counts() -> None:
    run = started_run()
    run.step(complete_workflow("first"), complete_workflow("second"), start_timer())
    assert run.kinds[4:] == ["WorkflowExecutionCompleted"]
    assert b"first" in run.event("WorkflowExecutionCompleted").result.payloads[0].data


def test_rule_4_a_completion_with_unseen_events_fails_the_task_and_applies_nothing() -> None:
    run = started_run()
    task = run.poll_workflow()
    run.signal()
    with pytest.raises(InvalidArgument, match=r"^UnhandledCommand$"):
        run.complete(task, [start_timer(), complete_workflow()])
    assert run.kinds[3:] == [
        "WorkflowTaskFailed",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
    ]
    failed = run.event("WorkflowTaskFailed")
    assert failed.cause == Cause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
    assert run.state.is_running
    assert not run.state.timers
    run.step(complete_workflow())
    assert run.state.status is RunStatus.COMPLETED


def test_rule_4_holds_for_a_transient_attempt_too() -> None:
    run = failing_run(2)
    task = run.poll_workflow()
    run.signal()
    with pytest.raises(InvalidArgument, match="UnhandledCommand"):
        run.complete(task, [complete_workflow()])
    # No WorkflowTaskFailed: it would have no Scheduled and Started. What came meanwhile makes a normal task.
    assert run.kinds[4:] == ["WorkflowExecutionSignaled", "WorkflowTaskScheduled"]
    pending = run.state.workflow_task
    assert pending is not None
    assert (pending.attempt, pending.kind) == (1, WorkflowTaskKind.NORMAL)


def test_rule_5_a_cancelled_timer_that_fired_meanwhile_does_not_block_completion() -> None:
    run = started_run()
    run.step(start_timer("t", SECOND_NS))
    run.signal()
    task = run.poll_workflow(STICKY)
    run.sleep(SECOND_NS)
    assert run.state.buffered
    run.complete(task, [cancel_timer("t"), complete_workflow()])
    assert run.state.status is RunStatus.COMPLETED
    assert "TimerFired" not in run.kinds
    assert run.kinds[-2:] == ["TimerCanceled", "WorkflowExecutionCompleted"]


def test_rule_7_bad_attributes_fail_the_task_with_the_cause() -> None:
    run = started_run()
    with pytest.raises(InvalidArgument, match=r"^StartTimerDuplicateId: "):
        run.step(schedule_activity(), start_timer("t"), start_timer("t"))
    failed = run.event("WorkflowTaskFailed")
    assert failed.cause == Cause.WORKFLOW_TASK_FAILED_CAUSE_START_TIMER_DUPLICATE_ID
    assert failed.failure.message.startswith("StartTimerDuplicateId: ")
    assert failed.failure.HasField("server_failure_info")
    assert not run.state.activities
    assert not run.state.timers
    assert run.kinds[-1] == "WorkflowTaskFailed"


def test_rule_7_a_repeated_attempt_with_bad_attributes_writes_nothing() -> None:
    run = failing_run(2)
    task = run.poll_workflow()
    before = run.kinds
    with pytest.raises(InvalidArgument, match="StartTimerDuplicateId"):
        run.complete(task, [start_timer("t"), start_timer("t")])
    assert run.kinds == before
    assert run.state.workflow_task_is_started, "its time-out paces the retries"


def test_rule_7_an_oversized_payload_terminates_the_run() -> None:
    run = started_run(Limits(blob_size_bytes_max=100))
    with pytest.raises(InvalidArgument, match="exceeds size limit"):
        run.step(complete_workflow("x" * 200))
    assert run.kinds[3:] == ["WorkflowTaskFailed", "WorkflowExecutionTerminated"]
    assert run.state.status is RunStatus.TERMINATED


# Limits.


def test_started_events_suggest_to_continue_as_new() -> None:
    run = started_run(Limits(history_count_suggest_continue=3))
    run.poll_workflow()
    started = run.event("WorkflowTaskStarted")
    assert started.suggest_continue_as_new
    assert list(started.suggest_continue_as_new_reasons) == [
        enums.SUGGEST_CONTINUE_AS_NEW_REASON_TOO_MANY_HISTORY_EVENTS
    ]
    assert 0 < started.history_size_bytes < run.state.history_size_bytes


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(history_count_max=4), "Workflow history count exceeds limit."),
        (Limits(history_size_bytes_max=200), "Workflow history size exceeds limit."),
    ],
    ids=["count", "size"],
)
def test_a_history_over_its_limit_is_terminated(limits: Limits, reason: str) -> None:
    run = started_run(limits)
    run.step(start_timer())
    assert run.state.status is RunStatus.TERMINATED
    assert run.event("WorkflowExecutionTerminated").reason == reason


def test_a_history_over_its_limit_is_terminated_although_the_process_died_first() -> None:
    run = started_run(Limits(history_count_max=4))
    for number in range(3):
        run.signal(request_id=str(number))
    assert run.state.is_running
    run.reload()
    run.pass_time(run.wake_at_ns - run.now_ns)
    run.wake()
    assert run.state.status is RunStatus.TERMINATED
    assert (
        run.event("WorkflowExecutionTerminated").reason == "Workflow history count exceeds limit."
    )


def test_priority_and_queue_kind_of_the_task() -> None:
    run = Run()
    run.start(start_request(priority=common.Priority(priority_key=1)))
    (task,) = run.tasks.values()
    assert (task.priority, task.queue.kind) == (1, QueueKind.WORKFLOW)


def test_the_scheduled_event_says_the_time_out() -> None:
    run = started_run()
    assert duration_ns(run.event("WorkflowTaskScheduled").start_to_close_timeout) == 10 * SECOND_NS


def test_an_abandoned_completion_leaves_the_run_as_it_was() -> None:
    run = started_run()
    task = run.poll_workflow()
    before = run.state.snapshot()

    def explode(*_arguments: object) -> None:
        raise RuntimeError("a bug")

    broken = start_timer("t")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(HANDLERS, int(broken.command_type), explode)
        with pytest.raises(RuntimeError):
            run.complete(task, [schedule_activity(), broken])
    assert run.state.snapshot() == before
    run.complete(task, [schedule_activity(), broken])
