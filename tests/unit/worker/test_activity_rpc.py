"""What a worker reports of its activities, field by field, and what it does when the server does not take it."""

from __future__ import annotations

import pytest

from perdure.wire import errors
from perdure.wire.api import failure as failures
from perdure.wire.api import workflowservice
from tests.unit.worker.calling import DOWN, PAYLOADS, REFUSED, TOO_LARGE, raising, rpc_over


async def test_outcomes_of_activities_are_signed() -> None:
    rpc, connection = rpc_over()
    await rpc.complete_activity(
        workflowservice.RespondActivityTaskCompletedRequest(task_token=b"token", result=PAYLOADS)
    )
    await rpc.fail_activity(workflowservice.RespondActivityTaskFailedRequest(task_token=b"token"))
    await rpc.cancel_activity(
        workflowservice.RespondActivityTaskCanceledRequest(task_token=b"token")
    )
    assert [request for _, request in connection.calls] == [
        workflowservice.RespondActivityTaskCompletedRequest(
            task_token=b"token", result=PAYLOADS, namespace="ns", identity="me"
        ),
        workflowservice.RespondActivityTaskFailedRequest(
            task_token=b"token", namespace="ns", identity="me"
        ),
        workflowservice.RespondActivityTaskCanceledRequest(
            task_token=b"token", namespace="ns", identity="me"
        ),
    ]


async def test_outcomes_that_are_refused_are_logged_and_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    names = [f"RespondActivityTask{how}" for how in ("Completed", "Failed", "Canceled")]
    rpc, connection = rpc_over(**{name: raising(REFUSED) for name in names})
    await rpc.complete_activity(workflowservice.RespondActivityTaskCompletedRequest())
    await rpc.fail_activity(workflowservice.RespondActivityTaskFailedRequest())
    await rpc.cancel_activity(workflowservice.RespondActivityTaskCanceledRequest())
    assert [name for name, _ in connection.calls] == names
    assert caplog.messages == [f"{name} was refused: bad token" for name in names]


def too_large(what: str, size_bytes: int) -> workflowservice.RespondActivityTaskFailedRequest:
    return workflowservice.RespondActivityTaskFailedRequest(
        task_token=b"token",
        namespace="ns",
        identity="me",
        failure=failures.Failure(
            message=f"The activity's {what} has {size_bytes} bytes, more than the server takes in one"
            " message: keep it elsewhere and return a reference",
            source="PerdurePython",
            application_failure_info=failures.ApplicationFailureInfo(
                type="GrpcMessageTooLarge", non_retryable=True
            ),
        ),
    )


async def test_a_result_that_is_too_large_fails_the_attempt() -> None:
    rpc, connection = rpc_over(RespondActivityTaskCompleted=raising(TOO_LARGE))
    await rpc.complete_activity(
        workflowservice.RespondActivityTaskCompletedRequest(task_token=b"token", result=PAYLOADS)
    )
    (_, sent), (_, told) = connection.calls
    assert told == too_large("result", sent.ByteSize())


@pytest.mark.parametrize("second", [None, REFUSED])
async def test_a_failure_that_is_too_large_is_replaced(second: Exception | None) -> None:
    rpc, connection = rpc_over(RespondActivityTaskFailed=raising(TOO_LARGE, second))
    await rpc.fail_activity(
        workflowservice.RespondActivityTaskFailedRequest(
            task_token=b"token", failure=failures.Failure(message="m" * 99)
        )
    )
    (_, sent), (_, told) = connection.calls
    assert told == too_large("failure", sent.ByteSize())


async def test_a_heartbeat_is_signed_and_not_repeated() -> None:
    rpc, connection = rpc_over(RecordActivityTaskHeartbeat=raising(None, DOWN))
    request = workflowservice.RecordActivityTaskHeartbeatRequest(task_token=b"token")
    await rpc.heartbeat(request)
    with pytest.raises(errors.Unavailable):
        await rpc.heartbeat(request)
    expected = workflowservice.RecordActivityTaskHeartbeatRequest(
        task_token=b"token", namespace="ns", identity="me"
    )
    assert [each for _, each in connection.calls] == [expected] * 2
