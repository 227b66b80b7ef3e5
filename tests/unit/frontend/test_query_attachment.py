"""A query never goes with a workflow task that had begun before it was asked.

Signals that were acknowledged since then wait in the buffer: the task's worker could not see them, and its answer would
contradict what the caller already knows.
"""

from __future__ import annotations

import asyncio

import pytest

from perdure.core.ids import run_key
from perdure.server.pending.queries import PendingQuery, Queries, TaskAttempt
from perdure.wire.api import query
from perdure.wire.errors import FailedPrecondition
from tests.unit.frontend.conftest import QUEUE, settle, virtual_caller
from tests.unit.frontend.test_query_routes import STICKY, ask, now_s, results, sticky_run, value
from tests.unit.server.virtual import on_virtual_time

RUN = run_key("ns", "workflow", "run")


async def test_a_query_waits_for_a_task_that_begins_after_it() -> None:
    queries = Queries()
    asked = PendingQuery(
        "q", RUN, query.WorkflowQuery(query_type="count"), not_with=TaskAttempt(3, 1)
    )
    queries.attach(asked, at_most=1)
    assert queries.for_task(RUN, TaskAttempt(3, 1)) == {}
    assert list(queries.for_task(RUN, TaskAttempt(7, 1))) == ["q"]
    assert list(queries.for_task(RUN, TaskAttempt(3, 2))) == ["q"], (
        "the attempts share their events"
    )


@pytest.mark.parametrize("scheduled", ["first", "later", "sticky", "attempt"])
@pytest.mark.parametrize("events_since", [0, 1])
@on_virtual_time
async def test_a_query_asked_while_a_task_is_scheduled_goes_with_that_task(
    scheduled: str, events_since: int
) -> None:
    async with virtual_caller() as caller:
        await (sticky_run(caller) if scheduled == "sticky" else caller.start())
        if scheduled == "attempt":
            failing = await caller.poll()
            await caller.call("RespondWorkflowTaskFailed", task_token=failing.task_token)
        elif scheduled == "later":
            await caller.complete(await caller.poll())
        if scheduled in {"later", "sticky"}:
            await caller.signal()
        asked = ask(caller)
        await settle()
        for _ in range(events_since):
            await caller.signal()
        task = await caller.poll(task_queue=STICKY if scheduled == "sticky" else {"name": QUEUE})
        assert [each.query_type for each in task.queries.values()] == ["stage"]
        await caller.complete(task, query_results=results(task))
        assert (await asked).query_result == value("42")
        assert now_s() == 0


async def test_a_query_stays_attached_while_its_caller_looks_again() -> None:
    # Regression: a busy run's next task had begun whenever the caller came to look, and never carried the query.
    queries = Queries()
    asked = PendingQuery(
        "q", RUN, query.WorkflowQuery(query_type="count"), not_with=TaskAttempt(3, 1)
    )
    queries.attach(asked, at_most=1)
    queries.reroute(RUN)
    assert asked.stirred.done()
    assert asked.is_waiting
    assert list(queries.for_task(RUN, TaskAttempt(7, 1))) == ["q"]


@pytest.mark.parametrize("asked_in", ["first", "second"])
@pytest.mark.parametrize("failures", [2, 3, 4])
@on_virtual_time
async def test_a_query_that_waits_goes_on_waiting_while_the_task_fails(
    asked_in: str, failures: int
) -> None:
    async with virtual_caller() as caller:
        await caller.start()
        asked = None
        for attempt in range(1, failures + 1):
            task = await caller.poll()
            assert task.attempt == attempt
            if attempt == (1 if asked_in == "first" else 2):
                asked = ask(caller, timeout_s=100)
                await settle()
                assert not task.queries, "it was asked after the task had begun"
            await caller.call("RespondWorkflowTaskFailed", task_token=task.task_token)
        assert asked is not None
        task = caller.parked()
        await asyncio.sleep(5)  # its caller has looked again by then
        assert not asked.done()
        if failures >= 2:
            with pytest.raises(FailedPrecondition, match="Workflow Task in failed state"):
                await ask(caller)
        task = await task
        assert [each.query_type for each in task.queries.values()] == ["stage"]
        await caller.complete(task, query_results=results(task))
        assert (await asked).query_result == value("42")


@on_virtual_time
async def test_a_query_goes_with_an_attempt_that_began_before_its_caller_looked_again() -> None:
    async with virtual_caller() as caller:
        await caller.start()
        task = await caller.poll()
        asked = ask(caller)
        await settle()
        following = caller.parked()
        await settle()
        await caller.call("RespondWorkflowTaskFailed", task_token=task.task_token)
        task = await following
        assert (task.attempt, len(task.queries)) == (2, 1)
        await caller.complete(task, query_results=results(task))
        assert (await asked).query_result == value("42")
