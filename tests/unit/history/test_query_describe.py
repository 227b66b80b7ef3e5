"""What can be asked of a run: query routes and DescribeWorkflowExecution."""

from __future__ import annotations

import pytest

from perdure.core.units import MINUTE_NS, SECOND_NS
from perdure.history import transitions
from perdure.wire.api import common, enums, errordetails, failure, sdk, workflowservice
from perdure.wire.errors import FailedPrecondition
from perdure.wire.times import duration, timestamp
from tests.harness.builders import json_payloads
from tests.unit.history.harness import (
    QUEUE,
    T0_NS,
    Run,
    complete_workflow,
    schedule_activity,
    start_request,
    start_timer,
)

Route = transitions.QueryRoute
FailedRequest = workflowservice.RespondActivityTaskFailedRequest


def started_run(**fields: object) -> Run:
    run = Run()
    run.start(start_request(**fields))
    return run


def route(run: Run, patience_ns: int = 10 * SECOND_NS) -> transitions.QueryRoute:
    return transitions.query_route(run.state, run.now_ns + patience_ns)


def test_rule_39_a_query_goes_directly_once_the_worker_has_seen_everything() -> None:
    run = started_run()
    assert route(run) is Route.ATTACH
    task = run.poll_workflow()
    assert route(run) is Route.ATTACH
    run.complete(task, [start_timer()])
    assert route(run) is Route.DIRECT
    run.signal()
    assert route(run) is Route.ATTACH
    run.step(complete_workflow())
    assert route(run) is Route.DIRECT


def not_ready(run: Run) -> str:
    with pytest.raises(FailedPrecondition) as caught:
        route(run)
    assert isinstance(caught.value.details[0], errordetails.WorkflowNotReadyFailure)
    return caught.value.message


def test_rule_39_nobody_can_answer_for_a_run_that_never_ran() -> None:
    run = started_run()
    run.do(transitions.terminate, workflowservice.TerminateWorkflowExecutionRequest())
    assert "closed before" in not_ready(run)
    assert "not scheduled" in not_ready(started_run(workflow_start_delay=duration(MINUTE_NS)))


def test_rule_39_a_query_waits_for_the_first_workflow_task_when_that_comes_in_time() -> None:
    run = started_run(workflow_start_delay=duration(MINUTE_NS))
    assert route(run, MINUTE_NS) is Route.ATTACH
    run.pass_time(55 * SECOND_NS)
    assert route(run, 10 * SECOND_NS) is Route.ATTACH
    run.do(transitions.terminate, workflowservice.TerminateWorkflowExecutionRequest())
    assert "closed before" in not_ready(run)


def test_rule_39_a_query_does_not_wait_for_a_workflow_task_that_keeps_failing() -> None:
    run = started_run()
    request = workflowservice.RespondWorkflowTaskFailedRequest()
    run.do(transitions.fail_workflow_task, run.poll_workflow().token, request)
    assert route(run) is Route.ATTACH
    run.do(transitions.fail_workflow_task, run.poll_workflow().token, request)
    assert "failed state" in not_ready(run)


def test_describe_shows_what_the_run_is() -> None:
    memo = common.Memo(fields={"note": common.Payload(data=b"1")})
    attributes = common.SearchAttributes(indexed_fields={"City": common.Payload(data=b"2")})
    metadata = sdk.UserMetadata(summary=common.Payload(data=b"3"))
    run = started_run(
        memo=memo,
        search_attributes=attributes,
        user_metadata=metadata,
        workflow_start_delay=duration(MINUTE_NS),
        workflow_execution_timeout=duration(3600 * SECOND_NS),
    )
    shown = transitions.describe(run.state, run.env)
    info = shown.workflow_execution_info
    assert info.execution == common.WorkflowExecution(workflow_id="wf", run_id=run.state.key.run_id)
    assert (info.type.name, info.task_queue) == ("Greeting", QUEUE)
    assert info.status == enums.WORKFLOW_EXECUTION_STATUS_RUNNING
    assert info.start_time == timestamp(T0_NS)
    assert info.execution_time == timestamp(T0_NS + MINUTE_NS)
    assert not info.HasField("close_time")
    assert (info.history_length, info.history_size_bytes) == (1, len(run.rows[0]))
    assert (info.memo, info.search_attributes) == (memo, attributes)
    assert info.root_execution == info.execution
    config = shown.execution_config
    assert config.user_metadata == metadata
    assert config.workflow_run_timeout == duration(3600 * SECOND_NS)
    assert config.default_workflow_task_timeout == duration(10 * SECOND_NS)
    extended = shown.workflow_extended_info
    assert extended.execution_expiration_time == timestamp(T0_NS + 3660 * SECOND_NS)
    assert extended.run_expiration_time == timestamp(T0_NS + 3660 * SECOND_NS)
    assert extended.request_id_infos["start-1"].event_id == 1
    assert not shown.HasField("pending_workflow_task")


