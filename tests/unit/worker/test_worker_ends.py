"""How a worker ends: fatal errors, lost connections, announcements, and what its user sees of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from perdure import activity, workflow
from perdure.client import Client
from perdure.service import ConnectConfig, ServiceClient
from perdure.wire import errors
from perdure.wire.api import workflowservice
from perdure.worker import Worker
from tests.unit.worker.scripted import ScriptedConnection

if TYPE_CHECKING:
    from collections.abc import Callable


@workflow.defn
class Waits:
    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)


@activity.defn
async def nothing() -> None: ...


def worker_over(**settings: Any) -> tuple[Worker, ScriptedConnection]:
    answers = {name: settings.pop(name) for name in list(settings) if name[0].isupper()}
    connection = ScriptedConnection(**answers)
    client = Client(ServiceClient(ConnectConfig("scripted", identity="me"), connection))
    return Worker(
        client, task_queue="q", workflows=[Waits], activities=[nothing], **settings
    ), connection


async def turns() -> None:
    """Nothing here waits for anything outside the event loop."""
    for _ in range(50):
        await asyncio.sleep(0)


def breaking(error: Exception, *, after: int = 0) -> Callable[[Any], Any]:
    async def poll(_: Any) -> Any:
        for _ in range(after):
            await asyncio.sleep(0)
        raise error

    return poll


FIRST, SECOND = TypeError("the first bug"), TypeError("the second bug")
POLLS_BREAK = {
    "PollWorkflowTaskQueue": breaking(FIRST),
    "PollActivityTaskQueue": breaking(SECOND, after=3),
}


async def test_the_first_fatal_error_is_the_workers() -> None:
    told: list[BaseException] = []

    async def tell(error: BaseException) -> None:
        await asyncio.sleep(0)
        told.append(error)

    worker, _ = worker_over(**POLLS_BREAK, on_fatal_error=tell)
    async with asyncio.timeout(60):
        with pytest.raises(TypeError) as caught:
            await worker.run()
    assert caught.value is FIRST
    assert told == [FIRST], "told once, and waited for"


async def test_a_fatal_error_that_nobody_wants_to_be_told_of() -> None:
    worker, _ = worker_over(**POLLS_BREAK)
    async with asyncio.timeout(60):
        with pytest.raises(TypeError) as caught:
            await worker.run()
    assert caught.value is FIRST
    assert worker.is_shutdown


async def test_the_user_of_a_block_gets_the_workers_error_and_no_cancellation() -> None:
    worker, _ = worker_over(**POLLS_BREAK)
    user = asyncio.current_task()
    assert user is not None
    with pytest.raises(TypeError) as caught:
        async with asyncio.timeout(60), worker:
            await asyncio.Event().wait()
    assert caught.value is FIRST
    assert user.cancelling() == 0, "the request was the worker's own"


async def test_a_cancellation_from_elsewhere_stays() -> None:
    worker, connection = worker_over()

    async def use() -> None:
        async with worker:
            await asyncio.Event().wait()

    user = asyncio.create_task(use())
    await turns()
    assert connection.requests("PollWorkflowTaskQueue")
    user.cancel()
    await asyncio.wait([user])
    assert user.cancelled()
    assert user.cancelling() == 1
    assert worker.is_shutdown


async def test_a_lost_connection_is_a_clean_end(caplog: pytest.LogCaptureFixture) -> None:
    closed = errors.ConnectionClosed("closed")
    worker, _ = worker_over(
        PollWorkflowTaskQueue=breaking(closed), PollActivityTaskQueue=breaking(closed, after=1)
    )
    async with asyncio.timeout(60):
        await worker.run()
    assert worker.is_shutdown
    said = [message for message in caplog.messages if "end workers before their client" in message]
    assert len(said) == 1
    assert said[0].startswith("The client of the worker of q was closed")


async def test_the_end_is_announced_before_the_polls_are_given_up() -> None:
    worker, connection = worker_over()
    async with worker:
        await turns()
    names = [name for name, _ in connection.calls]
    assert names[0] == "DescribeNamespace"
    assert names[-1] == "ShutdownWorker"
    assert set(names) == {
        "DescribeNamespace", "PollWorkflowTaskQueue", "PollActivityTaskQueue", "ShutdownWorker",
    }  # fmt: skip
    (announced,) = connection.requests("ShutdownWorker")
    polls = connection.requests("PollWorkflowTaskQueue")
    sticky = {poll.task_queue.name for poll in polls} - {"q"}
    assert sticky == {announced.sticky_task_queue}
    assert announced.task_queue == "q"
    assert {poll.worker_instance_key for poll in polls} == {announced.worker_instance_key}


@pytest.mark.parametrize("answers_polls", [True, False])
async def test_a_server_that_ends_polls_itself_may_still_deliver(answers_polls: bool) -> None:
    """Where the server says that it ends them, a poll is not given up while its answer may be on the way."""
    over = asyncio.Event()
    ended: list[str] = []

    def describe(_: Any) -> workflowservice.DescribeNamespaceResponse:
        response = workflowservice.DescribeNamespaceResponse()
        capabilities = response.namespace_info.capabilities
        capabilities.worker_poll_complete_on_shutdown = answers_polls
        return response

    async def poll(request: Any) -> Any:
        try:
            await over.wait()
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            ended.append("given up")
            raise
        ended.append("answered")
        if isinstance(request, workflowservice.PollWorkflowTaskQueueRequest):
            return workflowservice.PollWorkflowTaskQueueResponse()
        return workflowservice.PollActivityTaskQueueResponse()

    def shut_down(_: Any) -> workflowservice.ShutdownWorkerResponse:
        over.set()
        return workflowservice.ShutdownWorkerResponse()

    worker, connection = worker_over(
        DescribeNamespace=describe,
        PollWorkflowTaskQueue=poll,
        PollActivityTaskQueue=poll,
        ShutdownWorker=shut_down,
    )
    async with worker:
        await turns()
        polls = len(connection.calls) - 1
    assert polls > 2
    assert ended == ["answered" if answers_polls else "given up"] * polls


async def test_a_worker_that_was_cancelled_leaves_its_user_alone() -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    worker, _ = worker_over()
    with pytest.raises(asyncio.CancelledError):
        async with worker:
            await turns()
            run = worker._run_task
            assert run is not None
            run.cancel()
            await turns()
            assert run.done(), "and the block goes on"
    assert reported == []
    assert worker.is_shutdown


async def test_work_in_the_background_is_forgotten_and_its_failure_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fails() -> None:
        raise LookupError("a bug")

    worker, _ = worker_over()
    operation: Any = worker._operation
    works = {"fails": fails(), "ends": turns(), "is cancelled": asyncio.sleep(3600)}
    tasks = [operation._spawn(work, name) for name, work in works.items()]
    await asyncio.sleep(0)
    tasks[-1].cancel()
    await asyncio.wait(tasks)
    await asyncio.sleep(0)
    assert not operation._background
    assert caplog.messages == ["A background task of the worker failed: fails"]
