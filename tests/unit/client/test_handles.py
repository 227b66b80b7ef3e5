from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.client import (
    AsyncActivityCancelledError,
    Client,
    RPCError,
    WorkflowContinuedAsNewError,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowHistoryEventFilterType,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from perdure.common import QueryRejectCondition
from perdure.converter import PayloadConverter
from perdure.exceptions import (
    ApplicationError,
    CancelledError,
    TerminatedError,
    TimeoutType,
)
from perdure.exceptions import TimeoutError as TimeoutFailure
from perdure.wire import errors
from perdure.wire.api import enums
from perdure.wire.api import history as history_pb
from perdure.wire.api import workflowservice as pb
from tests.harness.connections import ScriptedConnection
from tests.unit.client.scripted import client_over
from tests.unit.client.workflows import Order, OrderWorkflow

PAYLOADS = PayloadConverter.default.to_payloads_wrapper
ORDER = Order("a", 1)


@pytest.fixture
def handle(client: Client) -> WorkflowHandle[OrderWorkflow, Order]:
    return client.get_workflow_handle_for(
        OrderWorkflow.run, "o-1", run_id="run-1", first_execution_run_id="run-f"
    )


def closing(kind: str, **fields: Any) -> pb.GetWorkflowExecutionHistoryResponse:
    event = history_pb.HistoryEvent(event_id=9)
    attributes = getattr(event, f"workflow_execution_{kind}_event_attributes")
    attributes.SetInParent()
    for name, value in fields.items():
        if hasattr(value, "DESCRIPTOR"):
            getattr(attributes, name).CopyFrom(value)
        else:
            setattr(attributes, name, value)
    return pb.GetWorkflowExecutionHistoryResponse(history=history_pb.History(events=[event]))


def completed(value: Any, **fields: Any) -> pb.GetWorkflowExecutionHistoryResponse:
    return closing("completed", result=PAYLOADS([value]), **fields)


class TestResult:
    async def test_the_method_gives_the_type(
        self, handle: WorkflowHandle[Any, Any], connection: ScriptedConnection
    ) -> None:
        connection.on("GetWorkflowExecutionHistory", completed(ORDER))
        assert await handle.result() == ORDER
        (request,) = connection.requests("GetWorkflowExecutionHistory")
        assert (request.execution.workflow_id, request.execution.run_id) == ("o-1", "run-1")
        assert request.wait_new_event
        assert request.skip_archival
        assert request.history_event_filter_type == WorkflowHistoryEventFilterType.CLOSE_EVENT

    async def test_no_result(
        self, handle: WorkflowHandle[Any, Any], connection: ScriptedConnection
    ) -> None:
        connection.on("GetWorkflowExecutionHistory", closing("completed"))
        assert await handle.result() is None

    async def test_polls_until_it_has_closed_and_through_an_outage(
        self, handle: WorkflowHandle[Any, Any], connection: ScriptedConnection
    ) -> None:
        nothing_yet = pb.GetWorkflowExecutionHistoryResponse(next_page_token=b"t")
        outage = [errors.Unavailable("restarting")] * 30  # more than a normal call would bear
        connection.on("GetWorkflowExecutionHistory", nothing_yet, *outage, completed(ORDER))
        assert await handle.result() == ORDER
        assert connection.requests("GetWorkflowExecutionHistory")[-1].next_page_token == b"t"

    @pytest.mark.parametrize("kind", ["completed", "failed", "timed_out", "continued_as_new"])
    async def test_follows_runs(
        self, handle: WorkflowHandle[Any, Any], connection: ScriptedConnection, kind: str
    ) -> None:
        connection.on(
            "GetWorkflowExecutionHistory",
            closing(kind, new_execution_run_id="run-2"),
            completed(ORDER),
        )
        assert await handle.result() == ORDER
        assert connection.calls[1][1].execution.run_id == "run-2"

    async def test_or_does_not(
        self, handle: WorkflowHandle[Any, Any], connection: ScriptedConnection
    ) -> None:
        connection.on(
            "GetWorkflowExecutionHistory",
            closing("continued_as_new", new_execution_run_id="run-2"),
            completed(ORDER, new_execution_run_id="run-2"),
        )
        with pytest.raises(WorkflowContinuedAsNewError) as caught:
            await handle.result(follow_runs=False)
        assert caught.value.new_execution_run_id == "run-2"
        assert await handle.result(follow_runs=False) == ORDER

    async def test_failed(
        self, handle: WorkflowHandle[Any, Any], connection: ScriptedConnection
    ) -> None:
        response = closing("failed")
        failure = response.history.events[0].workflow_execution_failed_event_attributes.failure
        failure.message = "no"
        failure.application_failure_info.type = "T"
        connection.on("GetWorkflowExecutionHistory", response)
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, ApplicationError)
        assert caught.value.cause.type == "T"

    async def test_cancelled_terminated_timed_out(
        self, handle: WorkflowHandle[Any, Any], connection: ScriptedConnection
    ) -> None:
        connection.on(
            "GetWorkflowExecutionHistory",
            closing("canceled", details=PAYLOADS(["why"])),
            closing("terminated", reason="enough", details=PAYLOADS([1])),
            closing("terminated"),
            closing("timed_out"),
        )
        causes: list[Any] = []
        for _ in range(4):
            with pytest.raises(WorkflowFailureError) as caught:
                await handle.result()
            causes.append(caught.value.cause)
        cancelled, terminated, bare, timed_out = causes
        assert isinstance(cancelled, CancelledError)
        assert list(cancelled.details) == ["why"]
        assert isinstance(terminated, TerminatedError)
        assert (terminated.message, list(terminated.details)) == ("enough", [1])
        assert bare.message == "Workflow terminated"
        assert isinstance(timed_out, TimeoutFailure)
        assert timed_out.type is TimeoutType.START_TO_CLOSE

    async def test_an_answer_that_makes_no_sense(
        self, handle: WorkflowHandle[Any, Any], connection: ScriptedConnection
    ) -> None:
        connection.on(
            "GetWorkflowExecutionHistory",
            pb.GetWorkflowExecutionHistoryResponse(),
            closing("signaled"),
        )
        with pytest.raises(RuntimeError, match="No completion event"):
            await handle.result()
        with pytest.raises(RuntimeError, match="does not close"):
            await handle.result()


