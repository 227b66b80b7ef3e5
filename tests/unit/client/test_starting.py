from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perdure.client import Client, RPCError, RPCStatusCode, StartWorkflowInput
from perdure.common import (
    Priority,
    RetryPolicy,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from perdure.exceptions import WorkflowAlreadyStartedError
from perdure.wire import errors
from perdure.wire.api import workflowservice as pb
from tests.harness.connections import ScriptedConnection
from tests.unit.client.workflows import Order, OrderWorkflow, Ping

STARTED = pb.StartWorkflowExecutionResponse(run_id="run-1", started=True)
REQUIRED: dict[str, Any] = {"id": "o-1", "task_queue": "q"}


@pytest.fixture
def connection() -> ScriptedConnection:
    scripted = ScriptedConnection()
    scripted.on("StartWorkflowExecution", STARTED)
    return scripted


async def started(connection: ScriptedConnection) -> pb.StartWorkflowExecutionRequest:
    (request,) = connection.requests("StartWorkflowExecution")
    return request


async def test_the_plainest_start(client: Client, connection: ScriptedConnection) -> None:
    handle = await client.start_workflow(Ping.run, **REQUIRED)
    request = await started(connection)
    assert (request.namespace, request.identity) == ("shop", "me")
    assert (request.workflow_id, request.workflow_type.name, request.task_queue.name) == (
        "o-1",
        "Ping",
        "q",
    )
    assert request.request_id
    assert not request.HasField("input")
    assert not request.HasField("header")
    assert request.workflow_id_reuse_policy == WorkflowIDReusePolicy.ALLOW_DUPLICATE
    assert (handle.id, handle.run_id, handle.result_run_id, handle.first_execution_run_id) == (
        "o-1",
        None,
        "run-1",
        "run-1",
    )


async def test_every_option_reaches_the_request(
    client: Client, connection: ScriptedConnection
) -> None:
    key = SearchAttributeKey.for_keyword("Customer")
    await client.start_workflow(
        OrderWorkflow.run,
        Order("a", 1),
        id="o-1",
        task_queue="q",
        execution_timeout=timedelta(hours=1),
        run_timeout=timedelta(minutes=1),
        task_timeout=timedelta(seconds=1),
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        retry_policy=RetryPolicy(maximum_attempts=3),
        cron_schedule="@daily",
        memo={"m": 1},
        search_attributes=TypedSearchAttributes([SearchAttributePair(key, "c")]),
        start_delay=timedelta(seconds=5),
        static_summary="sum",
        static_details="det",
        rpc_metadata={"x": "1"},
        rpc_timeout=timedelta(seconds=2),
        priority=Priority(priority_key=1),
    )
    request = await started(connection)
    assert request.input.payloads[0].data == b'{"amount":1,"id":"a"}'
    assert request.workflow_execution_timeout.seconds == 3600
    assert request.workflow_run_timeout.seconds == 60
    assert request.workflow_task_timeout.seconds == 1
    assert request.workflow_id_conflict_policy == WorkflowIDConflictPolicy.USE_EXISTING
    assert request.retry_policy.maximum_attempts == 3
    assert request.cron_schedule == "@daily"
    assert request.memo.fields["m"].data == b"1"
    assert request.search_attributes.indexed_fields["Customer"].metadata["type"] == b"Keyword"
    assert request.workflow_start_delay.seconds == 5
    assert request.user_metadata.summary.data == b'"sum"'
    assert request.user_metadata.details.data == b'"det"'
    assert request.priority.priority_key == 1
    assert connection.metadata == [{"x": "1"}]
    assert connection.timeouts_ns == [2_000_000_000]


async def test_by_class_and_by_name(client: Client, connection: ScriptedConnection) -> None:
    await client.start_workflow(OrderWorkflow, Order("a", 1), **REQUIRED)
    await client.start_workflow("Anything", args=[1, "b"], **REQUIRED)
    first, second = connection.requests("StartWorkflowExecution")
    assert first.workflow_type.name == "OrderWorkflow"
    assert [payload.data for payload in second.input.payloads] == [b"1", b'"b"']


@pytest.mark.parametrize(
    ("workflow", "args", "message"),
    [
        (Ping.run, [1], r"takes 0 argument"),
        (OrderWorkflow.run, [], r"takes 1 argument\(s\) \(order\), but 0 were given"),
        (OrderWorkflow, [1, 2], "2 were given"),
        (OrderWorkflow.run, ["x"], "Argument 1 of Workflow OrderWorkflow is of type str"),
        (OrderWorkflow.run, [5], "but Order is expected"),
    ],
)
async def test_wrong_arguments_never_travel(
    client: Client, connection: ScriptedConnection, workflow: Any, args: list[Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        await client.start_workflow(workflow, args=args, **REQUIRED)
    assert connection.calls == []


async def test_a_dictionary_may_stand_for_a_dataclass(
    client: Client, connection: ScriptedConnection
) -> None:
    untyped: Any = OrderWorkflow.run
    await client.start_workflow(untyped, {"id": "a", "amount": 1}, **REQUIRED)
    await client.start_workflow(untyped, None, **REQUIRED)
    assert len(connection.calls) == 2


async def test_not_a_workflow(client: Client) -> None:
    untyped: Any = client.start_workflow
    with pytest.raises(ValueError, match="decorated"):
        await untyped(len, **REQUIRED)
    with pytest.raises(TypeError, match="unexpected"):
        await untyped(Ping.run, timeout=5, **REQUIRED)


async def test_mapping_search_attributes_are_deprecated(
    client: Client, connection: ScriptedConnection
) -> None:
    with pytest.warns(DeprecationWarning, match="search attributes"):
        await client.start_workflow(Ping.run, search_attributes={"A": ["x"]}, **REQUIRED)
    assert (await started(connection)).search_attributes.indexed_fields["A"].data == b'["x"]'


async def test_signal_with_start(client: Client, connection: ScriptedConnection) -> None:
    connection.on(
        "SignalWithStartWorkflowExecution",
        pb.SignalWithStartWorkflowExecutionResponse(run_id="run-2", started=True),
        pb.SignalWithStartWorkflowExecutionResponse(run_id="run-2", started=False),
    )
    options: dict[str, Any] = REQUIRED | {
        "start_signal": "approve",
        "start_signal_args": ["me"],
    }
    fresh = await client.start_workflow(Ping.run, **options)
    existing = await client.start_workflow(Ping.run, **options)
    request = connection.requests("SignalWithStartWorkflowExecution")[0]
    assert request.signal_name == "approve"
    assert request.signal_input.payloads[0].data == b'"me"'
    assert (request.workflow_id, request.workflow_type.name) == ("o-1", "Ping")
    assert fresh.first_execution_run_id == "run-2"
    # Who knows which run was the first of a chain that was there before.
    assert existing.first_execution_run_id is None


async def test_already_started(client: Client, connection: ScriptedConnection) -> None:
    connection.answers["StartWorkflowExecution"] = [
        errors.workflow_already_started(
            "taken", start_request_id="r", run_id="run-0", first_run_id="run-f"
        )
    ]
    with pytest.raises(WorkflowAlreadyStartedError) as caught:
        await client.start_workflow(Ping.run, **REQUIRED)
    error = caught.value
    assert (error.workflow_id, error.workflow_type, error.run_id, error.first_run_id) == (
        "o-1",
        "Ping",
        "run-0",
        "run-f",
    )


async def test_another_conflict_stays_an_rpc_error(
    client: Client, connection: ScriptedConnection
) -> None:
    connection.answers["StartWorkflowExecution"] = [errors.AlreadyExists("other")]
    with pytest.raises(RPCError) as caught:
        await client.start_workflow(Ping.run, **REQUIRED)
    assert caught.value.status is RPCStatusCode.ALREADY_EXISTS


async def test_retries_carry_the_same_request_id(
    client: Client, connection: ScriptedConnection
) -> None:
    connection.answers["StartWorkflowExecution"] = [
        errors.Unavailable("restarting"),
        errors.ResourceExhausted("message larger than max"),
    ]
    with pytest.raises(RPCError, match="larger"):
        await client.start_workflow(Ping.run, **REQUIRED)
    first, second = connection.requests("StartWorkflowExecution")
    assert first == second
    connection.calls.clear()
    connection.answers["StartWorkflowExecution"] = [errors.Unavailable("restarting"), STARTED]
    await client.start_workflow(Ping.run, **REQUIRED)
    third, fourth = connection.requests("StartWorkflowExecution")
    assert third == fourth
    assert third.request_id != first.request_id


def test_inputs_need_only_what_matters() -> None:
    given = StartWorkflowInput(workflow="W", args=[], id="i", task_queue="q")
    assert given.priority is Priority.default
    assert given.headers == {}