def test_describe_shows_the_pending_workflow_task() -> None:
    run = started_run()
    pending = transitions.describe(run.state, run.env).pending_workflow_task
    assert pending.state == enums.PENDING_WORKFLOW_TASK_STATE_SCHEDULED
    assert pending.scheduled_time == pending.original_scheduled_time == timestamp(T0_NS)
    run.pass_time(SECOND_NS)
    run.poll_workflow()
    pending = transitions.describe(run.state, run.env).pending_workflow_task
    assert pending.state == enums.PENDING_WORKFLOW_TASK_STATE_STARTED
    assert (pending.started_time, pending.attempt) == (timestamp(T0_NS + SECOND_NS), 1)


def test_describe_shows_a_closed_run() -> None:
    run = started_run()
    run.pass_time(SECOND_NS)
    run.step(complete_workflow())
    info = transitions.describe(run.state, run.env).workflow_execution_info
    assert info.status == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
    assert info.close_time == timestamp(T0_NS + SECOND_NS)
    assert info.execution_duration == duration(SECOND_NS)


def test_rule_35_pending_activities_in_each_state() -> None:
    run = started_run()
    policy = common.RetryPolicy(
        initial_interval=duration(4 * SECOND_NS), maximum_attempts=5, backoff_coefficient=2
    )
    run.step(
        schedule_activity(
            "a", retry_policy=policy, schedule_to_close_timeout=duration(3600 * SECOND_NS)
        )
    )

    def shown():
        (activity,) = transitions.describe(run.state, run.env).pending_activities
        return activity

    assert shown().state == enums.PENDING_ACTIVITY_STATE_SCHEDULED
    assert (shown().activity_id, shown().activity_type.name) == ("a", "Compose")
    assert (shown().attempt, shown().maximum_attempts) == (1, 5)
    assert shown().scheduled_time == timestamp(T0_NS)
    assert shown().expiration_time == timestamp(T0_NS + 3600 * SECOND_NS)

    run.pass_time(SECOND_NS)
    task = run.poll_activity(identity="w1")
    assert shown().state == enums.PENDING_ACTIVITY_STATE_STARTED
    assert shown().last_started_time == timestamp(T0_NS + SECOND_NS)
    assert shown().last_worker_identity == "w1"

    beat = workflowservice.RecordActivityTaskHeartbeatRequest(details=json_payloads("half"))
    run.do(transitions.heartbeat, task.token, beat)
    assert shown().heartbeat_details == json_payloads("half")
    assert shown().last_heartbeat_time == timestamp(T0_NS + SECOND_NS)

    reason = failure.Failure(
        message="again", application_failure_info=failure.ApplicationFailureInfo(type="E")
    )
    run.do(transitions.fail_activity, task.token, FailedRequest(failure=reason))
    waiting = shown()
    assert waiting.state == enums.PENDING_ACTIVITY_STATE_SCHEDULED
    assert (waiting.attempt, waiting.last_failure.message) == (2, "again")
    assert waiting.next_attempt_schedule_time == timestamp(T0_NS + 5 * SECOND_NS)
    assert waiting.current_retry_interval == duration(4 * SECOND_NS)
    assert waiting.last_attempt_complete_time == timestamp(T0_NS + SECOND_NS)
    assert waiting.last_worker_identity == "w1"
    assert not waiting.HasField("last_started_time")

    run.sleep(4 * SECOND_NS)
    assert not shown().HasField("next_attempt_schedule_time")
