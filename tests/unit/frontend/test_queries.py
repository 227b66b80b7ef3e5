"""Queries take the way that shows the caller what a worker knows now (S-39)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.server.frontend import queries
from perdure.wire.api import common, enums, errordetails
from perdure.wire.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from tests.harness.builders import complete_workflow
from tests.unit.frontend.conftest import Caller, settle

ANSWERED = enums.QUERY_RESULT_TYPE_ANSWERED
FAILED = enums.QUERY_RESULT_TYPE_FAILED
ANSWER = common.Payloads(payloads=[common.Payload(data=b"42")])


def ask(caller: Caller, **fields: Any) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(
        caller.call(
            "QueryWorkflow",
            execution={"workflow_id": "w"},
            query={"query_type": "stage"},
            **fields,
        )
    )


async def idle_run(caller: Caller) -> None:
    """A run whose first workflow task is completed and that waits."""
    await caller.start()
    await caller.complete(await caller.poll())


async def test_an_idle_run_is_asked_on_its_own(caller: Caller):
    await idle_run(caller)
    asked = ask(caller)
    task = await caller.poll()
    assert task.query.query_type == "stage"
    assert [event.event_id for event in task.history.events] == [1, 2, 3, 4]
    assert task.started_event_id == 0
    await caller.call(
        "RespondQueryTaskCompleted",
        task_token=task.task_token,
        completed_type=ANSWERED,
        query_result=ANSWER,
    )
    assert (await asked).query_result == ANSWER
    assert len((await caller.history()).history.events) == 4, "a query leaves no trace"


async def test_a_failed_query_is_an_invalid_argument_with_the_failure(caller: Caller):
    await idle_run(caller)
    asked = ask(caller)
    task = await caller.poll()
    await caller.call(
        "RespondQueryTaskCompleted",
        task_token=task.task_token,
        completed_type=FAILED,
        error_message="no such query",
        failure={"message": "no such query"},
    )
    with pytest.raises(InvalidArgument, match="no such query") as caught:
        await asked
    (detail,) = caught.value.details
    assert isinstance(detail, errordetails.QueryFailedFailure)
    assert detail.failure.message == "no such query"


async def test_a_query_behind_a_pending_workflow_task_travels_with_it(caller: Caller):
    await idle_run(caller)
    await caller.signal()
    asked = ask(caller)
    await settle()
    task = await caller.poll()
    ((query_id, question),) = task.queries.items()
    assert question.query_type == "stage"
    await caller.complete(
        task, query_results={query_id: {"result_type": ANSWERED, "answer": ANSWER}}
    )
    assert (await asked).query_result == ANSWER


async def test_a_query_that_a_started_task_does_not_know_is_asked_after_it(caller: Caller):
    await caller.start()
    task = await caller.poll()
    asked = ask(caller)
    await settle()
    await caller.complete(task, complete_workflow())
    direct = await caller.poll()
    assert direct.query.query_type == "stage"
    await caller.call(
        "RespondQueryTaskCompleted",
        task_token=direct.task_token,
        completed_type=ANSWERED,
        query_result=ANSWER,
    )
    assert (await asked).query_result == ANSWER


async def test_only_one_query_waits_for_a_workflow_task(caller: Caller):
    await caller.start()
    first = ask(caller)
    await settle()
    with pytest.raises(ResourceExhausted, match="query buffer is full"):
        await ask(caller)
    first.cancel()
    await asyncio.wait((first,))
    second = ask(caller)
    await settle()
    assert not second.done()
    second.cancel()
    await asyncio.wait((second,))


async def test_a_query_before_the_first_task_is_scheduled_travels_with_it(caller: Caller):
    await caller.start(workflow_start_delay={"nanos": 50_000_000})
    asked = ask(caller)
    with pytest.raises(ResourceExhausted, match="query buffer is full"):
        await ask(caller)
    task = await caller.poll()
    ((query_id, question),) = task.queries.items()
    assert (question.query_type, task.previous_started_event_id) == ("stage", 0)
    await caller.complete(
        task, query_results={query_id: {"result_type": ANSWERED, "answer": ANSWER}}
    )
    assert (await asked).query_result == ANSWER


async def test_a_query_does_not_wait_for_a_first_task_that_comes_too_late(caller: Caller):
    await caller.start(workflow_start_delay={"seconds": 60})
    with pytest.raises(FailedPrecondition, match="not scheduled yet"):
        await ask(caller)


async def test_a_sticky_worker_that_died_with_a_question_does_not_keep_it(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(queries, "STICKY_TRY_NS", 10_000_000)
    await caller.start()
    await caller.complete(
        await caller.poll(),
        sticky_attributes={
            "worker_task_queue": {"name": "cache"},
            "schedule_to_start_timeout": {"seconds": 10},
        },
    )
    sticky = {"name": "cache", "kind": enums.TASK_QUEUE_KIND_STICKY, "normal_name": "queue"}
    parked = caller.parked(task_queue=sticky)
    await settle()
    asked = ask(caller)
    assert (await parked).query.query_type == "stage"
    other = await caller.poll()
    assert other.query.query_type == "stage"
    assert len(other.history.events) == 4, "who does not know the run gets its history"
    await caller.call(
        "RespondQueryTaskCompleted",
        task_token=other.task_token,
        completed_type=ANSWERED,
        query_result=ANSWER,
    )
    assert (await asked).query_result == ANSWER


async def test_without_a_worker_the_caller_gets_deadline_exceeded(caller: Caller):
    await idle_run(caller)
    with pytest.raises(DeadlineExceeded, match="no worker polls"):
        await ask(caller, timeout_ns=10_000_000)
    assert (await caller.poll(timeout_ns=2_000_000_000)).task_token == b"", "it was withdrawn"


async def test_an_answer_that_nobody_waits_for_is_not_found(caller: Caller):
    await idle_run(caller)
    asked = ask(caller)
    task = await caller.poll()
    asked.cancel()
    await asyncio.wait((asked,))
    with pytest.raises(NotFound):
        await caller.call(
            "RespondQueryTaskCompleted",
            task_token=task.task_token,
            completed_type=ANSWERED,
            query_result=ANSWER,
        )


@pytest.mark.parametrize(
    ("condition", "is_rejected"),
    [
        (enums.QUERY_REJECT_CONDITION_NONE, False),
        (enums.QUERY_REJECT_CONDITION_NOT_OPEN, True),
        (enums.QUERY_REJECT_CONDITION_NOT_COMPLETED_CLEANLY, False),
    ],
)
async def test_closed_runs_answer_unless_the_caller_rejects_that(
    caller: Caller, condition: Any, is_rejected: bool
):
    await caller.start()
    await caller.complete(await caller.poll(), complete_workflow())
    asked = ask(caller, query_reject_condition=condition)
    if is_rejected:
        rejected = (await asked).query_rejected
        assert rejected.status == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
    else:
        assert (await caller.poll()).query.query_type == "stage"
        asked.cancel()
        await asyncio.wait((asked,))


async def test_a_run_that_closed_before_its_first_task_can_not_be_asked(caller: Caller):
    await caller.start()
    await caller.call("TerminateWorkflowExecution", workflow_execution={"workflow_id": "w"})
    with pytest.raises(FailedPrecondition, match="closed before its first workflow task"):
        await ask(caller)
