"""Every call of a worker, field by field, and what it does about the server's refusals."""

from __future__ import annotations

import asyncio
import logging

import pytest

from perdure.core.units import SECOND_NS
from perdure.wire import errors
from perdure.wire.api import common, deployment, enums, history, taskqueue, workflowservice
from perdure.wire.api import failure as failures
from perdure.worker.polling import pollers
from perdure.worker.polling.rpc import QUERY_TRIES
from tests.unit.worker.calling import (
    DOWN,
    PAYLOADS,
    REFUSED,
    SEALED,
    TOO_LARGE,
    Broken,
    Codec,
    codec_of,
    raising,
    rpc_over,
)

QUEUE = taskqueue.TaskQueue(name="q", kind=enums.TASK_QUEUE_KIND_NORMAL)
DEPLOYMENT = deployment.WorkerDeploymentOptions(
    build_id="build", worker_versioning_mode=enums.WORKER_VERSIONING_MODE_UNVERSIONED
)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """After which failures in a row a call was repeated; no time passes."""
    found: list[int] = []

    def note(attempt: int) -> float:
        found.append(attempt)
        return 0.0

    monkeypatch.setattr(pollers, "pause_s", note)
    return found


# Polls --------------------------------------------------------------------------------------------


async def test_a_workflow_poll() -> None:
    answers = [b"", b"token"]
    rpc, connection = rpc_over(
        PollWorkflowTaskQueue=lambda _: workflowservice.PollWorkflowTaskQueueResponse(
            task_token=answers.pop(0)
        )
    )
    poll = rpc.workflow_task_poll(QUEUE)
    assert await poll() is None
    task = await poll()
    assert task is not None
    assert task.task_token == b"token"
    expected = workflowservice.PollWorkflowTaskQueueRequest(
        namespace="ns",
        task_queue=QUEUE,
        identity="me",
        worker_instance_key="key",
        worker_version_capabilities=common.WorkerVersionCapabilities(build_id="build"),
        deployment_options=DEPLOYMENT,
    )
    assert connection.requests("PollWorkflowTaskQueue") == [expected] * 2
    assert connection.settings == [({"temporal-namespace": "ns"}, 70 * SECOND_NS)] * 2


@pytest.mark.parametrize("rate", [None, 2.5])
async def test_an_activity_poll(rate: float | None) -> None:
    answers = [b"", b"token"]
    rpc, connection = rpc_over(
        PollActivityTaskQueue=lambda _: workflowservice.PollActivityTaskQueueResponse(
            task_token=answers.pop(0)
        )
    )
    poll = rpc.activity_task_poll(QUEUE, rate)
    assert await poll() is None
    assert await poll() is not None
    expected = workflowservice.PollActivityTaskQueueRequest(
        namespace="ns",
        task_queue=QUEUE,
        identity="me",
        worker_instance_key="key",
        worker_version_capabilities=common.WorkerVersionCapabilities(build_id="build"),
        deployment_options=DEPLOYMENT,
    )
    if rate is not None:
        expected.task_queue_metadata.max_tasks_per_second.value = rate
    assert connection.requests("PollActivityTaskQueue") == [expected] * 2
    assert connection.settings == [({"temporal-namespace": "ns"}, 70 * SECOND_NS)] * 2


# Answers to workflow tasks ------------------------------------------------------------------------


def completion() -> workflowservice.RespondWorkflowTaskCompletedRequest:
    request = workflowservice.RespondWorkflowTaskCompletedRequest(task_token=b"token")
    command = request.commands.add()
    command.complete_workflow_execution_command_attributes.result.CopyFrom(PAYLOADS)
    return request


async def test_a_completion_is_sealed_and_signed() -> None:
    rpc, connection = rpc_over(Codec())
    assert await rpc.complete_workflow_task(completion(), codec_of(rpc)) is not None
    expected = workflowservice.RespondWorkflowTaskCompletedRequest(
        task_token=b"token",
        namespace="ns",
        identity="me",
        worker_instance_key="key",
        worker_version_stamp=common.WorkerVersionStamp(build_id="build"),
        deployment_options=DEPLOYMENT,
    )
    command = expected.commands.add()
    command.complete_workflow_execution_command_attributes.result.CopyFrom(SEALED)
    assert connection.requests("RespondWorkflowTaskCompleted") == [expected]
    assert connection.settings == [({"temporal-namespace": "ns"}, 10 * SECOND_NS)]


