"""Requests that are refused: the code, message and details of the errors."""

from __future__ import annotations

from typing import Any

from tests.reference.commands import attributes, seconds
from tests.reference.play import Case, script

LONG = "x" * 1001
NOWHERE = "no-such-namespace"
A_RUN = "8b1f2f2e-0a2b-4c3d-9e4f-5a6b7c8d9e0f"
BAD_STARTS: dict[str, dict[str, Any]] = {
    "no id": {"workflow_id": ""},
    "no type": {"workflow_type": {}},
    "no queue": {"task_queue": {}},
    "long id": {"workflow_id": LONG},
    "long type": {"workflow_type": {"name": LONG}},
    "long queue": {"task_queue": {"name": LONG}},
    "long request id": {"request_id": LONG},
    "reserved queue": {"task_queue": {"name": "/_sys/queue"}},
    "no namespace": {"namespace": ""},
    "unknown namespace": {"namespace": NOWHERE},
    "negative run time-out": {"workflow_run_timeout": seconds(-1)},
    "negative execution time-out": {"workflow_execution_timeout": seconds(-1)},
    "negative task time-out": {"workflow_task_timeout": seconds(-1)},
    "negative delay": {"workflow_start_delay": seconds(-1)},
    "negative interval": {"retry_policy": {"initial_interval": seconds(-1)}},
    "small coefficient": {
        "retry_policy": {"initial_interval": seconds(1), "backoff_coefficient": 0.5}
    },
    "small maximum": {
        "retry_policy": {
            "initial_interval": seconds(5),
            "maximum_interval": seconds(1),
            "backoff_coefficient": 2,
        }
    },
    "negative attempts": {"retry_policy": {"maximum_attempts": -1}},
    "unknown attribute": {"search_attributes": attributes(NoSuchAttribute='"x"')},
    "system attribute": {"search_attributes": attributes(WorkflowType='"x"')},
    "wrong value": {"search_attributes": attributes(CustomInt='"text"')},
    "reuse policy": {"workflow_id_reuse_policy": 99},
    "conflict policy": {"workflow_id_conflict_policy": 99},
}


@script
async def start(case: Case) -> None:
    for label, fields in BAD_STARTS.items():
        request = case.start_fields(label.replace(" ", "-"), **fields)
        await case.call("StartWorkflowExecution", label=label, **request)


@script
async def start_with_cron_and_delay(case: Case) -> None:
    await case.start(cron_schedule="* * * * *", workflow_start_delay=seconds(1))
    await case.start(cron_schedule="not a schedule")


@script
async def signal_with_start(case: Case) -> None:
    for label in ("no id", "no type", "no queue", "unknown namespace", "negative run time-out"):
        request = case.start_fields("w", **BAD_STARTS[label])
        await case.call(
            "SignalWithStartWorkflowExecution", label=label, signal_name="signal", **request
        )
    await case.call(
        "SignalWithStartWorkflowExecution", label="no signal name", **case.start_fields()
    )
    await case.signal_with_start(workflow_id_conflict_policy=1)


async def on_executions(case: Case, method: str, field: str, **fields: Any) -> None:
    """Requests that every call which names a run refuses in the same way."""
    bad: dict[str, dict[str, Any]] = {
        "no execution": {},
        "no id": {field: {"run_id": A_RUN}},
        "unknown": {field: case.execution()},
        "unknown run": {field: case.execution(run_id=A_RUN)},
        "bad run": {field: case.execution(run_id="not-a-run")},
        "long id": {field: {"workflow_id": LONG}},
        "unknown namespace": {field: case.execution(), "namespace": NOWHERE},
    }
    for label, values in bad.items():
        await case.call(method, label=label, **{**fields, **values})


@script
async def signal(case: Case) -> None:
    await on_executions(case, "SignalWorkflowExecution", "workflow_execution", signal_name="s")
    await case.start()
    await case.signal("")
    await case.signal(LONG)
    await case.signal("s", request_id=LONG)


@script
async def cancel(case: Case) -> None:
    await on_executions(case, "RequestCancelWorkflowExecution", "workflow_execution")
    await case.start()
    await case.cancel(first_execution_run_id=A_RUN)
    await case.cancel(request_id=LONG)


@script
async def terminate(case: Case) -> None:
    await on_executions(case, "TerminateWorkflowExecution", "workflow_execution")
    await case.start()
    await case.terminate(first_execution_run_id=A_RUN)


@script
async def describe(case: Case) -> None:
    await on_executions(case, "DescribeWorkflowExecution", "execution")


@script
async def history(case: Case) -> None:
    await on_executions(case, "GetWorkflowExecutionHistory", "execution")
    await case.start()
    await case.history(next_page_token=b"garbage")
    await case.history(maximum_page_size=-1)


@script
async def query(case: Case) -> None:
    await on_executions(case, "QueryWorkflow", "execution", query={"query_type": "q"})
    await case.start()
    await case.call("QueryWorkflow", label="no query", execution=case.execution())
    await case.call("QueryWorkflow", label="no type", execution=case.execution(), query={})


@script
async def update(case: Case) -> None:
    fields: dict[str, Any] = {
        "request": {"meta": {"update_id": "u"}, "input": {"name": "update"}},
        "wait_policy": {"lifecycle_stage": 3},
    }
    await on_executions(case, "UpdateWorkflowExecution", "workflow_execution", **fields)
    await case.start()
    run = case.execution()
    bad: dict[str, dict[str, Any]] = {
        "no request": {"wait_policy": {"lifecycle_stage": 3}},
        "no input": {
            "request": {"meta": {"update_id": "u"}},
            "wait_policy": {"lifecycle_stage": 3},
        },
        "no name": {"request": {"meta": {"update_id": "u"}, "input": {}}},
        "admitted": {**fields, "wait_policy": {"lifecycle_stage": 1}},
        "first run": {**fields, "first_execution_run_id": A_RUN},
        "long id": {**fields, "request": {"meta": {"update_id": LONG}, "input": {"name": "n"}}},
    }
    for label, values in bad.items():
        await case.call("UpdateWorkflowExecution", label=label, workflow_execution=run, **values)


