"""One engine per file and process, bound to a loop, closed with its last connection."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from perdure.core.units import SECOND_NS
from perdure.embedded import calls as embedded_calls
from perdure.embedded import engine as embedded
from perdure.embedded import open_embedded
from perdure.storage.port import InUse
from perdure.storage.sqlite import open_sqlite
from perdure.wire import errors
from perdure.wire.api import common, enums, query, taskqueue
from perdure.wire.seam import WORKFLOW_SERVICE
from tests.harness.builders import schedule_activity
from tests.unit.embedded.calls import QUEUE, call, start


async def test_connections_to_one_file_share_an_engine(tmp_path: Path):
    url = f"sqlite:{tmp_path / 'x.db'}"
    first, second = await asyncio.gather(
        open_embedded(url), open_embedded(f"sqlite:///{tmp_path}/x.db")
    )
    run_id = await start(first)
    assert await start(second) == run_id
    await first.close()
    await first.close()
    with pytest.raises(errors.ConnectionClosed, match="connect again"):
        await start(first)
    assert await start(second) == run_id
    with pytest.raises(InUse):
        await open_sqlite(tmp_path / "x.db")
    await second.close()
    assert (tmp_path / "x.db").resolve() not in embedded.shared_engines
    third = await open_embedded(url)
    assert await start(third) == run_id, "what was acknowledged is there after reopening"
    await third.close()


async def test_memory_is_ones_own_unless_it_has_a_name():
    one, two = await open_embedded("memory:"), await open_embedded("memory:")
    assert await start(one) != await start(two)
    named, same = await open_embedded("memory:x"), await open_embedded("memory:x")
    assert await start(named) == await start(same)
    for connection in (one, two, named, same):
        await connection.close()


@pytest.mark.parametrize("url", ["sqlite:", "sqlite://", "mysql:x"])
async def test_a_url_without_a_database_is_refused(url: str):
    with pytest.raises(ValueError, match="names no database"):
        await open_embedded(url)


async def test_a_database_that_cannot_be_opened_says_why(tmp_path: Path):
    (tmp_path / "x.db").write_text("no database at all")
    for _ in range(2):
        with pytest.raises(errors.FailedPrecondition, match="no SQLite database"):
            await open_embedded(f"sqlite:{tmp_path}/x.db")


async def test_polls_end_with_their_connection(tmp_path: Path):
    url = f"sqlite:{tmp_path}/x.db"
    first, second = await open_embedded(url), await open_embedded(url)
    poll = asyncio.ensure_future(call(first, "PollWorkflowTaskQueue", 30, task_queue=QUEUE))
    await asyncio.sleep(0.01)
    await first.close()
    with pytest.raises(errors.ConnectionClosed, match="connect again"):
        await poll
    run_id = await start(second)
    task = await call(second, "PollWorkflowTaskQueue", 30, task_queue=QUEUE)
    assert task.workflow_execution.run_id == run_id
    await second.close()


async def test_waits_for_workflows_end_with_their_connection():
    connection, other = await open_embedded("memory:x"), await open_embedded("memory:x")
    run = common.WorkflowExecution(workflow_id="w", run_id=await start(connection))
    end = enums.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT
    method = WORKFLOW_SERVICE["GetWorkflowExecutionHistory"]
    until_end = method.request_type(
        namespace="default", execution=run, wait_new_event=True, history_event_filter_type=end
    )
    question = query.WorkflowQuery(query_type="status")
    waits = [
        asyncio.ensure_future(connection.call(method, until_end)),
        asyncio.ensure_future(connection.call(method, until_end, timeout_ns=60 * SECOND_NS)),
        asyncio.ensure_future(call(connection, "QueryWorkflow", 60, execution=run, query=question)),
    ]
    await asyncio.sleep(0.01)
    await connection.close()
    async with asyncio.timeout(5):
        for wait in waits:
            with pytest.raises(errors.ConnectionClosed):
                await wait
    await other.close()


def test_another_loop_is_refused_and_an_abandoned_engine_let_go(tmp_path: Path):
    url = f"sqlite:{tmp_path}/x.db"

    async def abandon() -> str:
        connection = await open_embedded(url)
        run_id = await start(connection)
        with pytest.raises(errors.FailedPrecondition, match="another event loop"):
            await asyncio.to_thread(lambda: asyncio.run(open_embedded_quietly(url)))
        return run_id

    async def again() -> str:
        connection = await open_embedded(url)
        run_id = await start(connection)
        await connection.close()
        return run_id

    assert asyncio.run(abandon()) == asyncio.run(again())


async def open_embedded_quietly(url: str) -> None:
    await open_embedded(url)


async def test_an_attempt_of_a_dead_process_is_timed_out_at_once(tmp_path: Path):
    url = f"sqlite:{tmp_path}/x.db"
    connection = await open_embedded(url)
    await start(connection)
    task = await call(connection, "PollWorkflowTaskQueue", 5, task_queue=QUEUE)
    await call(
        connection,
        "RespondWorkflowTaskCompleted",
        task_token=task.task_token,
        commands=[schedule_activity()],
    )
    first = await call(connection, "PollActivityTaskQueue", 5, task_queue=QUEUE)
    await connection.close()
    connection = await open_embedded(url)
    second = await call(connection, "PollActivityTaskQueue", 5, task_queue=QUEUE)
    assert (first.attempt, second.attempt) == (1, 2)
    await connection.close()


async def test_a_workflow_task_of_a_dead_process_is_there_again_at_once(tmp_path: Path):
    url = f"sqlite:{tmp_path}/x.db"
    connection = await open_embedded(url)
    for name in ("taken", "waits"):
        await start(connection, name)
    for _ in range(2):
        task = await call(connection, "PollWorkflowTaskQueue", 5, task_queue=QUEUE)
        if task.workflow_execution.workflow_id == "waits":
            sticky = taskqueue.TaskQueue(
                name="of-a-dead-worker", kind=enums.TASK_QUEUE_KIND_STICKY, normal_name="q"
            )
            attributes = taskqueue.StickyExecutionAttributes(worker_task_queue=sticky)
            attributes.schedule_to_start_timeout.seconds = 100
            await call(
                connection,
                "RespondWorkflowTaskCompleted",
                task_token=task.task_token,
                sticky_attributes=attributes,
            )
    await call(
        connection,
        "SignalWorkflowExecution",
        workflow_execution=common.WorkflowExecution(workflow_id="waits"),
        signal_name="s",
    )
    await connection.close()
    connection = await open_embedded(url)
    found = {
        (
            await call(connection, "PollWorkflowTaskQueue", 5, task_queue=QUEUE)
        ).workflow_execution.workflow_id
        for _ in range(2)
    }
    assert found == {"taken", "waits"}
    await connection.close()


async def test_who_stops_waiting_for_an_engine_leaves_it(tmp_path: Path):
    url = f"sqlite:{tmp_path}/x.db"
    opening = asyncio.create_task(open_embedded(url))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    while (tmp_path / "x.db").resolve() in embedded.shared_engines:  # noqa: ASYNC110 -- it closes by itself
        await asyncio.sleep(0.01)
    store = await open_sqlite(tmp_path / "x.db")
    await store.close()


async def test_opening_while_the_last_connection_closes(tmp_path: Path):
    place = (tmp_path / "x.db").resolve()
    url = f"sqlite:{tmp_path}/x.db"
    first = await open_embedded(url)
    run_id = await start(first)
    closing = asyncio.create_task(first.close())
    await asyncio.sleep(0)
    some = await asyncio.gather(*(open_embedded(url) for _ in range(3)))
    await closing
    assert {await start(one) for one in some} == {run_id}
    for one in some:
        await one.close()
    assert place not in embedded.shared_engines
    assert place not in {engine.place for engine in embedded.all_engines}


async def test_a_caller_whose_poll_ended_with_the_connection_goes_on(tmp_path: Path):
    connection = await open_embedded(f"sqlite:{tmp_path}/x.db")

    async def polls() -> str:
        try:
            await call(connection, "PollWorkflowTaskQueue", 30, task_queue=QUEUE)
        except errors.ConnectionClosed:
            await asyncio.sleep(0)  # not cancelled any more
            return "ended"
        return "answered"

    poll = asyncio.create_task(polls())
    await asyncio.sleep(0)
    await connection.close()
    assert await poll == "ended"
    assert poll.cancelling() == 0


async def test_a_cancelled_poll_is_no_ended_connection(tmp_path: Path):
    connection = await open_embedded(f"sqlite:{tmp_path}/x.db")
    poll = asyncio.create_task(call(connection, "PollWorkflowTaskQueue", 30, task_queue=QUEUE))
    await asyncio.sleep(0)
    poll.cancel()
    with pytest.raises(asyncio.CancelledError):
        await poll
    both = asyncio.create_task(call(connection, "PollWorkflowTaskQueue", 30, task_queue=QUEUE))
    await asyncio.sleep(0)
    both.cancel()
    await connection.close()
    with pytest.raises(asyncio.CancelledError):
        await both


async def test_a_call_that_is_not_answered_in_time_says_so(tmp_path: Path):
    connection = await open_embedded(f"sqlite:{tmp_path}/x.db")
    await start(connection, "w")

    async def waits() -> str:
        request = {
            "execution": common.WorkflowExecution(workflow_id="w"),
            "wait_new_event": True,
            "history_event_filter_type": 2,
        }
        try:
            method = WORKFLOW_SERVICE["GetWorkflowExecutionHistory"]
            await connection.call(
                method,
                method.request_type(namespace="default", **request),
                timeout_ns=2 * SECOND_NS,
            )
        except errors.DeadlineExceeded:
            await asyncio.sleep(0)  # not cancelled any more
            return "late"
        return "answered"

    engine = connection._node.engine
    waiting = asyncio.create_task(waits())
    await asyncio.sleep(0)
    (call_,) = connection._waiting
    call_.interrupt(embedded_calls.LATE)  # as its timer does
    assert await waiting == "late"
    assert waiting.cancelling() == 0
    assert not engine.release._end_waiters
    await connection.close()