async def test_a_completion_of_a_task_that_is_gone() -> None:
    rpc, _ = rpc_over(RespondWorkflowTaskCompleted=raising(errors.not_found("gone")))
    assert await rpc.complete_workflow_task(completion(), codec_of(rpc)) is None


async def test_a_completion_that_is_refused_or_given_up(pauses: list[int]) -> None:
    rpc, connection = rpc_over(RespondWorkflowTaskCompleted=raising(DOWN, DOWN, REFUSED, DOWN))
    with pytest.raises(errors.InvalidArgument):
        await rpc.complete_workflow_task(completion(), codec_of(rpc))
    assert pauses == [1, 2]
    rpc.is_abandoned = True
    with pytest.raises(errors.Unavailable):
        await rpc.complete_workflow_task(completion(), codec_of(rpc))
    assert len(connection.calls) == 4


async def test_a_failure_of_a_task(caplog: pytest.LogCaptureFixture) -> None:
    rpc, connection = rpc_over(Codec(), RespondWorkflowTaskFailed=raising(None, REFUSED))
    for _ in range(2):
        request = workflowservice.RespondWorkflowTaskFailedRequest(task_token=b"token")
        request.failure.application_failure_info.details.CopyFrom(PAYLOADS)
        await rpc.fail_workflow_task(request, codec_of(rpc))
    expected = workflowservice.RespondWorkflowTaskFailedRequest(
        task_token=b"token", namespace="ns", identity="me"
    )
    expected.failure.application_failure_info.details.CopyFrom(SEALED)
    assert connection.requests("RespondWorkflowTaskFailed") == [expected] * 2
    assert caplog.messages == ["RespondWorkflowTaskFailed was refused: bad token"]


# Answers to queries -------------------------------------------------------------------------------


def answer() -> workflowservice.RespondQueryTaskCompletedRequest:
    return workflowservice.RespondQueryTaskCompletedRequest(
        task_token=b"token",
        completed_type=enums.QUERY_RESULT_TYPE_ANSWERED,
        query_result=PAYLOADS,
    )


def failed_answer(why: str) -> workflowservice.RespondQueryTaskCompletedRequest:
    return workflowservice.RespondQueryTaskCompletedRequest(
        task_token=b"token",
        namespace="ns",
        completed_type=enums.QUERY_RESULT_TYPE_FAILED,
        error_message=why,
        failure=failures.Failure(message=why, source="PerdurePython"),
    )


async def test_an_answer_to_a_query() -> None:
    rpc, connection = rpc_over(Codec())
    await rpc.answer_query(answer(), codec_of(rpc))
    expected = answer()
    expected.namespace = "ns"
    expected.query_result.CopyFrom(SEALED)
    assert connection.requests("RespondQueryTaskCompleted") == [expected]


async def test_an_answer_that_can_not_be_encoded() -> None:
    rpc, connection = rpc_over(Broken())
    await rpc.answer_query(answer(), codec_of(rpc))
    expected = failed_answer("The answer could not be encoded: LookupError")
    assert connection.requests("RespondQueryTaskCompleted") == [expected]


@pytest.mark.parametrize("second", [None, REFUSED])
async def test_an_answer_that_is_too_large(second: Exception | None) -> None:
    rpc, connection = rpc_over(RespondQueryTaskCompleted=raising(TOO_LARGE, second))
    await rpc.answer_query(answer(), codec_of(rpc))
    sent, told = connection.requests("RespondQueryTaskCompleted")
    assert told == failed_answer(
        f"The answer has {sent.ByteSize()} bytes, more than the server takes in one message:"
        " ask for less at once"
    )


async def test_an_answer_is_tried_a_few_times(pauses: list[int]) -> None:
    rpc, connection = rpc_over(RespondQueryTaskCompleted=raising(*[DOWN] * 10))
    await rpc.answer_query(answer(), codec_of(rpc))
    assert len(connection.calls) == QUERY_TRIES
    assert pauses == [1, 2, 3]


