"""What a worker does with the answer to a completion, and what it asks for with one."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.client import Client
from perdure.service import ConnectConfig, ServiceClient
from perdure.wire import errors
from perdure.wire.api import history, workflowservice
from perdure.wire.events import event
from perdure.worker import Worker
from tests.unit.worker.test_task_answers import (
    COMPLETED,
    QUEUE,
    Poll,
    Server,
    answers_to,
    task,
)

Answer = workflowservice.RespondWorkflowTaskCompletedResponse


@activity.defn
async def step() -> None: ...


@workflow.defn
class Fans:
    @workflow.run
    async def run(self, _text: str) -> None:
        minute = timedelta(minutes=1)
        await asyncio.gather(
            *(workflow.execute_activity(step, start_to_close_timeout=minute) for _ in range(5))
        )


@workflow.defn
class Hears:
    def __init__(self) -> None:
        self.heard = False

    @workflow.run
    async def run(self, _text: str) -> None:
        await workflow.wait_condition(lambda: self.heard)

    @workflow.signal
    def hear(self) -> None:
        self.heard = True


def worker_of(server: Server) -> Worker:
    config = ConnectConfig(target_host="scripted", identity="me")
    client = Client(ServiceClient(config, server.connection))
    return Worker(
        client,
        task_queue="q",
        workflows=[Fans, Hears],
        activities=[step],
        max_concurrent_workflow_tasks=2,
        max_concurrent_workflow_task_polls=2,
    )


def following(first_id: int, *attributes: Any) -> Poll:
    """A later task of the same run; its history begins at an event and ends with the task's start."""
    poll = task("Hears")
    last_id = first_id + len(attributes) + 1
    all_of_them = [
        *attributes,
        history.WorkflowTaskScheduledEventAttributes(task_queue=QUEUE, attempt=1),
        history.WorkflowTaskStartedEventAttributes(scheduled_event_id=last_id - 1),
    ]
    del poll.history.events[:]
    poll.history.events.extend(
        event(each, event_id=first_id + index) for index, each in enumerate(all_of_them)
    )
    poll.started_event_id, poll.previous_started_event_id = last_id, 3
    return poll


@pytest.mark.parametrize("is_dropped", [True, False])
async def test_the_events_of_a_task_that_the_server_dropped_are_forgotten(*, is_dropped: bool):
    answers = [Answer(), Answer(reset_history_event_id=3 if is_dropped else 0), Answer()]
    completed = history.WorkflowTaskCompletedEventAttributes(
        scheduled_event_id=2, started_event_id=3
    )
    heard = history.WorkflowExecutionSignaledEventAttributes(signal_name="hear")
    tasks = [task("Hears"), following(4, completed), following(5 if is_dropped else 7, heard)]
    server = Server(tasks, {COMPLETED: lambda _: answers.pop(0)})
    async with worker_of(server), asyncio.timeout(60):
        await server.all_taken.wait()
    assert server.names() == [COMPLETED] * 3
    assert [len(request.commands) for _, request in server.answers()] == [0, 0, 1]
    asked = server.connection.requests("GetWorkflowExecutionHistory")
    assert asked == [], "the run in memory fits the history"


async def test_a_completion_whose_task_is_gone_is_no_problem(caplog: pytest.LogCaptureFixture):
    def gone(_: Any) -> Answer:
        raise errors.not_found("gone")

    with caplog.at_level(logging.WARNING):
        found = await answers_to(task("Waits"), RespondWorkflowTaskCompleted=gone)
    assert [name for name, _ in found] == [COMPLETED]
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.parametrize(("polls_are_free", "count"), [(False, 3), (True, 5)])
async def test_three_activities_start_at_once_or_all_where_the_engine_is_in_this_process(
    *, polls_are_free: bool, count: int
):
    server = Server([task("Fans")], {})
    server.connection.polls_are_free = polls_are_free
    async with worker_of(server), asyncio.timeout(60):
        await server.all_taken.wait()
    ((_, request),) = server.answers()
    wishes = [
        command.schedule_activity_task_command_attributes.request_eager_execution
        for command in request.commands
    ]
    assert (len(wishes), sum(wishes)) == (5, count)
