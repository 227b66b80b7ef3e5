"""What the server is told about workflow tasks that it hands out by hand: failures, queries, refusals, and the log."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from perdure import workflow
from perdure.client import Client
from perdure.converter import DataConverter, PayloadCodec
from perdure.service import ConnectConfig, ServiceClient
from perdure.wire import errors
from perdure.wire.api import common, enums, history, taskqueue, workflowservice
from perdure.wire.events import event
from perdure.worker import Worker
from tests.unit.worker.scripted import ScriptedConnection

Poll = workflowservice.PollWorkflowTaskQueueResponse
QUEUE = taskqueue.TaskQueue(name="q")
COMPLETED, FAILED, QUERIED = (
    "RespondWorkflowTaskCompleted",
    "RespondWorkflowTaskFailed",
    "RespondQueryTaskCompleted",
)
UNHANDLED = enums.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE


@workflow.defn
class Waits:
    @workflow.run
    async def run(self, _text: str) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def state(self) -> str:
        return "waiting"

    @workflow.query
    def nothing(self) -> None:
        return None

    @workflow.query
    def fails(self) -> None:
        raise LookupError("no state")


@workflow.defn
class Ends:
    @workflow.run
    async def run(self, text: str) -> str:
        self.text = text
        return text

    @workflow.query
    def length(self) -> int:
        return len(self.text)


@workflow.defn
class Raises:
    @workflow.run
    async def run(self, _text: str) -> None:
        raise LookupError("a bug")


def task(
    kind: str, *, run_id: str = "run", attempt: int = 1, query: str = "", text: str = "hello"
) -> Poll:
    """The first task of a run, or a query of it."""
    start = history.WorkflowExecutionStartedEventAttributes(
        workflow_type=common.WorkflowType(name=kind),
        task_queue=QUEUE,
        input=common.Payloads(
            payloads=[
                common.Payload(metadata={"encoding": b"json/plain"}, data=f'"{text}"'.encode())
            ]
        ),
        original_execution_run_id=run_id,
        first_execution_run_id=run_id,
        attempt=1,
    )
    attributes: list[Any] = [
        start,
        history.WorkflowTaskScheduledEventAttributes(task_queue=QUEUE, attempt=attempt),
        history.WorkflowTaskStartedEventAttributes(scheduled_event_id=2),
    ]
    events = [event(each, event_id=index + 1) for index, each in enumerate(attributes)]
    poll = Poll(
        task_token=f"task of {run_id}".encode(),
        history=history.History(events=events),
        attempt=attempt,
        started_event_id=3,
        previous_started_event_id=0,
    )
    poll.workflow_execution.workflow_id = "w"
    poll.workflow_execution.run_id = run_id
    poll.workflow_type.name = kind
    poll.workflow_execution_task_queue.CopyFrom(QUEUE)
    if query:
        poll.query.query_type = query
    return poll


class Server:
    """Hands out tasks one after the other: the next when the one before was worked off."""

    def __init__(self, tasks: Sequence[Poll], answers: dict[str, Callable[[Any], Any]]) -> None:
        self._tasks = list(tasks)
        self.all_taken = asyncio.Event()
        self.connection = ScriptedConnection(PollWorkflowTaskQueue=self._poll, **answers)

    async def _poll(self, request: Any) -> Poll:
        if request.task_queue.kind == enums.TASK_QUEUE_KIND_STICKY or not self._tasks:
            if request.task_queue.kind != enums.TASK_QUEUE_KIND_STICKY:
                self.all_taken.set()
            await asyncio.Event().wait()
        return self._tasks.pop(0)

    def answers(self) -> list[tuple[str, Any]]:
        return [each for each in self.connection.calls if each[0].startswith("Respond")]

    def names(self) -> list[str]:
        return [name for name, _ in self.answers()]


@asynccontextmanager
async def working(
    server: Server, codec: PayloadCodec | None = None, **options: Any
) -> AsyncGenerator[Worker]:
    converter = dataclasses.replace(DataConverter.default, payload_codec=codec)
    client = Client(
        ServiceClient(ConnectConfig(target_host="scripted", identity="me"), server.connection),
        data_converter=converter,
    )
    options = {
        "workflows": [Waits, Ends, Raises],
        "max_concurrent_workflow_tasks": 2,
        "max_concurrent_workflow_task_polls": 2,
        **options,
    }
    async with Worker(client, task_queue="q", **options) as worker:
        yield worker


async def answers_to(
    *tasks: Poll,
    codec: PayloadCodec | None = None,
    options: dict[str, Any] | None = None,
    **answers: Callable[[Any], Any],
) -> list[tuple[str, Any]]:
    """What the server is told about these tasks, which it hands out one after the other."""
    server = Server(tasks, answers)
    async with working(server, codec, **(options or {})), asyncio.timeout(60):
        await server.all_taken.wait()
    return server.answers()


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.message.partition(";")[0]
        for record in caplog.records
        if record.levelname == "WARNING"
    ]


class Codec(PayloadCodec):
    """Fails where the test says."""

    def __init__(self, *, decodes: bool = True, encodes: bool = True) -> None:
        self._decodes, self._encodes = decodes, encodes

    async def encode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        if not self._encodes:
            raise PermissionError("no key to encode")
        return list(payloads)

    async def decode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        if not self._decodes:
            raise PermissionError("no key to decode")
        return list(payloads)


FAILURES = {
    "workflow code": ("Raises", None, "a bug"),
    "an unknown type": ("Unknown", None, "Workflow class Unknown is not registered"),
    "a payload that cannot be decoded": ("Ends", Codec(decodes=False), "no key to decode"),
    "a result that cannot be encoded": ("Ends", Codec(encodes=False), "no key to encode"),
}


@pytest.mark.parametrize("what", FAILURES)
async def test_a_failed_task_is_reported_on_its_first_attempt_and_always_logged(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    kind, codec, message = FAILURES[what]
    found = await answers_to(
        task(kind, run_id="1"),
        task(kind, run_id="2", attempt=2),
        task(kind, run_id="1"),
        codec=codec,
    )
    assert [name for name, _ in found] == [FAILED, FAILED], "the second attempt is not reported"
    for _, request in found:
        assert request.task_token == b"task of 1"
        assert request.cause == UNHANDLED
        assert message in request.failure.message
        assert (request.namespace, request.identity) == ("default", "me")
    assert warned(caplog) == [
        "Workflow task of w (run 1, attempt 1) failed",
        "Workflow task of w (run 2, attempt 2) failed",
        "Workflow task of w (run 1, attempt 1) failed",
    ]
    logged = [record.exc_info for record in caplog.records if record.levelname == "WARNING"]
    assert all(each is not None and message in str(each[1]) for each in logged)


@pytest.mark.parametrize("what", [name for name in FAILURES if "encoded" not in name])
async def test_a_query_of_a_run_whose_task_fails_is_told_why(what: str) -> None:
    kind, codec, message = FAILURES[what]
    ((name, request),) = await answers_to(task(kind, attempt=7, query="state"), codec=codec)
    assert name == QUERIED
    assert request.completed_type == enums.QUERY_RESULT_TYPE_FAILED
    assert message in request.error_message
    assert request.failure.message == request.error_message


@pytest.mark.parametrize(
    ("query", "data"), [("state", b'"waiting"'), ("nothing", b""), ("fails", None)]
)
async def test_queries_are_answered(query: str, data: bytes | None) -> None:
    ((name, request),) = await answers_to(task("Waits", query=query))
    assert name == QUERIED
    assert (request.task_token, request.namespace) == (b"task of run", "default")
    if data is None:
        assert request.completed_type == enums.QUERY_RESULT_TYPE_FAILED
        assert request.error_message == request.failure.message == "no state"
        return
    assert request.completed_type == enums.QUERY_RESULT_TYPE_ANSWERED
    assert [each.data for each in request.query_result.payloads] == [data]
    assert not request.HasField("failure")


async def test_queries_that_come_with_a_task_are_answered_with_it() -> None:
    poll = task("Waits")
    poll.queries["1"].query_type, poll.queries["2"].query_type = "state", "fails"
    ((name, request),) = await answers_to(poll)
    assert name == COMPLETED
    answered, failed = request.query_results["1"], request.query_results["2"]
    assert answered.result_type == enums.QUERY_RESULT_TYPE_ANSWERED
    assert [each.data for each in answered.answer.payloads] == [b'"waiting"']
    assert failed.result_type == enums.QUERY_RESULT_TYPE_FAILED
    assert failed.error_message == "no state"


@pytest.mark.parametrize("kind", ["Waits", "Ends"])
async def test_a_completion_asks_for_the_next_task_and_its_sticky_queue(kind: str) -> None:
    ((name, request),) = await answers_to(task(kind))
    assert name == COMPLETED
    assert request.task_token == b"task of run"
    assert request.return_new_workflow_task
    assert request.capabilities.discard_speculative_workflow_task_with_events
    sticky = request.sticky_attributes
    if kind == "Ends":
        assert not request.HasField("sticky_attributes"), "no next task"
        return
    assert sticky.worker_task_queue.name.startswith("me-")
    assert sticky.worker_task_queue.kind == enums.TASK_QUEUE_KIND_STICKY
    assert sticky.worker_task_queue.normal_name == "q"
    assert sticky.schedule_to_start_timeout.seconds == 10


async def test_without_a_cache_nothing_sticky_is_asked_for() -> None:
    ((_, request),) = await answers_to(task("Waits"), options={"max_cached_workflows": 0})
    assert not request.HasField("sticky_attributes")
    assert not request.return_new_workflow_task


async def test_a_task_in_an_answer_is_worked_off() -> None:
    follow = [task("Ends", run_id="2")]

    def complete(_: Any) -> workflowservice.RespondWorkflowTaskCompletedResponse:
        response = workflowservice.RespondWorkflowTaskCompletedResponse()
        if follow:
            response.workflow_task.CopyFrom(follow.pop())
        return response

    found = await answers_to(task("Waits", run_id="1"), RespondWorkflowTaskCompleted=complete)
    assert [request.task_token for _, request in found] == [b"task of 1", b"task of 2"]


TOO_LARGE = errors.ResourceExhausted("grpc: received message larger than max (2 vs. 1)")


@pytest.mark.parametrize(
    "refusal", [errors.InvalidArgument("no"), errors.not_found("gone"), TOO_LARGE], ids=repr
)
async def test_a_run_whose_completion_was_not_taken_begins_anew(refusal: errors.RpcError) -> None:
    refusals = [refusal]

    def complete(_: Any) -> workflowservice.RespondWorkflowTaskCompletedResponse:
        if refusals:
            raise refusals.pop()
        return workflowservice.RespondWorkflowTaskCompletedResponse()

    found = await answers_to(task("Ends"), task("Ends"), RespondWorkflowTaskCompleted=complete)
    told = [request for name, request in found if name == FAILED]
    assert [name for name, _ in found if name == COMPLETED] == [COMPLETED, COMPLETED]
    assert found[0][1].commands == found[-1][1].commands, "replayed from the start"
    if refusal is not TOO_LARGE:
        assert told == []
        return
    (failure,) = (each.failure for each in told)
    assert told[0].cause == enums.WORKFLOW_TASK_FAILED_CAUSE_GRPC_MESSAGE_TOO_LARGE
    assert failure.source == "PerdurePython"
    assert failure.application_failure_info.type == "GrpcMessageTooLarge"
    assert failure.application_failure_info.non_retryable
    assert f"have {found[0][1].ByteSize()} bytes together" in failure.message


def changed(number: int) -> Poll:
    """A task whose history has a timer that the workflow never started."""
    poll = task("Waits", run_id=f"changed-{number}")
    attributes: list[Any] = [
        history.WorkflowTaskCompletedEventAttributes(scheduled_event_id=2, started_event_id=3),
        history.TimerStartedEventAttributes(timer_id="1", workflow_task_completed_event_id=4),
        history.TimerFiredEventAttributes(timer_id="1", started_event_id=5),
        history.WorkflowTaskScheduledEventAttributes(task_queue=QUEUE, attempt=1),
        history.WorkflowTaskStartedEventAttributes(scheduled_event_id=7),
    ]
    poll.history.events.extend(
        event(each, event_id=index + 4) for index, each in enumerate(attributes)
    )
    poll.started_event_id, poll.previous_started_event_id = 8, 3
    return poll


async def test_a_history_that_the_code_disagrees_with(caplog: pytest.LogCaptureFixture) -> None:
    found = await answers_to(changed(1), changed(1))
    assert [name for name, _ in found] == [FAILED, FAILED]
    for _, request in found:
        assert request.cause == enums.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR
        assert request.failure.source == "PerdurePython"
        assert request.failure.application_failure_info.type == "NondeterminismError"
        assert "TMPRL1100" in request.failure.message
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(logged) == 2
    assert "Workflow task of w (run changed-1) failed: " in logged[0].message
    assert "TMPRL1100" in logged[0].message


async def test_a_history_that_makes_no_sense_is_no_bug_of_the_code() -> None:
    poll = task("Waits")
    del poll.history.events[0]
    ((name, request),) = await answers_to(poll)
    assert name == FAILED
    assert request.cause == UNHANDLED
    assert "TMPRL1100" not in request.failure.message
