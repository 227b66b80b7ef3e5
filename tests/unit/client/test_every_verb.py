"""Each verb's request says all that the caller said, with the caller's headers and time-out; answers field by field."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure.client import (
    AsyncActivityCancelledError,
    Client,
    WorkflowExecutionStatus,
    WorkflowHistoryEventFilterType,
    WorkflowQueryRejectedError,
    WorkflowUpdateStage,
)
from perdure.common import QueryRejectCondition
from perdure.converter import DataConverter
from perdure.exceptions import ApplicationError
from perdure.wire.api import common as common_pb
from perdure.wire.api import history as history_pb
from perdure.wire.api import workflowservice as pb
from tests.harness.connections import ScriptedConnection

CONVERTER = DataConverter.default
SECOND_NS = 1_000_000_000
RPC: dict[str, Any] = {
    "rpc_metadata": {"key": "value"},
    "rpc_timeout": timedelta(seconds=3),
}


def handle(client: Client) -> Any:
    return client.get_workflow_handle("w", run_id="r", first_execution_run_id="first")


def by_token(client: Client) -> Any:
    return client.get_async_activity_handle(task_token=b"token")


def by_ids(client: Client) -> Any:
    return client.get_async_activity_handle(workflow_id="w", run_id="r", activity_id="a")


def execution(message: Any) -> tuple[str, str]:
    return (message.workflow_id, message.run_id)


def values(payloads: common_pb.Payloads) -> list[Any]:
    return CONVERTER.payload_converter.from_payloads(payloads.payloads)


async def all_of(iterator: Any) -> list[Any]:
    return [each async for each in iterator]


def update_answer() -> pb.UpdateWorkflowExecutionResponse:
    answer = pb.UpdateWorkflowExecutionResponse(stage=2)  # pyright: ignore[reportArgumentType]
    answer.update_ref.workflow_execution.run_id = "answered"
    return answer


FINISHED = pb.PollWorkflowExecutionUpdateResponse()
FINISHED.outcome.success.SetInParent()
CLOSED = pb.GetWorkflowExecutionHistoryResponse(history=history_pb.History())
CLOSED.history.events.add().workflow_execution_completed_event_attributes.SetInParent()

# The call, the answer, and what the request must say.
VERBS: dict[str, tuple[Callable[[Client], Awaitable[Any]], Any, Callable[[Any], Any], Any]] = {
    "RequestCancelWorkflowExecution": (
        lambda client: handle(client).cancel(reason="why", **RPC),
        pb.RequestCancelWorkflowExecutionResponse(),
        lambda r: (execution(r.workflow_execution), r.first_execution_run_id, r.reason, r.identity),
        (("w", "r"), "first", "why", "me"),
    ),
    "TerminateWorkflowExecution": (
        lambda client: handle(client).terminate(1, "two", reason="why", **RPC),
        pb.TerminateWorkflowExecutionResponse(),
        lambda r: (
            execution(r.workflow_execution),
            r.first_execution_run_id,
            r.reason,
            r.identity,
            values(r.details),
        ),
        (("w", "r"), "first", "why", "me", [1, "two"]),
    ),
    "SignalWorkflowExecution": (
        lambda client: handle(client).signal("s", args=[1, 2], **RPC),
        pb.SignalWorkflowExecutionResponse(),
        lambda r: (
            execution(r.workflow_execution),
            r.signal_name,
            values(r.input),
            r.identity,
            bool(r.request_id),
        ),
        (("w", "r"), "s", [1, 2], "me", True),
    ),
    "QueryWorkflow": (
        lambda client: handle(client).query(
            "q", args=[1, 2], reject_condition=QueryRejectCondition.NOT_OPEN, **RPC
        ),
        pb.QueryWorkflowResponse(),
        lambda r: (
            execution(r.execution),
            r.query.query_type,
            values(r.query.query_args),
            r.query_reject_condition,
        ),
        (("w", "r"), "q", [1, 2], 2),
    ),
    "DescribeWorkflowExecution": (
        lambda client: handle(client).describe(**RPC),
        pb.DescribeWorkflowExecutionResponse(),
        lambda r: execution(r.execution),
        ("w", "r"),
    ),
    "UpdateWorkflowExecution": (
        lambda client: handle(client).start_update(
            "u", args=[1, 2], id="update", wait_for_stage=WorkflowUpdateStage.ACCEPTED, **RPC
        ),
        update_answer(),
        lambda r: (
            execution(r.workflow_execution),
            r.first_execution_run_id,
            r.wait_policy.lifecycle_stage,
            r.request.meta.update_id,
            r.request.meta.identity,
            r.request.input.name,
            values(r.request.input.args),
        ),
        (("w", "r"), "first", 2, "update", "me", "u", [1, 2]),
    ),
    "PollWorkflowExecutionUpdate": (
        lambda client: handle(client).get_update_handle("update").result(**RPC),
        FINISHED,
        lambda r: (
            execution(r.update_ref.workflow_execution),
            r.update_ref.update_id,
            r.wait_policy.lifecycle_stage,
            r.identity,
        ),
        (("w", "r"), "update", 3, "me"),
    ),
    "GetWorkflowExecutionHistory": (
        lambda client: all_of(
            handle(client).fetch_history_events(
                page_size=7,
                next_page_token=b"next",
                wait_new_event=True,
                event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT,
                skip_archival=True,
                **RPC,
            )
        ),
        pb.GetWorkflowExecutionHistoryResponse(),
        lambda r: (
            execution(r.execution),
            r.maximum_page_size,
            r.next_page_token,
            r.wait_new_event,
            r.history_event_filter_type,
            r.skip_archival,
        ),
        (("w", "r"), 7, b"next", True, 2, True),
    ),
    "ListWorkflowExecutions": (
        lambda client: all_of(
            client.list_workflows("q", page_size=7, limit=5, next_page_token=b"next", **RPC)
        ),
        pb.ListWorkflowExecutionsResponse(),
        lambda r: (r.query, r.page_size, r.next_page_token),
        ("q", 5, b"next"),
    ),
    "CountWorkflowExecutions": (
        lambda client: client.count_workflows("q", **RPC),
        pb.CountWorkflowExecutionsResponse(),
        lambda r: r.query,
        "q",
    ),
    "RecordActivityTaskHeartbeat": (
        lambda client: by_token(client).heartbeat(1, "two", **RPC),
        pb.RecordActivityTaskHeartbeatResponse(),
        lambda r: (r.task_token, values(r.details), r.identity),
        (b"token", [1, "two"], "me"),
    ),
    "RecordActivityTaskHeartbeatById": (
        lambda client: by_ids(client).heartbeat(1, "two", **RPC),
        pb.RecordActivityTaskHeartbeatByIdResponse(),
        lambda r: (execution(r), r.activity_id, values(r.details), r.identity),
        (("w", "r"), "a", [1, "two"], "me"),
    ),
    "RespondActivityTaskCompleted": (
        lambda client: by_token(client).complete(5, **RPC),
        pb.RespondActivityTaskCompletedResponse(),
        lambda r: (r.task_token, values(r.result), r.identity),
        (b"token", [5], "me"),
    ),
    "RespondActivityTaskCompletedById": (
        lambda client: by_ids(client).complete(None, **RPC),
        pb.RespondActivityTaskCompletedByIdResponse(),
        lambda r: (execution(r), r.activity_id, values(r.result)),
        (("w", "r"), "a", [None]),
    ),
    "RespondActivityTaskFailed": (
        lambda client: by_token(client).fail(
            ApplicationError("no"), last_heartbeat_details=[1], **RPC
        ),
        pb.RespondActivityTaskFailedResponse(),
        lambda r: (r.task_token, r.failure.message, values(r.last_heartbeat_details)),
        (b"token", "no", [1]),
    ),
    "RespondActivityTaskFailedById": (
        lambda client: by_ids(client).fail(ApplicationError("no"), **RPC),
        pb.RespondActivityTaskFailedByIdResponse(),
        lambda r: (
            execution(r),
            r.activity_id,
            r.failure.message,
            r.HasField("last_heartbeat_details"),
        ),
        (("w", "r"), "a", "no", False),
    ),
    "RespondActivityTaskCanceled": (
        lambda client: by_token(client).report_cancellation(1, "two", **RPC),
        pb.RespondActivityTaskCanceledResponse(),
        lambda r: (r.task_token, values(r.details)),
        (b"token", [1, "two"]),
    ),
    "RespondActivityTaskCanceledById": (
        lambda client: by_ids(client).report_cancellation(1, "two", **RPC),
        pb.RespondActivityTaskCanceledByIdResponse(),
        lambda r: (execution(r), r.activity_id, values(r.details)),
        (("w", "r"), "a", [1, "two"]),
    ),
}


@pytest.mark.parametrize("method", VERBS)
async def test_the_request_says_what_the_caller_said(
    client: Client, connection: ScriptedConnection, method: str
) -> None:
    call, answer, said, expected = VERBS[method]
    connection.on(method, answer)
    await call(client)
    (request,) = connection.requests(method)
    assert (request.namespace, said(request)) == ("shop", expected)
    assert connection.metadata == [{"key": "value"}]
    assert connection.timeouts_ns == [3 * SECOND_NS]


async def test_results_and_whole_histories_pass_them_on(
    client: Client, connection: ScriptedConnection
) -> None:
    connection.on("GetWorkflowExecutionHistory", CLOSED)
    await client.get_workflow_handle("w").result(**RPC)
    await client.get_workflow_handle("w").fetch_history(skip_archival=True, **RPC)
    result, whole = connection.requests("GetWorkflowExecutionHistory")
    assert (result.wait_new_event, result.history_event_filter_type) == (True, 2)
    assert (whole.wait_new_event, whole.history_event_filter_type) == (False, 1)
    assert result.skip_archival
    assert whole.skip_archival
    assert connection.metadata == [{"key": "value"}] * 2
    assert connection.timeouts_ns == [3 * SECOND_NS] * 2


async def test_completing_without_a_result(client: Client, connection: ScriptedConnection) -> None:
    connection.on("RespondActivityTaskCompleted", pb.RespondActivityTaskCompletedResponse())
    await by_token(client).complete()
    assert not connection.requests("RespondActivityTaskCompleted")[0].HasField("result")


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("cancel_requested", "cancel_requested"),
        ("activity_paused", "paused"),
        ("activity_reset", "reset"),
    ],
)
async def test_why_an_activity_is_to_stop(
    client: Client, connection: ScriptedConnection, field: str, name: str
) -> None:
    answer = pb.RecordActivityTaskHeartbeatResponse()
    setattr(answer, field, True)
    connection.on("RecordActivityTaskHeartbeat", answer)
    with pytest.raises(AsyncActivityCancelledError) as caught:
        await by_token(client).heartbeat()
    details = caught.value.details
    assert details is not None
    told = {each for each in ("cancel_requested", "paused", "reset") if getattr(details, each)}
    assert told == {name}


@pytest.mark.parametrize("status", [2, 5])
async def test_a_rejected_query_says_the_status(
    client: Client, connection: ScriptedConnection, status: int
) -> None:
    answer = pb.QueryWorkflowResponse()
    answer.query_rejected.status = status  # pyright: ignore[reportAttributeAccessIssue]
    connection.on("QueryWorkflow", answer)
    with pytest.raises(WorkflowQueryRejectedError) as caught:
        await handle(client).query("q")
    assert caught.value.status is WorkflowExecutionStatus(status)


async def test_every_update_has_an_id_and_waits_for_its_outcome(
    client: Client, connection: ScriptedConnection
) -> None:
    connection.on("UpdateWorkflowExecution", update_answer())
    connection.on("PollWorkflowExecutionUpdate", FINISHED)
    await client.get_workflow_handle("w").execute_update("u")
    (sent,) = connection.requests("UpdateWorkflowExecution")
    (asked,) = connection.requests("PollWorkflowExecutionUpdate")
    assert sent.wait_policy.lifecycle_stage == 3
    assert sent.request.meta.update_id
    assert asked.update_ref.update_id == sent.request.meta.update_id
    assert execution(asked.update_ref.workflow_execution) == ("w", "answered")


async def test_a_description_field_by_field(client: Client, connection: ScriptedConnection) -> None:
    answer = pb.DescribeWorkflowExecutionResponse()
    connection.on("DescribeWorkflowExecution", answer)
    bare = await handle(client).describe()
    assert (bare.close_time, bare.execution_time, bare.status) == (None, None, None)
    assert (bare.parent_id, bare.parent_run_id, bare.root_id, bare.root_run_id) == (None,) * 4
    assert await bare.static_summary() is None
    assert await bare.static_details() is None
    info = answer.workflow_execution_info
    for name, second in (("start_time", 1), ("execution_time", 2), ("close_time", 3)):
        getattr(info, name).seconds = second
    info.execution.workflow_id, info.execution.run_id = "w", "r"
    info.parent_execution.workflow_id, info.parent_execution.run_id = "pw", "pr"
    info.root_execution.workflow_id, info.root_execution.run_id = "rw", "rr"
    info.type.name, info.task_queue, info.history_length = "Order", "q", 9
    info.status = 7  # pyright: ignore[reportAttributeAccessIssue]
    told = await handle(client).describe()
    moments = [datetime.fromtimestamp(second, UTC) for second in (1, 2, 3)]
    assert [told.start_time, told.execution_time, told.close_time] == moments
    assert (told.id, told.run_id, told.namespace) == ("w", "r", "shop")
    assert (told.parent_id, told.parent_run_id) == ("pw", "pr")
    assert (told.root_id, told.root_run_id) == ("rw", "rr")
    assert (told.workflow_type, told.task_queue, told.history_length) == ("Order", "q", 9)
    assert told.status is WorkflowExecutionStatus.TIMED_OUT


async def test_pages_that_are_fetched_by_hand(
    client: Client, connection: ScriptedConnection
) -> None:
    page = pb.ListWorkflowExecutionsResponse(next_page_token=b"more")
    page.executions.add().execution.workflow_id = "a"
    connection.on("ListWorkflowExecutions", page, pb.ListWorkflowExecutionsResponse())
    listing = client.list_workflows(page_size=3)
    assert (listing.current_page, listing.next_page_token) == (None, None)
    assert listing.current_page_index == 0
    await listing.fetch_next_page(page_size=1)
    assert listing.current_page is not None
    assert [each.id for each in listing.current_page] == ["a"]
    assert (listing.current_page_index, listing.next_page_token) == (0, b"more")
    assert [each.id async for each in listing] == ["a"]
    assert (listing.current_page_index, listing.next_page_token) == (0, None)
    sizes = [each.page_size for each in connection.requests("ListWorkflowExecutions")]
    assert sizes == [1, 3]


async def test_the_histories_of_a_list(client: Client, connection: ScriptedConnection) -> None:
    page = pb.ListWorkflowExecutionsResponse()
    execution_of = page.executions.add().execution
    execution_of.workflow_id, execution_of.run_id = "a", "run of a"
    connection.on("ListWorkflowExecutions", page)
    connection.on("GetWorkflowExecutionHistory", CLOSED)
    found = [
        each.workflow_id
        async for each in client.list_workflows().map_histories(
            event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT, skip_archival=True, **RPC
        )
    ]
    (request,) = connection.requests("GetWorkflowExecutionHistory")
    assert (found, execution(request.execution)) == (["a"], ("a", "run of a"))
    assert (request.history_event_filter_type, request.skip_archival) == (2, True)
    assert connection.metadata[-1] == {"key": "value"}
    assert connection.timeouts_ns[-1] == 3 * SECOND_NS
