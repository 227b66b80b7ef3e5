"""What each call refuses, by field; and which headers, limits and repetitions it knows."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.core.ids import new_id
from perdure.wire.api import enums
from perdure.wire.errors import InvalidArgument, NotFound, PermissionDenied, RpcError
from tests.harness.builders import cancel_activity, complete_workflow
from tests.unit.frontend.conftest import QUEUE, Caller, schedule_activity

LONG = "x" * 1_001
RUN = {"workflow_id": "w"}
START: dict[str, Any] = {
    "workflow_id": "w2",
    "workflow_type": {"name": "Greeting"},
    "task_queue": {"name": QUEUE},
}
UPDATE: dict[str, Any] = {
    "workflow_execution": RUN,
    "request": {"meta": {"update_id": "u"}, "input": {"name": "add"}},
}
GOOD: dict[str, dict[str, Any]] = {
    "StartWorkflowExecution": START,
    "SignalWithStartWorkflowExecution": START | {"signal_name": "s"},
    "SignalWorkflowExecution": {"workflow_execution": RUN, "signal_name": "s"},
    "RequestCancelWorkflowExecution": {"workflow_execution": RUN},
    "TerminateWorkflowExecution": {"workflow_execution": RUN},
    "DescribeWorkflowExecution": {"execution": RUN},
    "GetWorkflowExecutionHistory": {"execution": RUN},
    "GetWorkflowExecutionHistoryReverse": {"execution": RUN},
    "QueryWorkflow": {"execution": RUN, "query": {"query_type": "q"}},
    "ResetStickyTaskQueue": {"execution": RUN},
    "UpdateWorkflowExecution": UPDATE,
    "PollWorkflowExecutionUpdate": {"update_ref": {"workflow_execution": RUN, "update_id": "u"}},
    "PollWorkflowTaskQueue": {"task_queue": {"name": QUEUE}},
    "PollActivityTaskQueue": {"task_queue": {"name": QUEUE}},
    "PollNexusTaskQueue": {"task_queue": {"name": QUEUE}},
    "DescribeTaskQueue": {"task_queue": {"name": QUEUE}},
    "RespondActivityTaskCompletedById": {"workflow_id": "w", "activity_id": "a"},
    "RespondActivityTaskFailedById": {"workflow_id": "w", "activity_id": "a"},
    "RespondActivityTaskCanceledById": {"workflow_id": "w", "activity_id": "a"},
    "RecordActivityTaskHeartbeatById": {"workflow_id": "w", "activity_id": "a"},
    "PauseActivity": {"execution": RUN, "id": "a"},
    "UnpauseActivity": {"execution": RUN, "id": "a"},
    "ResetActivity": {"execution": RUN, "id": "a"},
    "ResetActivityExecution": {"workflow_id": "w", "activity_id": "a"},
    "PauseActivityExecution": {"workflow_id": "w", "activity_id": "a"},
    "UnpauseActivityExecution": {"workflow_id": "w", "activity_id": "a"},
    "ListWorkflowExecutions": {},
    "CountWorkflowExecutions": {},
    "ListSearchAttributes": {},
    "ShutdownWorker": {},
}
EXECUTIONS = [
    ({"workflow_id": ""}, "Execution is not set on request."),
    ({"workflow_id": "", "run_id": "r"}, "WorkflowId is not set on request."),
    ({"workflow_id": LONG}, "WorkflowId length exceeds limit"),
    ({"workflow_id": "w", "run_id": "junk"}, "Invalid RunId."),
]
WITH_EXECUTION = [
    (name, field, value, message)
    for name, field in (
        ("SignalWorkflowExecution", "workflow_execution"),
        ("RequestCancelWorkflowExecution", "workflow_execution"),
        ("TerminateWorkflowExecution", "workflow_execution"),
        ("UpdateWorkflowExecution", "workflow_execution"),
        ("DescribeWorkflowExecution", "execution"),
        ("GetWorkflowExecutionHistory", "execution"),
        ("GetWorkflowExecutionHistoryReverse", "execution"),
        ("QueryWorkflow", "execution"),
        ("ResetStickyTaskQueue", "execution"),
    )
    for value, message in EXECUTIONS
]
STARTS: list[tuple[str, str, Any, str]] = [
    (name, field, value, message)
    for name in ("StartWorkflowExecution", "SignalWithStartWorkflowExecution")
    for field, value, message in (
        ("workflow_id", "", "WorkflowId is not set on request."),
        ("workflow_id", LONG, "WorkflowId length exceeds limit"),
        ("workflow_type", {"name": ""}, "WorkflowType is not set"),
        ("workflow_type", {"name": LONG}, "WorkflowType length exceeds limit"),
        ("task_queue", {"name": ""}, "TaskQueue is not set"),
        ("task_queue", {"name": LONG}, "TaskQueue length exceeds limit"),
        ("task_queue", {"name": "a\nb"}, "TaskQueue must not contain control characters"),
        ("request_id", LONG, "RequestId length exceeds limit"),
        ("workflow_execution_timeout", {"seconds": -1}, "WorkflowExecutionTimeout must not be"),
        ("workflow_run_timeout", {"seconds": -1}, "WorkflowRunTimeout must not be negative"),
        ("workflow_task_timeout", {"seconds": -1}, "WorkflowTaskTimeout must not be negative"),
        ("workflow_start_delay", {"seconds": -1}, "WorkflowStartDelay must not be negative"),
        ("cron_schedule", "* * * * *", "CronSchedule is not supported"),
        ("versioning_override", {"pinned": {"behavior": 1}}, "VersioningOverride is not supported"),
        (
            "versioning_override",
            {"one_time": {"target_deployment_version": {"build_id": "b"}}},
            "VersioningOverride is not supported",
        ),
        ("versioning_override", {"behavior": 1}, "VersioningOverride is not supported"),
        ("time_skipping_config", {"enabled": True}, "TimeSkippingConfig is not supported"),
        (
            "search_attributes",
            {"indexed_fields": {"RunId": {"data": b'"x"'}}},
            "RunId attribute can't be set",
        ),
        (
            "search_attributes",
            {"indexed_fields": {"Colour": {"data": b'"x"'}}},
            "no mapping defined for search attribute Colour",
        ),
    )
]
OTHERS: list[tuple[str, str, Any, str]] = [
    (
        "StartWorkflowExecution",
        "completion_callbacks",
        [{"nexus": {"url": "http://example.org/done"}}],
        "CompletionCallbacks is not supported",
    ),
    ("SignalWithStartWorkflowExecution", "signal_name", "", "SignalName is not set"),
    (
        "SignalWithStartWorkflowExecution",
        "workflow_id_conflict_policy",
        1,
        "WORKFLOW_ID_CONFLICT_POLICY_FAIL is not supported",
    ),
    ("SignalWithStartWorkflowExecution", "signal_name", LONG, "SignalName length exceeds"),
    ("SignalWorkflowExecution", "signal_name", "", "SignalName is not set"),
    ("SignalWorkflowExecution", "signal_name", LONG, "SignalName length exceeds limit"),
    ("SignalWorkflowExecution", "request_id", LONG, "RequestId length exceeds limit"),
    ("QueryWorkflow", "query", {"query_type": ""}, "QueryType is not set"),
    ("UpdateWorkflowExecution", "request", {"input": {"name": "n"}}, "meta is not set"),
    (
        "UpdateWorkflowExecution",
        "request",
        {"meta": {}, "input": {"name": "n"}, "completion_callbacks": [{}]},
        "CompletionCallbacks is not supported",
    ),
    ("UpdateWorkflowExecution", "request", {"meta": {}}, "input is not set"),
    ("UpdateWorkflowExecution", "request", {"meta": {}, "input": {}}, "Update name is not set"),
    (
        "UpdateWorkflowExecution",
        "request",
        {"meta": {"update_id": LONG}, "input": {"name": "n"}},
        "UpdateId length exceeds limit",
    ),
    (
        "UpdateWorkflowExecution",
        "request",
        {
            "meta": {},
            "input": {"name": "n", "args": {"payloads": [{"data": bytes(2 * 1024 * 1024)}]}},
        },
        "The update has 20971",
    ),
    ("PollWorkflowExecutionUpdate", "update_ref", None, "UpdateRef is not set"),
    (
        "PollWorkflowExecutionUpdate",
        "update_ref",
        {"workflow_execution": RUN},
        "UpdateId is not set",
    ),
    ("PollWorkflowExecutionUpdate", "update_ref", {"update_id": "u"}, "Execution is not set"),
    ("PollWorkflowTaskQueue", "task_queue", {}, "TaskQueue is not set"),
    ("PollWorkflowTaskQueue", "identity", LONG, "Identity length exceeds limit"),
    ("PollActivityTaskQueue", "task_queue", {}, "TaskQueue is not set"),
    ("PollActivityTaskQueue", "identity", LONG, "Identity length exceeds limit"),
    ("DescribeTaskQueue", "task_queue", {}, "TaskQueue is not set"),
    ("ListWorkflowExecutions", "page_size", -1, "PageSize must not be negative"),
    ("ListWorkflowExecutions", "next_page_token", b"junk", "Invalid NextPageToken"),
    ("ListWorkflowExecutions", "query", "Colour = 1", "unknown field Colour"),
    ("CountWorkflowExecutions", "query", "Colour = 1", "unknown field Colour"),
    (
        "CountWorkflowExecutions",
        "query",
        "Colour = 1 GROUP BY ExecutionStatus",
        "unknown field Colour",
    ),
]
BY_ID = [
    (name, field, value, message)
    for name in (
        "RespondActivityTaskCompletedById",
        "RespondActivityTaskFailedById",
        "RespondActivityTaskCanceledById",
        "RecordActivityTaskHeartbeatById",
    )
    for field, value, message in (
        ("workflow_id", "", "WorkflowId is not set"),
        ("activity_id", "", "ActivityId is not set"),
        ("activity_id", LONG, "ActivityId length exceeds limit"),
        ("run_id", "junk", "Invalid RunId"),
    )
]


@pytest.mark.parametrize(
    ("name", "field", "value", "message"), [*WITH_EXECUTION, *STARTS, *OTHERS, *BY_ID]
)
async def test_a_bad_field_is_refused_by_name(
    caller: Caller, name: str, field: str, value: Any, message: str
):
    await caller.start()
    with pytest.raises(InvalidArgument) as caught:
        await caller.call(name, **(GOOD[name] | {field: value}))
    assert message in caught.value.message
    assert len((await caller.history()).history.events) == 2, "nothing was done"


@pytest.mark.parametrize("name", sorted(GOOD))
async def test_a_namespace_is_needed_and_must_exist(caller: Caller, name: str):
    with pytest.raises(InvalidArgument, match="Namespace is not set on request"):
        await caller.call(name, namespace="", **GOOD[name])
    with pytest.raises(NotFound, match="Namespace nowhere is not found"):
        await caller.call(name, namespace="nowhere", **GOOD[name])


async def test_waiting_for_admission_is_refused_before_anything_is_admitted(caller: Caller):
    await caller.start()
    with pytest.raises(PermissionDenied):
        await caller.call("UpdateWorkflowExecution", **UPDATE, wait_policy={"lifecycle_stage": 1})
    assert not len(caller.node.frontend.services.updates)


async def test_names_of_exactly_the_limit_are_taken(caller: Caller):
    name = "x" * 1_000
    fields: dict[str, Any] = {"workflow_id": name, "request_id": name, "identity": name}
    await caller.call("StartWorkflowExecution", **(START | fields))
    await caller.call(
        "SignalWorkflowExecution", workflow_execution={"workflow_id": name}, signal_name=name
    )
    assert len((await caller.history(execution={"workflow_id": name})).history.events) == 3


@pytest.mark.parametrize(
    ("reuse", "conflict", "is_refused"),
    [(4, 1, True), (4, 0, False), (3, 3, True), (2, 3, False), (3, 1, False), (1, 3, False)],
)
async def test_policies_that_contradict_each_other_are_refused(
    caller: Caller, reuse: int, conflict: int, *, is_refused: bool
):
    for name in ("StartWorkflowExecution", "SignalWithStartWorkflowExecution"):
        fields: dict[str, Any] = GOOD[name] | {
            "workflow_id": name,
            "workflow_id_reuse_policy": reuse,
            "workflow_id_conflict_policy": conflict,
        }
        if name == "SignalWithStartWorkflowExecution" and conflict == 1 and not is_refused:
            continue  # a policy of its own forbids it
        if is_refused:
            with pytest.raises(InvalidArgument, match="cannot be used together"):
                await caller.call(name, **fields)
        else:
            assert (await caller.call(name, **fields)).run_id


# Repetitions.


async def test_a_repeated_request_is_one_request(caller: Caller):
    request_id = new_id()
    start: dict[str, Any] = {**START, "request_id": request_id}
    first = await caller.call("StartWorkflowExecution", **start)
    again = await caller.call("StartWorkflowExecution", **start)
    assert again.run_id == first.run_id
    execution: dict[str, Any] = {"workflow_id": "w2"}
    for _ in range(2):
        await caller.call(
            "SignalWorkflowExecution",
            workflow_execution=execution,
            signal_name="s",
            request_id="signal",
        )
        await caller.call(
            "RequestCancelWorkflowExecution", workflow_execution=execution, request_id="cancel"
        )
    events = (await caller.history(execution=execution)).history.events
    kinds = [enums.EventType.Name(event.event_type) for event in events]
    assert kinds.count("EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED") == 1
    assert kinds.count("EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED") == 1


async def test_starts_without_request_ids_are_two_requests(caller: Caller):
    for name in ("StartWorkflowExecution", "SignalWithStartWorkflowExecution"):
        fields: dict[str, Any] = GOOD[name] | {"workflow_id": name}
        await caller.call(name, **fields)
        if name == "StartWorkflowExecution":
            with pytest.raises(RpcError, match="already running"):
                await caller.call(name, **fields)
        else:
            await caller.call(name, **fields)
            events = (await caller.history(execution={"workflow_id": name})).history.events
            assert len(events) == 4, "started, and signalled twice"


async def test_answers_to_one_token_are_told_apart_by_their_method(caller: Caller):
    await caller.start()
    task = await caller.poll()
    await caller.complete(task, *(schedule_activity(name) for name in "abc"))
    polls: dict[str, Any] = {"task_queue": {"name": QUEUE}}
    done, failed, canceled = [await caller.call("PollActivityTaskQueue", **polls) for _ in "abc"]
    for _ in range(2):
        await caller.call("RespondActivityTaskCompleted", task_token=done.task_token)
        await caller.call(
            "RespondActivityTaskFailed",
            task_token=failed.task_token,
            failure={"message": "x", "application_failure_info": {"non_retryable": True}},
        )
    with pytest.raises(RpcError):
        await caller.call("RespondActivityTaskFailed", task_token=done.task_token)
    with pytest.raises(RpcError):
        await caller.call("RespondActivityTaskCompleted", task_token=failed.task_token)
    with pytest.raises(RpcError):
        await caller.call("RespondActivityTaskCanceled", task_token=done.task_token)
    assert canceled.activity_id == "c"
    task = await caller.poll()
    kinds = [enums.EventType.Name(e.event_type) for e in task.history.events]
    assert kinds.count("EVENT_TYPE_ACTIVITY_TASK_COMPLETED") == 1
    assert kinds.count("EVENT_TYPE_ACTIVITY_TASK_FAILED") == 1
    for _ in range(2):
        await caller.call("RespondWorkflowTaskFailed", task_token=task.task_token)
    with pytest.raises(RpcError):
        await caller.complete(task, complete_workflow())


async def test_heartbeats_are_answered_anew_each_time(caller: Caller):
    await caller.start()
    await caller.complete(await caller.poll(), schedule_activity())
    activity = await caller.call("PollActivityTaskQueue", task_queue={"name": QUEUE})
    beat: dict[str, Any] = {
        "task_token": activity.task_token,
        "details": {"payloads": [{"data": b"half"}]},
    }
    assert not (await caller.call("RecordActivityTaskHeartbeat", **beat)).cancel_requested
    await caller.call("RequestCancelWorkflowExecution", workflow_execution=RUN)
    task = await caller.poll()
    await caller.complete(task, cancel_activity(5))
    assert (await caller.call("RecordActivityTaskHeartbeat", **beat)).cancel_requested
    by_id = await caller.call("RecordActivityTaskHeartbeatById", workflow_id="w", activity_id="a")
    assert by_id.cancel_requested