async def test_signal_by_method_and_by_name(
    handle: WorkflowHandle[OrderWorkflow, Order], connection: ScriptedConnection
) -> None:
    connection.on("SignalWorkflowExecution", pb.SignalWorkflowExecutionResponse())
    await handle.signal(OrderWorkflow.approve, "me")
    await handle.signal(OrderWorkflow.add_note, args=["text", True])
    await handle.signal("anything")
    first, second, third = connection.requests("SignalWorkflowExecution")
    assert (first.signal_name, first.input.payloads[0].data) == ("approve", b'"me"')
    assert (second.signal_name, len(second.input.payloads)) == ("note", 2)
    assert (third.signal_name, third.HasField("input")) == ("anything", False)
    assert len({first.request_id, second.request_id, third.request_id}) == 3
    with pytest.raises(TypeError, match=r"Signal note takes 2 argument"):
        await handle.signal(OrderWorkflow.add_note, args=["text"])
    wrong: Any = OrderWorkflow.status
    with pytest.raises(RuntimeError, match="Signal definition not found"):
        await handle.signal(wrong)


async def test_cancel_and_terminate(
    handle: WorkflowHandle[Any, Any], connection: ScriptedConnection
) -> None:
    connection.on("RequestCancelWorkflowExecution", pb.RequestCancelWorkflowExecutionResponse())
    connection.on("TerminateWorkflowExecution", pb.TerminateWorkflowExecutionResponse())
    await handle.cancel(reason="late")
    await handle.terminate("detail", reason="enough")
    cancel, terminate = (request for _, request in connection.calls)
    assert (cancel.reason, cancel.first_execution_run_id) == ("late", "run-f")
    assert cancel.workflow_execution.run_id == "run-1"
    assert cancel.request_id
    assert (terminate.reason, terminate.first_execution_run_id) == ("enough", "run-f")
    assert terminate.details.payloads[0].data == b'"detail"'


