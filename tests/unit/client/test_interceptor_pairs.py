"""Two interceptors around every verb of the client: the order, what each sees, and what comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perdure.client import Client, Interceptor, OutboundInterceptor
from perdure.wire.api import history as history_pb
from perdure.wire.api import workflowservice as pb
from tests.harness.connections import ScriptedConnection
from tests.unit.client.scripted import client_over
from tests.unit.client.workflows import Ping

VERBS = [name for name in vars(OutboundInterceptor) if not name.startswith("_")]

Call = Callable[[Client], Awaitable[Any]]


def _handle(client: Client) -> Any:
    return client.get_workflow_handle("w", run_id="r")


def _activity(client: Client) -> Any:
    return client.get_async_activity_handle(task_token=b"token")


async def _events(client: Client) -> list[int]:
    return [event.event_id async for event in _handle(client).fetch_history_events()]


async def _list(client: Client) -> list[str]:
    return [each.id async for each in client.list_workflows()]


async def _count(client: Client) -> int:
    return (await client.count_workflows()).count


async def _id_of(started: Awaitable[Any]) -> str:
    return (await started).id


HISTORY = pb.GetWorkflowExecutionHistoryResponse(
    history=history_pb.History(events=[history_pb.HistoryEvent(event_id=7)])
)
LISTED = pb.ListWorkflowExecutionsResponse()
LISTED.executions.add().execution.workflow_id = "listed"
UPDATED = pb.UpdateWorkflowExecutionResponse(stage=3)  # pyright: ignore[reportArgumentType]
UPDATED.outcome.success.SetInParent()
DESCRIBED = pb.DescribeWorkflowExecutionResponse()
DESCRIBED.workflow_execution_info.execution.workflow_id = "described"

# Verb -> the user's call, the method that it ends in, the answer there, and what the user gets.
TABLE: dict[str, tuple[Call, str, Any, Any]] = {
    "start_workflow": (
        lambda client: _id_of(client.start_workflow(Ping.run, id="p", task_queue="q")),
        "StartWorkflowExecution",
        pb.StartWorkflowExecutionResponse(run_id="r"),
        "p",
    ),
    "cancel_workflow": (
        lambda client: _handle(client).cancel(),
        "RequestCancelWorkflowExecution",
        pb.RequestCancelWorkflowExecutionResponse(),
        None,
    ),
    "describe_workflow": (
        lambda client: _id_of(_handle(client).describe()),
        "DescribeWorkflowExecution",
        DESCRIBED,
        "described",
    ),
    "fetch_workflow_history_events": (_events, "GetWorkflowExecutionHistory", HISTORY, [7]),
    "list_workflows": (_list, "ListWorkflowExecutions", LISTED, ["listed"]),
    "count_workflows": (
        _count,
        "CountWorkflowExecutions",
        pb.CountWorkflowExecutionsResponse(count=3),
        3,
    ),
    "query_workflow": (
        lambda client: _handle(client).query("q"),
        "QueryWorkflow",
        pb.QueryWorkflowResponse(),
        None,
    ),
    "signal_workflow": (
        lambda client: _handle(client).signal("s"),
        "SignalWorkflowExecution",
        pb.SignalWorkflowExecutionResponse(),
        None,
    ),
    "terminate_workflow": (
        lambda client: _handle(client).terminate(),
        "TerminateWorkflowExecution",
        pb.TerminateWorkflowExecutionResponse(),
        None,
    ),
    "start_workflow_update": (
        lambda client: _handle(client).execute_update("u", id="update"),
        "UpdateWorkflowExecution",
        UPDATED,
        None,
    ),
    "heartbeat_async_activity": (
        lambda client: _activity(client).heartbeat(),
        "RecordActivityTaskHeartbeat",
        pb.RecordActivityTaskHeartbeatResponse(),
        None,
    ),
    "complete_async_activity": (
        lambda client: _activity(client).complete(),
        "RespondActivityTaskCompleted",
        pb.RespondActivityTaskCompletedResponse(),
        None,
    ),
    "fail_async_activity": (
        lambda client: _activity(client).fail(ValueError("no")),
        "RespondActivityTaskFailed",
        pb.RespondActivityTaskFailedResponse(),
        None,
    ),
    "report_cancellation_async_activity": (
        lambda client: _activity(client).report_cancellation(),
        "RespondActivityTaskCanceled",
        pb.RespondActivityTaskCanceledResponse(),
        None,
    ),
}


class Noting(Interceptor):
    """Notes each verb with the headers that it was called with, and adds one of its own."""

    def __init__(self, name: str, log: list[tuple[str, str, list[str]]]) -> None:
        self._name, self._log = name, log

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        def noting(verb: str) -> Any:
            def method(outbound: Any, input: Any) -> Any:
                self._log.append((self._name, verb, list(input.rpc_metadata)))
                input.rpc_metadata = {**input.rpc_metadata, self._name: "seen"}
                return getattr(OutboundInterceptor, verb)(outbound, input)

            return method

        kind = type("Outbound", (OutboundInterceptor,), {verb: noting(verb) for verb in VERBS})
        # One that overrides nothing stands in between: it passes everything on.
        return kind(OutboundInterceptor(super().intercept_client(next)))


def test_the_table_is_complete() -> None:
    assert set(TABLE) == set(VERBS)


@pytest.mark.parametrize("verb", TABLE)
async def test_both_interceptors_see_every_call_the_earlier_one_first(verb: str) -> None:
    call, method, answer, expected = TABLE[verb]
    connection = ScriptedConnection()
    connection.on(method, answer)
    log: list[tuple[str, str, list[str]]] = []
    client = client_over(connection, interceptors=[Noting("outer", log), Noting("inner", log)])
    assert await call(client) == expected
    assert log == [("outer", verb, []), ("inner", verb, ["outer"])]
    assert [name for name, _ in connection.calls] == [method]
    assert connection.metadata == [{"outer": "seen", "inner": "seen"}]


class Keeping(Interceptor):
    """Keeps the input of every call."""

    def __init__(self) -> None:
        self.inputs: list[Any] = []

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        def keeping(verb: str) -> Any:
            def method(outbound: Any, input: Any) -> Any:
                self.inputs.append(input)
                return getattr(OutboundInterceptor, verb)(outbound, input)

            return method

        kind = type("Outbound", (OutboundInterceptor,), {verb: keeping(verb) for verb in VERBS})
        return kind(super().intercept_client(next))


NONE: dict[str, Any] = {"rpc_metadata": None, "rpc_timeout": None}
WITH_NONE: dict[str, Call] = {
    "start_workflow": lambda client: client.start_workflow("W", id="p", task_queue="q", **NONE),
    "cancel_workflow": lambda client: _handle(client).cancel(**NONE),
    "describe_workflow": lambda client: _handle(client).describe(**NONE),
    "fetch_workflow_history_events": lambda client: _handle(client).fetch_history(**NONE),
    "list_workflows": lambda client: anext(client.list_workflows(**NONE)),
    "count_workflows": lambda client: client.count_workflows(**NONE),
    "query_workflow": lambda client: _handle(client).query("q", **NONE),
    "signal_workflow": lambda client: _handle(client).signal("s", **NONE),
    "terminate_workflow": lambda client: _handle(client).terminate(**NONE),
    "start_workflow_update": lambda client: _handle(client).execute_update("u", **NONE),
    "heartbeat_async_activity": lambda client: _activity(client).heartbeat(**NONE),
    "complete_async_activity": lambda client: _activity(client).complete(**NONE),
    "fail_async_activity": lambda client: _activity(client).fail(ValueError("no"), **NONE),
    "report_cancellation_async_activity": lambda client: _activity(client).report_cancellation(
        **NONE
    ),
}


@pytest.mark.parametrize("verb", TABLE)
async def test_interceptors_always_see_headers_that_they_can_add_to(verb: str) -> None:
    _, method, answer, _ = TABLE[verb]
    connection = ScriptedConnection()
    connection.on(method, answer)
    keeping = Keeping()
    await WITH_NONE[verb](client_over(connection, interceptors=[keeping]))
    (input,) = keeping.inputs
    assert (input.rpc_metadata, input.rpc_timeout) == ({}, None)
    if hasattr(input, "headers"):
        assert input.headers == {}
