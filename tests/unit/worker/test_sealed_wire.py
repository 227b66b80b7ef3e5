"""With a codec that seals payloads, no request of a client or a worker has a user's text in clear.

One scenario for each path that a value may take. Each names the requests that must have carried its texts, so that a
path that is not taken any more is noticed, and compares what comes back: it was opened before the user saw it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from perdure.client import (
    AsyncActivityCancelledError,
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from perdure.exceptions import ActivityError, TerminatedError
from perdure.worker import Worker
from tests.unit.worker import sealed_workflows
from tests.unit.worker.sealed_workflows import ACTIVITIES, Child, Steps, assert_failed, fail
from tests.unit.worker.sealing import Wire, mark

STARTED = "StartWorkflowExecution"
COMPLETED = "RespondWorkflowTaskCompleted"


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    sealed_workflows.begin_anew()
    opened = await Wire.open()
    async with opened.client:
        yield opened


async def begin(client: Client, step: str, *args: str, **options: Any) -> WorkflowHandle[Any, str]:
    return await client.start_workflow(
        Steps.run, args=[step, *args], id=step, task_queue="q", **options
    )


async def finish(client: Client, step: str) -> str:
    handle = await begin(client, step)
    return await handle.result()


async def start(client: Client) -> None:
    handle = await begin(
        client,
        "echo",
        mark("start argument"),
        memo={"note": mark("start memo")},
        static_summary=mark("start summary"),
        static_details=mark("start details"),
    )
    assert await handle.result() == mark("workflow result")
    described = await handle.describe()
    assert await described.memo() == {"note": mark("start memo")}
    assert await described.memo_value("note") == mark("start memo")
    assert await described.static_summary() == mark("start summary")
    assert await described.static_details() == mark("start details")
    (listed,) = [each async for each in client.list_workflows()]
    assert await listed.memo() == {"note": mark("start memo")}


async def signals(client: Client) -> None:
    handle = await begin(
        client, "listen", start_signal="tell", start_signal_args=[mark("first signal")]
    )
    await handle.signal(Steps.tell, mark("second signal"))
    await handle.signal(Steps.tell, "end")
    assert await handle.result() == f"{mark('first signal')}|{mark('second signal')}|end"


async def queries(client: Client) -> None:
    handle = await begin(client, "listen")
    await _ask(handle)
    await handle.signal(Steps.tell, "end")
    await handle.result()
    await _ask(handle)


async def _ask(handle: WorkflowHandle[Any, str]) -> None:
    assert await handle.query(Steps.ask, mark("query argument")) == mark("query result")
    with pytest.raises(WorkflowQueryFailedError, match="Encoded failure"):
        await handle.query(Steps.ask, mark("refused query"))
    metadata = await handle.query("__temporal_workflow_metadata")
    assert metadata.current_details == mark("current details")


async def updates(client: Client) -> None:
    handle = await begin(client, "listen")
    assert await handle.execute_update(Steps.change, mark("update argument")) == mark(
        "update result"
    )
    for text, what in (("failing", "failure"), ("rejected", "rejection")):
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await handle.execute_update(Steps.change, mark(f"{text} update"))
        assert_failed(caught.value.cause, f"update {what}")
    await handle.signal(Steps.tell, "end")
    await handle.result()


async def activities(client: Client) -> None:
    assert await finish(client, "call_activity") == mark("activity result")
    with pytest.raises(WorkflowFailureError) as caught:
        await finish(client, "call_raising")
    assert isinstance(caught.value.cause, ActivityError)
    assert_failed(caught.value.cause.cause, "activity failure")


async def completed_elsewhere(client: Client) -> None:
    by_token = await begin(client, "call_elsewhere")
    token = await sealed_workflows.outside.tokens.get()
    handle = client.get_async_activity_handle(task_token=token)
    await handle.heartbeat(mark("heartbeat by token"))
    await handle.complete(mark("completed by token"))
    assert await by_token.result() == mark("completed by token")

    by_id = await begin(client, "call_elsewhere")
    await sealed_workflows.outside.tokens.get()
    handle = client.get_async_activity_handle(
        workflow_id="call_elsewhere", run_id=None, activity_id="it"
    )
    await handle.heartbeat(mark("heartbeat by id"))
    await handle.fail(fail("failed by id"), last_heartbeat_details=[mark("last heartbeat")])
    with pytest.raises(WorkflowFailureError) as caught:
        await by_id.result()
    assert isinstance(caught.value.cause, ActivityError)
    assert_failed(caught.value.cause.cause, "failed by id")


async def cancelled_elsewhere(client: Client) -> None:
    workflow = await begin(client, "call_elsewhere")
    token = await sealed_workflows.outside.tokens.get()
    handle = client.get_async_activity_handle(task_token=token)
    await workflow.signal(Steps.tell, "cancel")
    with pytest.raises(AsyncActivityCancelledError):
        while True:  # until the request to cancel has arrived
            await handle.heartbeat()
            await asyncio.sleep(0)
    await handle.report_cancellation(mark("cancellation details"))
    assert await workflow.result() == mark("cancellation details")


async def local_activities(client: Client) -> None:
    assert await finish(client, "call_local") == mark("local result")


async def children(client: Client) -> None:
    assert await finish(client, "call_children") == mark("child result")


async def next_runs(client: Client) -> None:
    assert await finish(client, "go_on") == mark("next memo")


async def small_commands(client: Client) -> None:
    assert await finish(client, "upsert") == mark("upserted memo")


async def failures(client: Client) -> None:
    with pytest.raises(WorkflowFailureError) as caught:
        await finish(client, "fail")
    assert_failed(caught.value.cause, "workflow failure")


async def failed_tasks(client: Client) -> None:
    assert await finish(client, "fail_task") == mark("workflow result")


async def terminations(client: Client) -> None:
    handle = await begin(client, "listen")
    await handle.terminate(mark("termination details"), reason="enough")
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, TerminatedError)
    assert list(caught.value.cause.details) == [mark("termination details")]


class Path(NamedTuple):
    """A scenario, and which texts which requests carry in it."""

    play: Callable[[Client], Awaitable[None]]
    texts: dict[str, tuple[str, ...]]


def failure_of(what: str) -> tuple[str, ...]:
    return (f"{what} message", f"{what} details", f"{what} cause")


PATHS = (
    Path(
        start,
        {
            STARTED: ("start argument", "start memo", "start summary", "start details"),
            COMPLETED: ("workflow result",),
        },
    ),
    Path(
        signals,
        {
            "SignalWithStartWorkflowExecution": ("first signal",),
            "SignalWorkflowExecution": ("second signal",),
        },
    ),
    Path(
        queries,
        {
            "QueryWorkflow": ("query argument", "refused query"),
            "RespondQueryTaskCompleted": (
                "query result",
                "current details",
                *failure_of("query failure"),
            ),
        },
    ),
    Path(
        updates,
        {
            "UpdateWorkflowExecution": ("update argument", "failing update", "rejected update"),
            COMPLETED: (
                "update argument",
                "update result",
                *failure_of("update failure"),
                *failure_of("update rejection"),
            ),
        },
    ),
    Path(
        activities,
        {
            COMPLETED: ("activity argument", "activity summary", *failure_of("activity failure")),
            "RespondActivityTaskCompleted": ("activity result",),
            "RecordActivityTaskHeartbeat": ("first heartbeat",),
            "RespondActivityTaskFailed": (
                "unsent heartbeat",
                "stack trace",
                *failure_of("activity failure"),
            ),
        },
    ),
    Path(
        completed_elsewhere,
        {
            "RecordActivityTaskHeartbeat": ("heartbeat by token",),
            "RespondActivityTaskCompleted": ("completed by token",),
            "RecordActivityTaskHeartbeatById": ("heartbeat by id",),
            "RespondActivityTaskFailedById": ("last heartbeat", *failure_of("failed by id")),
        },
    ),
    Path(cancelled_elsewhere, {"RespondActivityTaskCanceled": ("cancellation details",)}),
    Path(
        local_activities,
        {COMPLETED: ("local result", "local summary", *failure_of("local failure"))},
    ),
    Path(
        children,
        {
            COMPLETED: (
                "child argument",
                "child memo",
                "child summary",
                "child details",
                "child signal",
                "child result",
                *failure_of("child failure"),
            )
        },
    ),
    Path(next_runs, {COMPLETED: ("next argument", "next memo")}),
    Path(small_commands, {COMPLETED: ("upserted memo", "timer summary")}),
    Path(failures, {COMPLETED: failure_of("workflow failure")}),
    Path(failed_tasks, {"RespondWorkflowTaskFailed": ("task failure",)}),
    Path(terminations, {"TerminateWorkflowExecution": ("termination details",)}),
)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.play.__name__)
@pytest.mark.parametrize("cached", [100, 0], ids=["cached", "replayed"])
async def test_no_request_has_a_text_in_clear(wire: Wire, path: Path, cached: int) -> None:
    async with Worker(
        wire.client,
        task_queue="q",
        workflows=[Steps, Child],
        activities=ACTIVITIES,
        max_cached_workflows=cached,
    ):
        await path.play(wire.client)
    assert wire.in_clear() == set()
    missing = [
        (method, text)
        for method, texts in path.texts.items()
        for text in texts
        if not wire.carried(method, text)
    ]
    assert missing == []
