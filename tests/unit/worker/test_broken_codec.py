"""A codec of the user's that fails for a while: the workflow task fails with its error at once, and is tried again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from perdure import workflow
from perdure.client import Client, WorkflowQueryFailedError
from perdure.converter import DataConverter, PayloadCodec
from perdure.wire import errors
from perdure.wire.api import common, enums, workflowservice
from perdure.worker import Worker
from perdure.worker.polling import pollers
from perdure.worker.polling.rpc import QUERY_TRIES, WorkerRpc
from tests.unit.worker.scripted import ScriptedConnection

Answer = workflowservice.RespondQueryTaskCompletedRequest
Task = workflowservice.PollWorkflowTaskQueueResponse


class Flaky(PayloadCodec):
    """Passes everything on; the n-th call of one of its methods raises."""

    def __init__(self, method: str, number: int) -> None:
        self._failing = method, number
        self._calls = {"encode": 0, "decode": 0}

    def _count(self, method: str) -> None:
        self._calls[method] += 1
        if (method, self._calls[method]) == self._failing:
            raise RuntimeError("the key server does not answer")

    async def encode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        self._count("encode")
        return list(payloads)

    async def decode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        self._count("decode")
        return list(payloads)


@workflow.defn
class Echo:
    @workflow.run
    async def run(self, text: str) -> str:
        return text

    @workflow.query
    def short(self) -> str:
        return "x"


# The first encoding is that of the start's argument, the second one of the completion's result.
@pytest.mark.parametrize(("method", "number"), [("decode", 1), ("encode", 2)])
async def test_a_codec_that_fails_once_fails_the_workflow_task_with_its_error(
    method: str, number: int
):
    converter = dataclasses.replace(DataConverter.default, payload_codec=Flaky(method, number))
    async with await Client.connect("memory:", data_converter=converter) as client:
        handle = await client.start_workflow(Echo.run, "hello", id="w", task_queue="q")
        async with Worker(client, task_queue="q", workflows=[Echo]):
            assert await handle.result() == "hello"
        failed = [
            event.workflow_task_failed_event_attributes
            async for event in handle.fetch_history_events()
            if event.event_type == enums.EVENT_TYPE_WORKFLOW_TASK_FAILED
        ]
        assert [each.failure.message for each in failed] == ["the key server does not answer"]


async def test_a_query_whose_answer_can_not_be_encoded_fails_at_once():
    # The first encoding is that of the start's argument, the second one of the result, the third one of the answer.
    converter = dataclasses.replace(DataConverter.default, payload_codec=Flaky("encode", 3))
    async with await Client.connect("memory:", data_converter=converter) as client:
        handle = await client.start_workflow(Echo.run, "hello", id="w", task_queue="q")
        async with Worker(client, task_queue="q", workflows=[Echo]):
            await handle.result()
            with pytest.raises(WorkflowQueryFailedError, match="could not be encoded: Runtime"):
                await handle.query(Echo.short)
            assert await handle.query(Echo.short) == "x"


def rpc_over(connection: ScriptedConnection) -> WorkerRpc:
    return WorkerRpc(
        connection,
        namespace="default",
        identity="tester",
        instance_key="key",
        build_id="build",
        codec=None,
    )


async def test_a_query_whose_answer_is_too_large_fails_at_once():
    def refuse(request: Answer) -> workflowservice.RespondQueryTaskCompletedResponse:
        if request.completed_type == enums.QUERY_RESULT_TYPE_ANSWERED:
            raise errors.ResourceExhausted("Received message larger than max (5 vs. 4)")
        return workflowservice.RespondQueryTaskCompletedResponse()

    connection = ScriptedConnection(RespondQueryTaskCompleted=refuse)
    rpc = rpc_over(connection)
    answer = Answer(task_token=b"t", completed_type=enums.QUERY_RESULT_TYPE_ANSWERED)
    await rpc.answer_query(answer, rpc.codec_of(Task()))
    _, told = connection.requests("RespondQueryTaskCompleted")
    assert (told.task_token, told.completed_type) == (b"t", enums.QUERY_RESULT_TYPE_FAILED)
    assert "bytes, more than the server takes" in told.error_message
    assert told.failure.message == told.error_message


async def test_an_answer_to_a_query_is_repeated_a_few_times(monkeypatch: pytest.MonkeyPatch):
    def no_time(attempt: int) -> float:
        return 0.0

    monkeypatch.setattr(pollers, "pause_s", no_time)
    connection = ScriptedConnection(RespondQueryTaskCompleted=errors.Unavailable("down"))
    rpc = rpc_over(connection)
    await rpc.answer_query(Answer(task_token=b"t"), rpc.codec_of(Task()))
    assert len(connection.requests("RespondQueryTaskCompleted")) == QUERY_TRIES
