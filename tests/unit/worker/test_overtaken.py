"""A workflow task that the server gave up while it waited here is not worked off any more."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Any

from perdure import workflow
from perdure.client import Client
from perdure.converter import DataConverter, PayloadCodec
from perdure.service import ConnectConfig, ServiceClient
from perdure.wire.api import common, enums, history, taskqueue, workflowservice
from perdure.wire.events import event
from perdure.worker import Worker
from tests.unit.worker.scripted import ScriptedConnection

Poll = workflowservice.PollWorkflowTaskQueueResponse
QUEUE = taskqueue.TaskQueue(name="q")


@workflow.defn
class Waiter:
    @workflow.run
    async def run(self, _text: str) -> None:
        await workflow.wait_condition(lambda: False)


class Gate(PayloadCodec):
    """Lets nobody through until `waiting` calls are there."""

    def __init__(self, waiting: int) -> None:
        self._missing = waiting
        self._open = asyncio.Event()

    async def encode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        return list(payloads)

    async def decode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        self._missing -= 1
        if not self._missing:
            self._open.set()
        await self._open.wait()
        return list(payloads)


def task(number: int) -> Poll:
    """The workflow task after `number` that timed out, with the whole history."""
    start = history.WorkflowExecutionStartedEventAttributes(
        workflow_type=common.WorkflowType(name="Waiter"),
        task_queue=QUEUE,
        input=common.Payloads(
            payloads=[common.Payload(metadata={"encoding": b"json/plain"}, data=b'"hello"')]
        ),
        original_execution_run_id="run",
        first_execution_run_id="run",
        attempt=1,
    )
    attributes: list[Any] = [start]
    for _ in range(number + 1):
        scheduled = len(attributes) + 1
        attributes += [
            history.WorkflowTaskScheduledEventAttributes(task_queue=QUEUE, attempt=1),
            history.WorkflowTaskStartedEventAttributes(scheduled_event_id=scheduled),
            history.WorkflowTaskTimedOutEventAttributes(
                scheduled_event_id=scheduled, started_event_id=scheduled + 1
            ),
        ]
    events = [event(each, event_id=index + 1) for index, each in enumerate(attributes[:-1])]
    poll = Poll(
        task_token=f"task {number}".encode(),
        history=history.History(events=events),
        attempt=1,
        started_event_id=len(events),
        previous_started_event_id=0,
    )
    poll.workflow_execution.workflow_id = "w"
    poll.workflow_execution.run_id = "run"
    poll.workflow_type.name = "Waiter"
    poll.workflow_execution_task_queue.CopyFrom(QUEUE)
    return poll


async def test_only_the_last_of_the_tasks_that_wait_for_a_run_is_answered() -> None:
    tasks = [task(number) for number in range(3)]
    answered = asyncio.Event()

    async def poll(request: Any) -> Poll:
        if request.task_queue.kind == enums.TASK_QUEUE_KIND_STICKY or not tasks:
            await asyncio.Event().wait()
        return tasks.pop(0)

    def complete(request: Any) -> workflowservice.RespondWorkflowTaskCompletedResponse:
        answered.set()
        return workflowservice.RespondWorkflowTaskCompletedResponse()

    connection = ScriptedConnection(
        PollWorkflowTaskQueue=poll, RespondWorkflowTaskCompleted=complete
    )
    converter = dataclasses.replace(DataConverter.default, payload_codec=Gate(len(tasks)))
    client = Client(
        ServiceClient(ConnectConfig(target_host="scripted"), connection), data_converter=converter
    )
    async with Worker(client, task_queue="q", workflows=[Waiter]):
        await answered.wait()
    tokens = [one.task_token for one in connection.requests("RespondWorkflowTaskCompleted")]
    assert tokens == [b"task 2"]
