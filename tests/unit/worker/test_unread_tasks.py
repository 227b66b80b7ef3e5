"""A worker over gRPC goes on when it gets tasks that it cannot read."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from google.protobuf.message import Message

from perdure import activity, workflow
from perdure.client import Client
from perdure.wire.api import workflowservice as pb
from perdure.worker import Worker
from perdure.worker.polling import pollers
from tests.unit.service.test_grpc_connection import Raw, Server

POLLS = {
    "PollWorkflowTaskQueue": "RespondWorkflowTaskFailed",
    "PollActivityTaskQueue": "RespondActivityTaskFailed",
}


@workflow.defn
class Idle:
    @workflow.run
    async def run(self) -> None: ...


@activity.defn
async def idle() -> None: ...


class Answers:
    """Each poll gets garbage with a token until enough was reported; then polls wait."""

    def __init__(self, server: Server) -> None:
        self.tokens: dict[str, list[bytes]] = {answer: [] for answer in POLLS.values()}
        self.enough = asyncio.Event()
        handlers = server.frontend.handlers
        for name in ("GetSystemInfo", "DescribeNamespace", "ShutdownWorker"):
            handlers[name] = self.empty(name)
        for poll, report in POLLS.items():
            handlers[poll] = self.poll
            handlers[report] = self.reported(report)

    def empty(self, name: str) -> Any:
        async def answer(_: Any, __: Any) -> Message:
            return getattr(pb, f"{name}Response")()

        return answer

    async def poll(self, request: Any, _: Any) -> Message:
        if self.enough.is_set():
            await asyncio.sleep(60)
        token = type(request).__name__.encode()
        return Raw(b"\x0a" + bytes([len(token)]) + token + b"\x12\xff")

    def reported(self, name: str) -> Any:
        async def answer(request: Any, _: Any) -> Message:
            self.tokens[name].append(request.task_token)
            if all(len(told) >= 8 for told in self.tokens.values()):
                self.enough.set()
            return getattr(pb, f"{name}Response")()

        return answer


async def test_each_is_reported_and_the_worker_polls_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def no_pause(_: int) -> float:
        return 0.001

    monkeypatch.setattr(pollers, "pause_s", no_pause)
    server = Server()
    await server.start()
    answers = Answers(server)
    try:
        async with await Client.connect(server.target) as client:
            worker = Worker(client, task_queue="q", workflows=[Idle], activities=[idle])
            with caplog.at_level(logging.WARNING):
                async with asyncio.timeout(30), worker:
                    await answers.enough.wait()
                    assert worker.is_running
    finally:
        await server.stop()
    for poll, report in POLLS.items():
        assert set(answers.tokens[report]) == {f"{poll}Request".encode()}
    assert sum("cannot be read" in message for message in caplog.messages) >= 1