# Reads and housekeeping ---------------------------------------------------------------------------


async def test_a_page_of_history() -> None:
    page = workflowservice.GetWorkflowExecutionHistoryResponse(next_page_token=b"next")
    event = history.HistoryEvent(event_id=1)
    event.workflow_execution_started_event_attributes.input.CopyFrom(SEALED)
    page.history.events.append(event)
    rpc, connection = rpc_over(Codec(), GetWorkflowExecutionHistory=lambda _: page)
    found = await rpc.history_page("w", "run", b"page", codec_of(rpc))
    assert found.next_page_token == b"next"
    (read,) = found.history.events
    assert read.workflow_execution_started_event_attributes.input == PAYLOADS
    assert connection.requests("GetWorkflowExecutionHistory") == [
        workflowservice.GetWorkflowExecutionHistoryRequest(
            namespace="ns",
            execution=common.WorkflowExecution(workflow_id="w", run_id="run"),
            next_page_token=b"page",
        )
    ]
    assert connection.settings == [({"temporal-namespace": "ns"}, 30 * SECOND_NS)]


async def test_a_history_that_is_gone_or_not_waited_for() -> None:
    gone = errors.not_found("gone")
    rpc, _ = rpc_over(GetWorkflowExecutionHistory=raising(gone, DOWN, gone, DOWN))
    for _ in range(2):
        with pytest.raises(errors.NotFound, match="history of workflow 'w', run run is gone"):
            await rpc.history_page("w", "run", b"", codec_of(rpc))
    rpc.is_abandoned = True
    with pytest.raises(errors.Unavailable):
        await rpc.history_page("w", "run", b"", codec_of(rpc))


async def test_the_announcement_of_the_end() -> None:
    rpc, connection = rpc_over(ShutdownWorker=raising(None, errors.Unimplemented("old server")))
    assert await rpc.announce_shutdown("sticky", "q") is True
    assert await rpc.announce_shutdown("sticky", "q") is False
    expected = workflowservice.ShutdownWorkerRequest(
        namespace="ns",
        sticky_task_queue="sticky",
        identity="me",
        reason="graceful shutdown",
        worker_instance_key="key",
        task_queue="q",
    )
    assert connection.requests("ShutdownWorker") == [expected] * 2
    assert connection.settings == [({"temporal-namespace": "ns"}, 2 * SECOND_NS)] * 2


async def test_the_description_of_the_namespace() -> None:
    rpc, connection = rpc_over()
    await rpc.describe_namespace()
    expected = workflowservice.DescribeNamespaceRequest(namespace="ns")
    assert connection.requests("DescribeNamespace") == [expected]


async def test_an_outage_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "perdure.worker")
    rpc, _ = rpc_over(RespondActivityTaskCanceled=raising(DOWN, DOWN, DOWN))
    async with asyncio.timeout(60):
        await rpc.cancel_activity(workflowservice.RespondActivityTaskCanceledRequest())
    assert [record.levelname for record in caplog.records] == ["WARNING", "DEBUG", "DEBUG"]
    assert set(caplog.messages) == {
        "RespondActivityTaskCanceled failed (UNAVAILABLE), trying again"
    }


TRANSIENT = [
    errors.Unavailable("no"),
    errors.ResourceExhausted("no"),
    errors.Internal("no"),
    errors.Unknown("no"),
    errors.Aborted("no"),
    errors.OutOfRange("no"),
    errors.DeadlineExceeded("no"),
    errors.Canceled("no"),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda each: type(each).__name__)
async def test_what_may_pass_is_tried_again(error: errors.RpcError, pauses: list[int]) -> None:
    rpc, connection = rpc_over(RespondActivityTaskCanceled=raising(error, error))
    await rpc.cancel_activity(workflowservice.RespondActivityTaskCanceledRequest())
    assert len(connection.calls) == 3
    assert pauses == [1, 2]


FINAL = [
    errors.InvalidArgument("no"),
    errors.PermissionDenied("no"),
    errors.FailedPrecondition("no"),
    errors.Unimplemented("no"),
    errors.Unauthenticated("no"),
    errors.AlreadyExists("no"),
]


