"""Runs that follow runs: continue-as-new and workflow retries (S-36)."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.core.limits import DEFAULT_LIMITS, Limits
from perdure.core.units import HOUR_NS, MINUTE_NS, SECOND_NS
from perdure.history.state.run_state import RunStatus
from perdure.wire.api import command as commands_api
from perdure.wire.api import common, enums, failure, taskqueue
from perdure.wire.errors import InvalidArgument
from perdure.wire.times import duration, duration_ns, timestamp_ns
from tests.harness.builders import json_payloads
from tests.unit.history.harness import STICKY, T0_NS, Run, command, start_request, start_timer

ContinueAsNew = commands_api.ContinueAsNewWorkflowExecutionCommandAttributes


def continue_as_new(**fields: Any) -> commands_api.Command:
    attributes = ContinueAsNew(**fields)
    return command(continue_as_new_workflow_execution_command_attributes=attributes)


def fail_workflow(**info: Any) -> commands_api.Command:
    reason = failure.Failure(
        message="no", application_failure_info=failure.ApplicationFailureInfo(**info)
    )
    attributes = commands_api.FailWorkflowExecutionCommandAttributes(failure=reason)
    return command(fail_workflow_execution_command_attributes=attributes)


def started_run(**fields: Any) -> Run:
    run = Run()
    run.start(start_request(**fields))
    return run


def follower(run: Run) -> Run:
    """The next run, after checks that hold for every chain."""
    new = run.successor
    assert new is not None
    assert not run.state.is_running
    assert run.last is not None
    assert run.last.current is None, "the pointer goes to the new run"
    assert new.current is not None
    assert new.current.run_id == new.state.key.run_id != run.state.key.run_id
    started = new.event("WorkflowExecutionStarted")
    assert started.continued_execution_run_id == run.state.key.run_id
    assert started.original_execution_run_id == new.state.key.run_id
    assert started.first_execution_run_id == run.state.info.first_run_id
    assert not started.HasField("root_workflow_execution"), "a run without a parent is its own"
    assert new.state.create_request_id
    return new


def test_rule_36_continue_as_new_starts_the_next_run_in_the_same_commit() -> None:
    run = started_run(
        workflow_execution_timeout=duration(HOUR_NS), priority=common.Priority(priority_key=2)
    )
    run.pass_time(MINUTE_NS)
    memo = common.Memo(fields={"a": common.Payload(data=b"1")})
    run.step(
        start_timer(),
        continue_as_new(
            input=json_payloads("more"),
            memo=memo,
            task_queue=taskqueue.TaskQueue(name="elsewhere"),
            retry_policy=common.RetryPolicy(maximum_attempts=3),
        ),
    )
    assert run.state.status is RunStatus.CONTINUED_AS_NEW
    new = follower(run)
    closed = run.event("WorkflowExecutionContinuedAsNew")
    assert closed.new_execution_run_id == new.state.key.run_id
    assert closed.initiator == enums.CONTINUE_AS_NEW_INITIATOR_WORKFLOW
    assert (closed.workflow_type.name, closed.task_queue.name) == ("Greeting", "elsewhere")
    started = new.event("WorkflowExecutionStarted")
    assert (started.input, started.memo) == (json_payloads("more"), memo)
    assert started.attempt == 1
    assert started.retry_policy.maximum_attempts == 3
    assert duration_ns(started.first_workflow_task_backoff) == 0
    assert timestamp_ns(started.workflow_execution_expiration_time) == T0_NS + HOUR_NS
    assert started.priority.priority_key == 2
    assert new.kinds[1:] == ["WorkflowTaskScheduled"]
    assert new.poll_workflow("elsewhere").first_event_id == 1


def test_rule_36_a_chain_of_very_short_runs_is_slowed_down() -> None:
    run = started_run()
    run.pass_time(SECOND_NS // 4)
    run.step(continue_as_new())
    new = follower(run)
    assert new.kinds == ["WorkflowExecutionStarted"]
    assert new.state.info.first_task_backoff_ns == SECOND_NS * 3 // 4
    new.sleep(SECOND_NS * 3 // 4)
    assert new.kinds[1:] == ["WorkflowTaskScheduled"]


def test_rule_36_the_execution_time_out_spans_the_chain() -> None:
    run = started_run(workflow_execution_timeout=duration(MINUTE_NS))
    run.pass_time(40 * SECOND_NS)
    run.step(continue_as_new())
    new = follower(run)
    new.sleep(20 * SECOND_NS)
    assert new.state.status is RunStatus.TIMED_OUT


def test_rule_4_continue_as_new_waits_for_unseen_events() -> None:
    run = started_run()
    run.step()
    run.signal("a")
    task = run.poll_workflow(STICKY)
    run.signal("b")
    with pytest.raises(InvalidArgument, match="UnhandledCommand"):
        run.complete(task, [continue_as_new()])
    assert run.successor is None


@pytest.mark.parametrize(
    "fields",
    [
        {"workflow_type": common.WorkflowType(name="x" * 2_000)},
        {"workflow_run_timeout": duration(-1)},
        {"retry_policy": common.RetryPolicy(backoff_coefficient=0.1)},
        {"cron_schedule": "* * * * *"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_rule_7_bad_continue_as_new_attributes(fields: dict[str, Any]) -> None:
    run = started_run()
    with pytest.raises(InvalidArgument, match=r"^BadContinueAsNewAttributes: "):
        run.step(continue_as_new(**fields))
    assert run.successor is None
    assert run.state.is_running


def test_rule_7_the_memo_of_the_next_run_has_the_limit_of_memos() -> None:
    memo = common.Memo(fields={"m": common.Payload(data=b"x" * 50)})
    for limits, is_refused in (
        (Limits(memo_size_bytes_max=memo.ByteSize() - 1), True),
        (Limits(memo_size_bytes_max=memo.ByteSize(), blob_size_bytes_max=20), False),
    ):
        run = Run(limits=limits)
        run.start(start_request())
        if not is_refused:
            run.step(continue_as_new(memo=memo))
            assert follower(run).state.is_running
            continue
        text = "ContinueAsNewWorkflowExecutionCommandAttributes. Memo exceeds size limit."
        with pytest.raises(InvalidArgument, match=rf"^BadContinueAsNewAttributes: {text}$"):
            run.step(continue_as_new(memo=memo))
        assert run.successor is None
        assert run.state.status is RunStatus.TERMINATED


def test_rule_36_a_failed_run_with_a_policy_is_tried_again() -> None:
    policy = common.RetryPolicy(initial_interval=duration(5 * SECOND_NS), maximum_attempts=2)
    run = started_run(input=json_payloads("Ada"), retry_policy=policy)
    run.pass_time(MINUTE_NS)
    run.step(fail_workflow(type="E"))
    closed = run.event("WorkflowExecutionFailed")
    assert closed.retry_state == enums.RETRY_STATE_IN_PROGRESS
    second = follower(run)
    assert closed.new_execution_run_id == second.state.key.run_id
    started = second.event("WorkflowExecutionStarted")
    assert (started.attempt, started.input) == (2, json_payloads("Ada"))
    assert started.initiator == enums.CONTINUE_AS_NEW_INITIATOR_RETRY
    assert started.continued_failure.message == "no"
    assert second.kinds == ["WorkflowExecutionStarted"]
    second.sleep(5 * SECOND_NS)
    second.step(fail_workflow(type="E"))
    last = second.event("WorkflowExecutionFailed")
    assert last.retry_state == enums.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED
    assert last.new_execution_run_id == ""
    assert second.successor is None
    assert second.state.status is RunStatus.FAILED


def test_a_non_retryable_failure_is_final() -> None:
    run = started_run(retry_policy=common.RetryPolicy(non_retryable_error_types=["Fatal"]))
    run.step(fail_workflow(type="Fatal"))
    retry_state = run.event("WorkflowExecutionFailed").retry_state
    assert retry_state == enums.RETRY_STATE_NON_RETRYABLE_FAILURE
    assert run.successor is None


def test_a_run_time_out_is_retried_but_not_an_execution_time_out() -> None:
    run = started_run(
        retry_policy=common.RetryPolicy(),
        workflow_run_timeout=duration(10 * SECOND_NS),
        workflow_execution_timeout=duration(15 * SECOND_NS),
    )
    run.sleep(10 * SECOND_NS)
    closed = run.event("WorkflowExecutionTimedOut")
    assert closed.retry_state == enums.RETRY_STATE_IN_PROGRESS
    second = follower(run)
    assert closed.new_execution_run_id == second.state.key.run_id
    second.sleep(MINUTE_NS)
    assert second.event("WorkflowExecutionTimedOut").retry_state == enums.RETRY_STATE_TIMEOUT
    assert second.successor is None


def test_no_retry_begins_after_the_execution_time_out() -> None:
    run = started_run(
        retry_policy=common.RetryPolicy(initial_interval=duration(MINUTE_NS)),
        workflow_execution_timeout=duration(30 * SECOND_NS),
    )
    run.step(fail_workflow())
    assert run.event("WorkflowExecutionFailed").retry_state == enums.RETRY_STATE_TIMEOUT
    assert run.successor is None


def test_the_interval_between_runs_is_a_limit() -> None:
    assert DEFAULT_LIMITS.run_interval_min_ns == SECOND_NS
    run = Run(limits=Limits(run_interval_min_ns=0))
    run.start()
    run.step(continue_as_new())
    assert follower(run).kinds[1:] == ["WorkflowTaskScheduled"]