class TestQuery:
    async def test_typed_by_method(
        self, handle: WorkflowHandle[OrderWorkflow, Order], connection: ScriptedConnection
    ) -> None:
        connection.on(
            "QueryWorkflow",
            pb.QueryWorkflowResponse(query_result=PAYLOADS([ORDER])),
            pb.QueryWorkflowResponse(),
        )
        assert await handle.query(OrderWorkflow.status) == ORDER
        assert await handle.query("other", 5) is None
        first, second = connection.requests("QueryWorkflow")
        assert (first.query.query_type, first.query_reject_condition) == ("status", 0)
        assert second.query.query_args.payloads[0].data == b"5"

    async def test_failed_and_rejected(
        self, handle: WorkflowHandle[Any, Any], connection: ScriptedConnection
    ) -> None:
        rejected = pb.QueryWorkflowResponse()
        rejected.query_rejected.status = (
            enums.WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED
        )
        connection.on(
            "QueryWorkflow",
            errors.InvalidArgument("no such query"),
            errors.NotFound("no such workflow"),
            rejected,
        )
        with pytest.raises(WorkflowQueryFailedError, match="no such query"):
            await handle.query("x")
        with pytest.raises(RPCError, match="no such workflow"):
            await handle.query("x")
        with pytest.raises(WorkflowQueryRejectedError) as caught:
            await handle.query("x", reject_condition=QueryRejectCondition.NOT_OPEN)
        assert caught.value.status is WorkflowExecutionStatus.COMPLETED
        assert connection.calls[-1][1].query_reject_condition == 2

    async def test_the_clients_condition(self, connection: ScriptedConnection) -> None:
        client = client_over(
            connection,
            default_workflow_query_reject_condition=QueryRejectCondition.NOT_COMPLETED_CLEANLY,
        )
        connection.on("QueryWorkflow", pb.QueryWorkflowResponse())
        await client.get_workflow_handle("w").query("x")
        assert connection.calls[0][1].query_reject_condition == 3


def updated(stage: int, **outcome: Any) -> pb.UpdateWorkflowExecutionResponse:
    response = pb.UpdateWorkflowExecutionResponse(stage=stage)  # type: ignore[arg-type]
    response.update_ref.workflow_execution.run_id = "run-7"
    if "success" in outcome:
        response.outcome.success.CopyFrom(PAYLOADS([outcome["success"]]))
    return response


