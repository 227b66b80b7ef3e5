"""Errors of clients: what each says, and which answers of the service become which."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure.activity import ActivityCancellationDetails
from perdure.client import (
    AsyncActivityCancelledError,
    Client,
    RPCError,
    RPCStatusCode,
    WorkflowContinuedAsNewError,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from perdure.exceptions import WorkflowAlreadyStartedError
from perdure.wire import errors
from perdure.wire.api import common as common_pb
from perdure.wire.api import errordetails
from tests.harness.connections import ScriptedConnection
from tests.unit.client.workflows import OrderWorkflow

SECOND = timedelta(seconds=1)


def test_what_a_call_to_the_service_says() -> None:
    status = common_pb.GrpcStatus(code=5, message="nothing")
    error = RPCError("nothing", RPCStatusCode.NOT_FOUND, status.SerializeToString())
    assert (str(error), error.message, error.status) == (
        "nothing",
        "nothing",
        RPCStatusCode.NOT_FOUND,
    )
    assert error.raw_grpc_status == status.SerializeToString()
    assert error.grpc_status == status
    assert error.grpc_status is error.grpc_status


def test_what_errors_of_workflows_say() -> None:
    cause = ValueError("why")
    failed, update = WorkflowFailureError(cause=cause), WorkflowUpdateFailedError(cause)
    assert (str(failed), str(update)) == ("Workflow execution failed", "Workflow update failed")
    assert failed.cause is cause
    assert update.cause is cause
    went_on = WorkflowContinuedAsNewError("r")
    assert (str(went_on), went_on.new_execution_run_id) == ("Workflow continued as new", "r")
    query = WorkflowQueryFailedError("no such query")
    assert (str(query), query.message) == ("no such query", "no such query")
    rejected = WorkflowQueryRejectedError(WorkflowExecutionStatus.FAILED)
    assert rejected.status is WorkflowExecutionStatus.FAILED
    assert "Query rejected, status: " in str(rejected)
    assert WorkflowQueryRejectedError(None).status is None
    gave_up = WorkflowUpdateRPCTimeoutOrCancelledError()
    assert str(gave_up) == "Timeout or cancellation waiting for update"
    details = ActivityCancellationDetails(paused=True)
    stopped = AsyncActivityCancelledError(details)
    assert (str(stopped), stopped.details) == ("Activity cancelled", details)
    assert AsyncActivityCancelledError().details is None


STARTED = errordetails.WorkflowExecutionAlreadyStartedFailure(run_id="r")
OTHER = errordetails.NamespaceNotFoundFailure(namespace="shop")


@pytest.mark.parametrize(
    ("answer", "is_conflict"),
    [
        (errors.AlreadyExists("x", STARTED), True),
        (errors.AlreadyExists("x", STARTED, OTHER), True),
        (errors.AlreadyExists("x", OTHER), False),
        (errors.AlreadyExists("x"), False),
        (errors.FailedPrecondition("x", STARTED), False),
        (errors.NotFound("x", OTHER), False),
    ],
)
@pytest.mark.parametrize("signal", [None, "s"])
async def test_only_a_start_that_lost_its_id_is_already_started(
    client: Client,
    connection: ScriptedConnection,
    answer: errors.RpcError,
    is_conflict: bool,
    signal: str | None,
) -> None:
    options: dict[str, Any] = {} if signal is None else {"start_signal": signal}
    for method in ("StartWorkflowExecution", "SignalWithStartWorkflowExecution"):
        connection.on(method, answer)
    kind = WorkflowAlreadyStartedError if is_conflict else RPCError
    with pytest.raises(kind) as caught:
        await client.start_workflow("W", id="w", task_queue="q", **options)
    if isinstance(caught.value, WorkflowAlreadyStartedError):
        assert (caught.value.run_id, caught.value.first_run_id) == ("r", None)


# With a time-out of the caller's own: one of the transport is tried again.
CALLS: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "UpdateWorkflowExecution": lambda client: client.get_workflow_handle("w").execute_update(
        "u", rpc_timeout=SECOND
    ),
    "PollWorkflowExecutionUpdate": lambda client: (
        client.get_workflow_handle("w").get_update_handle("u").result(rpc_timeout=SECOND)
    ),
}


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize(
    ("answer", "gave_up"),
    [
        (errors.DeadlineExceeded("x"), True),
        (errors.Canceled("x"), True),
        (errors.NotFound("x"), False),
        (errors.InvalidArgument("x"), False),
    ],
)
async def test_only_time_outs_and_cancellations_leave_an_update_behind(
    client: Client,
    connection: ScriptedConnection,
    method: str,
    answer: errors.RpcError,
    gave_up: bool,
) -> None:
    connection.on(method, answer)
    with pytest.raises(WorkflowUpdateRPCTimeoutOrCancelledError if gave_up else RPCError) as caught:
        await CALLS[method](client)
    if isinstance(caught.value, RPCError):
        assert int(caught.value.status) == int(answer.status_code)
    else:
        assert isinstance(caught.value.__cause__, RPCError)


WRONG: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "Query status": lambda handle: handle.query(OrderWorkflow.status, 1),
    "Signal note": lambda handle: handle.signal(OrderWorkflow.add_note, "text"),
    "Signal approve": lambda handle: handle.signal(OrderWorkflow.approve, args=[1, 2]),
    "Update change": lambda handle: handle.execute_update(OrderWorkflow.change),
    "Update change ": lambda handle: handle.start_update(
        OrderWorkflow.change, "x", wait_for_stage=WorkflowUpdateStage.ACCEPTED
    ),
}


@pytest.mark.parametrize("what", WRONG)
async def test_wrong_arguments_of_handlers_never_travel(
    client: Client, connection: ScriptedConnection, what: str
) -> None:
    with pytest.raises(TypeError, match=what.strip()):
        await WRONG[what](client.get_workflow_handle("w"))
    assert connection.calls == []


async def test_a_query_that_failed_is_told_from_one_that_was_refused(
    client: Client, connection: ScriptedConnection
) -> None:
    connection.on("QueryWorkflow", errors.InvalidArgument("no"), errors.FailedPrecondition("no"))
    handle = client.get_workflow_handle("w")
    with pytest.raises(WorkflowQueryFailedError, match="no"):
        await handle.query("q")
    with pytest.raises(RPCError, match="no") as caught:
        await handle.query("q")
    assert caught.value.status is RPCStatusCode.FAILED_PRECONDITION
