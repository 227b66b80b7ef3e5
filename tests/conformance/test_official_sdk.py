"""The official client and worker on our server, and our histories in the official replayer."""

from __future__ import annotations

import pytest

from tests.conformance.conftest import Official

pytestmark = pytest.mark.conformance


def test_a_workflow_with_activity_retries_timer_signal_queries_and_a_patch(official: Official):
    seen = official("greeting")
    assert seen["result"] == "HELLO, ADA! (ATTEMPT 3)"
    assert seen["stage before"] == "waiting"
    assert seen["stage after"] == "done"
    assert "no such thing" in seen["failed query"]
    assert seen["rejected query"] == "COMPLETED"
    assert (seen["status"], seen["type"]) == ("COMPLETED", "Greeting")
    assert seen["memo"] == {"why": "conformance"}
    events = [name.removeprefix("EVENT_TYPE_") for name in seen["events"]]
    assert events[:2] == ["WORKFLOW_EXECUTION_STARTED", "WORKFLOW_TASK_SCHEDULED"]
    assert events[-1] == "WORKFLOW_EXECUTION_COMPLETED"
    assert events.count("ACTIVITY_TASK_STARTED") == 1, "retries leave no events (S-28)"
    assert {"WORKFLOW_EXECUTION_SIGNALED", "TIMER_FIRED", "MARKER_RECORDED"} <= set(events)


def test_a_run_goes_on_in_another_worker_that_must_replay_it(official: Official):
    seen = official("cold")
    assert seen["stage"] == "waiting"
    assert seen["result"] == "HELLO, GRACE! (ATTEMPT 3)"


def test_cancellation_and_termination(official: Official):
    seen = official("cancellation")
    assert seen["cleaned"] == "cleaned up after CancelledError"
    assert "EVENT_TYPE_ACTIVITY_TASK_CANCELED" in seen["events"]
    assert seen["cancelled"] == "CancelledError"
    assert seen["terminated"] == "TerminatedError"
    assert seen["terminate closed"] == "NOT_FOUND"
    assert seen["signal closed"] == "NOT_FOUND"


def test_failures_time_outs_and_heartbeat_details(official: Official):
    seen = official("failures")
    assert seen["failing"] == "ActivityError <- ApplicationError"
    assert seen["run timeout"] == "TimeoutError"
    assert seen["timeouts"] == ["START_TO_CLOSE", "HEARTBEAT", "SCHEDULE_TO_START"]
    assert seen["resumed"] == 42


def test_many_activities_at_once_and_a_local_one(official: Official):
    seen = official("fan_out")
    assert seen["results"] == [sum(range(30))] * 5
    assert seen["local"] == "Hello, local! (attempt 3)"


def test_children_and_messages_between_workflows(official: Official):
    seen = official("children")
    assert seen["result"] == [
        "greet  ID",
        "greet  ID",
        "ApplicationError",
        "WorkflowAlreadyStartedError",
        "wait hello ID",
        "wait external ID",
        "ApplicationError",
        "CancelledError",
        "CancelledError",
    ]
    assert seen["ends"] == ["TerminatedError", "CancelledError"]
    assert seen["abandoned"] == "wait alone ID"


def test_update_with_start(official: Official):
    seen = official("update_with_start")
    assert (seen["new"], seen["existing"], seen["known"]) == (1, 3, 1)
    assert seen["same run"]
    assert seen["conflict"]
    assert "only more" in seen["rejected"]
    assert (seen["result"], seen["after close"]) == (3, 5)
    assert seen["closed"] == "NOT_FOUND: workflow execution already completed"


def test_eager_start(official: Official):
    seen = official("eager")
    assert seen["failing"] == "ActivityError <- ApplicationError"
    assert seen["eager"]
    assert "EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT" not in seen["events"]


def test_updates(official: Official):
    seen = official("updates")
    assert (seen["early"], seen["again"], seen["second"]) == (1, 1, 3)
    assert "only more" in seen["rejected"]
    assert seen["failed"] == "ApplicationError: Failing: an update fails"
    assert seen["unknown"].startswith("ApplicationError")
    assert seen["many"] == [4, 5, 6, 7, 8]
    assert seen["slow"] == "slow Hello, update! (attempt 3)"
    assert seen["polled"] == 1
    assert seen["nowhere"] == 'NOT_FOUND: update "none" not found'
    assert seen["result"] == 8
    assert "AcceptedUpdateCompletedWorkflow" in seen["endless"]
    assert seen["closed known"] == 1
    assert seen["closed"] == "NOT_FOUND: workflow execution already completed"
    assert seen["cold"] == [1, 2, 3]
    assert seen["following"] == 1


def test_workflow_id_conflicts_and_reuse(official: Official):
    assert official("ids") == {
        "running": True,
        "used": True,
        "replaced": True,
        "first ended": "TerminatedError",
        "rejected duplicate": True,
        "after failure": True,
    }


def test_what_surrounds_runs_and_errors_for_what_is_not_there(official: Official):
    seen = official("surface")
    assert seen["listed"]
    assert seen["health"]
    assert seen["found"] == [True]
    assert seen["counted"] == 1
    assert seen["found after"] == []
    assert seen["pollers"] == 0
    assert seen["unknown run"].startswith("NOT_FOUND: workflow not found for ID: nobody")
    assert seen["unknown namespace"] == "NOT_FOUND: Namespace nowhere is not found."
    assert seen["unimplemented"].startswith("UNIMPLEMENTED: UpdateWorkflowExecutionOptions")
    assert seen["large"].startswith("INVALID_ARGUMENT")