@script
async def poll_update(case: Case) -> None:
    await case.start()
    wait = {"lifecycle_stage": 3}
    reference = {"workflow_execution": case.execution(), "update_id": "unknown"}
    bad: dict[str, dict[str, Any]] = {
        "no reference": {},
        "no id": {"update_ref": {"workflow_execution": case.execution()}},
        "unknown": {"update_ref": reference, "wait_policy": wait},
        "unknown workflow": {
            "update_ref": {"workflow_execution": case.execution("x"), "update_id": "u"},
            "wait_policy": wait,
        },
        "admitted": {"update_ref": reference, "wait_policy": {"lifecycle_stage": 1}},
    }
    for label, values in bad.items():
        await case.call("PollWorkflowExecutionUpdate", label=label, **values)


@script
async def polls(case: Case) -> None:
    for method in ("PollWorkflowTaskQueue", "PollActivityTaskQueue"):
        await case.call(method, label="no queue")
        await case.call(method, label="long queue", task_queue={"name": LONG})
        await case.call(method, label="long identity", task_queue=case.queue, identity=LONG)
        await case.call(method, label="short", task_queue=case.queue, seconds=1)
        await case.call(method, label="unknown namespace", task_queue=case.queue, namespace=NOWHERE)


@script
async def tokens(case: Case) -> None:
    methods = (
        "RespondWorkflowTaskCompleted",
        "RespondWorkflowTaskFailed",
        "RespondActivityTaskCompleted",
        "RespondActivityTaskFailed",
        "RespondActivityTaskCanceled",
        "RecordActivityTaskHeartbeat",
        "RespondQueryTaskCompleted",
    )
    for method in methods:
        await case.call(method, label="no token")
        await case.call(method, label="garbage", task_token=b"\xff\xfegarbage")


@script
async def activities_by_id(case: Case) -> None:
    await case.start()
    methods = (
        "RespondActivityTaskCompletedById",
        "RespondActivityTaskFailedById",
        "RespondActivityTaskCanceledById",
        "RecordActivityTaskHeartbeatById",
    )
    for method in methods:
        await case.call(method, label="no activity", workflow_id=case.id())
        await case.call(method, label="no workflow", activity_id="a")
        await case.call(method, label="unknown activity", workflow_id=case.id(), activity_id="a")
        await case.call(method, label="unknown workflow", workflow_id=case.id("x"), activity_id="a")
        await case.call(method, label="bad run", workflow_id=case.id(), run_id="x", activity_id="a")


@script
async def lists(case: Case) -> None:
    queries = (
        "nonsense",
        "WorkflowId = ",
        "WorkflowId == 'x'",
        "NoSuchAttribute = 'x'",
        "WorkflowId > 5",
        "ExecutionStatus = 'Nonsense'",
        "CustomInt = 'text'",
        "StartTime > 'yesterday'",
        "WorkflowId = 'x' AND",
        "(WorkflowId = 'x'",
        "ORDER BY WorkflowId",
        "WorkflowId LIKE 'x%'",
        "CustomBool = 'maybe'",
        "GROUP BY WorkflowId",
    )
    for query in queries:
        for method in ("ListWorkflowExecutions", "CountWorkflowExecutions"):
            await case.call(method, label=query, query=query)
    await case.call("ListWorkflowExecutions", label="token", next_page_token=b"garbage")
    await case.call(
        "ListWorkflowExecutions", label="page size", page_size=-1, query="WorkflowId = 'x'"
    )
    await case.call("ListWorkflowExecutions", label="unknown namespace", namespace=NOWHERE)


@script
async def namespaces(case: Case) -> None:
    described: dict[str, dict[str, Any]] = {
        "unknown": {"namespace": NOWHERE},
        "empty": {"namespace": ""},
        "unknown id": {"namespace": "", "id": A_RUN},
    }
    for label, fields in described.items():
        await case.call("DescribeNamespace", label=label, **fields)
    registered: dict[str, dict[str, Any]] = {
        "taken": {"namespace": "default", "workflow_execution_retention_period": seconds(86400)},
        "no retention": {"namespace": case.name},
        "no name": {"namespace": "", "workflow_execution_retention_period": seconds(86400)},
    }
    for label, fields in registered.items():
        await case.call("RegisterNamespace", label=label, **fields)


@script
async def task_queues(case: Case) -> None:
    await case.call("DescribeTaskQueue", label="no queue")
    await case.call(
        "DescribeTaskQueue", label="unknown namespace", task_queue=case.queue, namespace=NOWHERE
    )
    await case.call("ResetStickyTaskQueue", label="unknown", execution=case.execution())


@script
async def search_attributes(case: Case) -> None:
    for label, names in {
        "empty": {},
        "taken": {"CustomInt": 3},
        "another type": {"CustomInt": 1},
        "reserved": {"WorkflowType": 2},
        "no type": {"FreshAttribute": 0},
    }.items():
        await case.call("AddSearchAttributes", label=label, search_attributes=names)
    await case.call("RemoveSearchAttributes", label="empty", search_attributes=[])
    await case.call("RemoveSearchAttributes", label="unknown", search_attributes=["Nothing"])
    await case.call("RemoveSearchAttributes", label="reserved", search_attributes=["WorkflowType"])
