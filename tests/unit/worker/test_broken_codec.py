"""A codec of the user's that fails for a while: the workflow task fails with its error at once, and is tried again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from perdure import workflow
from perdure.client import Client
from perdure.converter import DataConverter, PayloadCodec
from perdure.wire.api import common, enums
from perdure.worker import Worker


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