class TestUpdates:
    async def test_repeats_until_accepted_then_polls_the_outcome(
        self, handle: WorkflowHandle[OrderWorkflow, Order], connection: ScriptedConnection
    ) -> None:
        connection.on("UpdateWorkflowExecution", updated(1), updated(2))
        outcome = pb.PollWorkflowExecutionUpdateResponse()
        outcome.outcome.success.CopyFrom(PAYLOADS([ORDER]))
        connection.on(
            "PollWorkflowExecutionUpdate", pb.PollWorkflowExecutionUpdateResponse(), outcome
        )
        assert await handle.execute_update(OrderWorkflow.change, 5) == ORDER
        first, second = connection.requests("UpdateWorkflowExecution")
        assert first == second
        assert (first.request.input.name, first.wait_policy.lifecycle_stage) == ("change", 3)
        assert first.first_execution_run_id == "run-f"
        poll = connection.requests("PollWorkflowExecutionUpdate")[0]
        assert poll.update_ref.update_id == first.request.meta.update_id
        assert poll.update_ref.workflow_execution.run_id == "run-7"

    async def test_a_known_outcome_needs_no_poll(
        self, handle: WorkflowHandle[Any, Any], connection: ScriptedConnection
    ) -> None:
        connection.on("UpdateWorkflowExecution", updated(3, success=1))
        update = await handle.start_update(
            "u", id="u-1", wait_for_stage=WorkflowUpdateStage.ACCEPTED
        )
        assert (update.id, update.workflow_id, update.workflow_run_id) == ("u-1", "o-1", "run-7")
        assert await update.result() == 1
        assert len(connection.calls) == 1

    async def test_failed(
        self, handle: WorkflowHandle[Any, Any], connection: ScriptedConnection
    ) -> None:
        response = updated(3)
        response.outcome.failure.message = "rejected"
        response.outcome.failure.application_failure_info.SetInParent()
        connection.on("UpdateWorkflowExecution", response)
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await handle.execute_update("u")
        assert isinstance(caught.value.cause, ApplicationError)

    @pytest.mark.parametrize(
        "problem", [errors.Canceled("x"), asyncio.CancelledError()], ids=["server", "caller"]
    )
    async def test_giving_up_is_not_the_updates_end(
        self, handle: WorkflowHandle[Any, Any], connection: ScriptedConnection, problem: Any
    ) -> None:
        connection.on("UpdateWorkflowExecution", problem)
        connection.on("PollWorkflowExecutionUpdate", problem)
        with pytest.raises(WorkflowUpdateRPCTimeoutOrCancelledError):
            await handle.execute_update("u")
        with pytest.raises(WorkflowUpdateRPCTimeoutOrCancelledError):
            await handle.get_update_handle("u").result()

    async def test_handles(
        self, handle: WorkflowHandle[OrderWorkflow, Order], connection: ScriptedConnection
    ) -> None:
        outcome = pb.PollWorkflowExecutionUpdateResponse()
        outcome.outcome.success.CopyFrom(PAYLOADS([ORDER]))
        connection.on("PollWorkflowExecutionUpdate", outcome)
        assert await handle.get_update_handle_for(OrderWorkflow.change, "u").result() == ORDER
        with pytest.raises(ValueError, match="ADMITTED"):
            await handle.start_update("u", wait_for_stage=WorkflowUpdateStage.ADMITTED)


class TestAsyncActivities:
    async def test_by_token_and_by_ids(
        self, client: Client, connection: ScriptedConnection
    ) -> None:
        connection.on("RespondActivityTaskCompleted", pb.RespondActivityTaskCompletedResponse())
        connection.on("RespondActivityTaskFailedById", pb.RespondActivityTaskFailedByIdResponse())
        connection.on("RespondActivityTaskCanceled", pb.RespondActivityTaskCanceledResponse())
        token = client.get_async_activity_handle(task_token=b"t")
        await token.complete()
        await token.complete(None)
        await token.report_cancellation("d")
        by_id = client.get_async_activity_handle(workflow_id="w", run_id=None, activity_id="5")
        await by_id.fail(ValueError("no"), last_heartbeat_details=["half"])
        without, with_none, cancelled, failed = (request for _, request in connection.calls)
        assert without.task_token == b"t"
        assert not without.HasField("result")
        assert with_none.result.payloads[0].metadata["encoding"] == b"binary/null"
        assert cancelled.details.payloads[0].data == b'"d"'
        assert (failed.workflow_id, failed.activity_id) == ("w", "5")
        assert failed.failure.application_failure_info.type == "ValueError"
        assert failed.last_heartbeat_details.payloads[0].data == b'"half"'
        assert {request.namespace for _, request in connection.calls} == {"shop"}

    async def test_heartbeats_hear_of_cancellation(
        self, client: Client, connection: ScriptedConnection
    ) -> None:
        connection.on(
            "RecordActivityTaskHeartbeat",
            pb.RecordActivityTaskHeartbeatResponse(),
            pb.RecordActivityTaskHeartbeatResponse(activity_paused=True),
        )
        handle = client.get_async_activity_handle(task_token=b"t")
        await handle.heartbeat(1)
        with pytest.raises(AsyncActivityCancelledError) as caught:
            await handle.heartbeat()
        assert caught.value.details is not None
        assert caught.value.details.paused

    def test_ids_and_token(self, client: Client) -> None:
        untyped: Any = client.get_async_activity_handle
        with pytest.raises(ValueError, match="other IDs"):
            untyped(task_token=b"t", activity_id="5")
        with pytest.raises(ValueError, match="must be given"):
            untyped(workflow_id="w")