@pytest.mark.parametrize("error", FINAL, ids=lambda each: type(each).__name__)
async def test_what_will_not_pass_is_not_tried_again(
    error: errors.RpcError, pauses: list[int]
) -> None:
    rpc, connection = rpc_over(RespondActivityTaskCanceled=raising(error))
    await rpc.cancel_activity(workflowservice.RespondActivityTaskCanceledRequest())
    assert len(connection.calls) == 1
    assert pauses == []


# Answers that cannot be read -----------------------------------------------------------------------


def unread(method: str, token: bytes = b"token") -> errors.UndecodableAnswer:
    answer = b"\x0a" + bytes([len(token)]) + token + b"\x12\xff" if token else b"\x12\xff"
    return errors.UndecodableAnswer(method, answer)


def undecodable(message: str) -> failures.Failure:
    assert message.startswith("The worker cannot read the task. The answer to Poll")
    return failures.Failure(
        message=message,
        source="PerdurePython",
        application_failure_info=failures.ApplicationFailureInfo(type="UndecodableTask"),
    )


async def test_a_workflow_task_that_cannot_be_read_is_failed() -> None:
    name = "PollWorkflowTaskQueue"
    rpc, connection = rpc_over(
        PollWorkflowTaskQueue=raising(unread(name)), RespondWorkflowTaskFailed=raising()
    )
    with pytest.raises(errors.UndecodableAnswer, match="nested too deep"):
        await rpc.workflow_task_poll(QUEUE)()
    (told,) = connection.requests("RespondWorkflowTaskFailed")
    assert (told.namespace, told.identity, told.task_token) == ("ns", "me", b"token")
    assert told.cause == enums.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE
    assert told.failure == undecodable(told.failure.message)


async def test_an_activity_task_that_cannot_be_read_is_failed() -> None:
    name = "PollActivityTaskQueue"
    rpc, connection = rpc_over(
        PollActivityTaskQueue=raising(unread(name)), RespondActivityTaskFailed=raising()
    )
    with pytest.raises(errors.UndecodableAnswer, match="nested too deep"):
        await rpc.activity_task_poll(QUEUE, None)()
    (told,) = connection.requests("RespondActivityTaskFailed")
    assert (told.namespace, told.identity, told.task_token) == ("ns", "me", b"token")
    assert told.failure == undecodable(told.failure.message)


@pytest.mark.parametrize("refusal", [REFUSED, DOWN])
async def test_a_server_that_refuses_to_hear_of_it_changes_nothing(refusal: Exception) -> None:
    rpc, connection = rpc_over(
        PollWorkflowTaskQueue=raising(unread("PollWorkflowTaskQueue")),
        PollActivityTaskQueue=raising(unread("PollActivityTaskQueue")),
        RespondWorkflowTaskFailed=raising(refusal),
        RespondActivityTaskFailed=raising(refusal),
    )
    for poll in (rpc.workflow_task_poll(QUEUE), rpc.activity_task_poll(QUEUE, None)):
        with pytest.raises(errors.UndecodableAnswer):
            await poll()
    assert len(connection.requests("RespondWorkflowTaskFailed")) == 1
    assert len(connection.requests("RespondActivityTaskFailed")) == 1


async def test_without_a_token_nobody_is_told() -> None:
    rpc, connection = rpc_over(
        PollWorkflowTaskQueue=raising(unread("PollWorkflowTaskQueue", b"")),
        PollActivityTaskQueue=raising(unread("PollActivityTaskQueue", b"")),
    )
    for poll in (rpc.workflow_task_poll(QUEUE), rpc.activity_task_poll(QUEUE, None)):
        with pytest.raises(errors.UndecodableAnswer):
            await poll()
    assert connection.requests("RespondWorkflowTaskFailed") == []


async def test_the_answer_to_a_completion_that_cannot_be_read_is_not_asked_for_again(
    pauses: list[int],
) -> None:
    error = unread("RespondActivityTaskCompleted")
    assert error.task_token == b"", "only polls have tasks"
    rpc, connection = rpc_over(RespondActivityTaskCompleted=raising(error))
    await rpc.complete_activity(
        workflowservice.RespondActivityTaskCompletedRequest(task_token=b"t")
    )
    assert len(connection.requests("RespondActivityTaskCompleted")) == 1
    assert pauses == []
