"""The way a query takes on virtual time: to the worker that knows the run, past one that is dead, with a task."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.core.ids import QueueKey, QueueKind, run_key
from perdure.core.limits import Limits
from perdure.core.units import SECOND_NS
from perdure.server.frontend import queries as module
from perdure.server.pending.queries import PendingQuery
from perdure.wire.api import common, enums, errordetails, query
from perdure.wire.errors import (
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    RpcError,
)
from tests.harness.builders import complete_workflow
from tests.unit.frontend.conftest import QUEUE, Caller, settle, virtual_caller
from tests.unit.server.virtual import on_virtual_time

ANSWERED = enums.QUERY_RESULT_TYPE_ANSWERED
STICKY = {"name": "sticky", "kind": enums.TASK_QUEUE_KIND_STICKY, "normal_name": QUEUE}
TRY_S = module.STICKY_TRY_NS / SECOND_NS


def now_s() -> float:
    return asyncio.get_running_loop().time()


def value(text: str) -> common.Payloads:
    return common.Payloads(payloads=[common.Payload(data=text.encode())])


def ask(caller: Caller, timeout_s: float = 30, **fields: Any) -> asyncio.Task[Any]:
    fields.setdefault("execution", {"workflow_id": "w"})
    fields.setdefault("query", {"query_type": "stage", "query_args": value("asked")})
    return asyncio.get_running_loop().create_task(
        caller.call("QueryWorkflow", timeout_ns=int(timeout_s * SECOND_NS), **fields)
    )


async def answer(caller: Caller, task: Any, text: str = "42", **fields: Any) -> None:
    fields.setdefault("completed_type", ANSWERED)
    fields.setdefault("query_result", value(text))
    await caller.call("RespondQueryTaskCompleted", task_token=task.task_token, **fields)


async def sticky_run(caller: Caller) -> None:
    """An idle run in the cache of a worker that polled its sticky queue just now."""
    await caller.start()
    task = await caller.poll()
    attributes = {"worker_task_queue": STICKY, "schedule_to_start_timeout": {"seconds": 10}}
    await caller.complete(task, sticky_attributes=attributes)
    parked = caller.parked(task_queue=STICKY)
    await settle()
    parked.cancel()
    await settle()


@on_virtual_time
async def test_the_worker_that_has_the_run_is_asked_first_and_gets_no_history():
    async with virtual_caller() as caller:
        await sticky_run(caller)
        normal = caller.parked(timeout_ns=30 * SECOND_NS)
        await settle()
        asked = ask(caller)
        await asyncio.sleep(1)
        assert not normal.done()
        task = await caller.poll(task_queue=STICKY)
        assert task.query.query_type == "stage"
        assert task.query.query_args == value("asked")
        assert len(task.history.events) == 0
        assert task.HasField("history"), "an empty one, not none"
        assert (task.previous_started_event_id, task.attempt) == (3, 1)
        assert task.workflow_type.name == "Greeting"
        assert task.workflow_execution_task_queue.name == QUEUE
        await answer(caller, task)
        assert (await asked).query_result == value("42")
        assert now_s() == 1
        normal.cancel()


@on_virtual_time
async def test_a_query_that_nobody_fetches_from_a_sticky_queue_goes_to_any_worker_and_leaves_it():
    async with virtual_caller() as caller:
        await sticky_run(caller)
        asked = ask(caller)
        normal = caller.parked(timeout_ns=30 * SECOND_NS)
        task = await normal
        assert now_s() == TRY_S
        assert [event.event_id for event in task.history.events] == [1, 2, 3, 4]
        late = await caller.poll(task_queue=STICKY, timeout_ns=3 * SECOND_NS)
        assert not late.HasField("query"), "it is not in the sticky queue any more"
        await answer(caller, task)
        assert (await asked).query_result == value("42")


@on_virtual_time
async def test_a_query_whose_caller_has_gone_is_in_no_queue():
    async with virtual_caller() as caller:
        await sticky_run(caller)
        for waits_s in (1, TRY_S + 1):  # in the sticky queue, and in the normal one
            with pytest.raises(DeadlineExceeded):
                await ask(caller, timeout_s=waits_s)
            for queue in (STICKY, {"name": QUEUE}):
                task = await caller.poll(task_queue=queue, timeout_ns=2 * SECOND_NS)
                assert not task.HasField("query")


@on_virtual_time
async def test_a_worker_that_fetched_a_query_and_died_keeps_it_for_a_while_only():
    async with virtual_caller() as caller:
        await sticky_run(caller)
        asked = ask(caller)
        await asyncio.sleep(2)
        dead = await caller.poll(task_queue=STICKY)
        task = await caller.poll(timeout_ns=30 * SECOND_NS)
        assert now_s() == 2 + TRY_S
        assert task.query.query_type == "stage"
        await answer(caller, dead, "late, and good")
        assert (await asked).query_result == value("late, and good")
        with pytest.raises(NotFound):
            await answer(caller, task)


@on_virtual_time
async def test_a_sticky_queue_without_a_worker_is_not_asked():
    async with virtual_caller() as caller:
        await sticky_run(caller)
        await asyncio.sleep(11)
        asked = ask(caller)
        began_s = now_s()
        await answer(caller, await caller.poll())
        await asked
        assert now_s() == began_s


@on_virtual_time
async def test_an_answer_counts_once_and_says_what_it_is():
    async with virtual_caller() as caller:
        await caller.start()
        await caller.complete(await caller.poll())
        asked = ask(caller)
        task = await caller.poll()
        with pytest.raises(InvalidArgument, match="CompletedType"):
            await answer(caller, task, completed_type=enums.QUERY_RESULT_TYPE_UNSPECIFIED)
        await answer(caller, task)
        with pytest.raises(NotFound):
            await answer(caller, task)
        assert (await asked).query_result == value("42")
        with pytest.raises(InvalidArgument):
            await caller.call("RespondQueryTaskCompleted", task_token=b"junk")
        assert not caller.node.frontend.services.queries._direct


@pytest.mark.parametrize(
    ("fields", "message", "detail"),
    [
        ({}, "", ""),
        ({"error_message": "text"}, "text", ""),
        ({"failure": {"message": "failure"}}, "failure", "failure"),
        ({"failure": {"message": "failure"}, "error_message": "text"}, "text", "failure"),
    ],
)
@on_virtual_time
async def test_what_a_failed_query_says(fields: dict[str, Any], message: str, detail: str):
    async with virtual_caller() as caller:
        await caller.start()
        await caller.complete(await caller.poll())
        asked = ask(caller)
        task = await caller.poll()
        failed = enums.QUERY_RESULT_TYPE_FAILED
        await caller.call(
            "RespondQueryTaskCompleted",
            task_token=task.task_token,
            completed_type=failed,
            **fields,
        )
        with pytest.raises(InvalidArgument) as caught:
            await asked
        assert caught.value.message == message
        (said,) = caught.value.details
        assert said.failure.message == detail  # type: ignore[attr-defined]
        assert said.HasField("failure") is bool(detail), "none is made up"


# With a workflow task.


def results(task: Any, text: str = "42", **more: Any) -> dict[str, Any]:
    found = {key: {"result_type": ANSWERED, "answer": value(text)} for key in task.queries}
    return found | more


@on_virtual_time
async def test_a_query_sees_what_was_acknowledged_before_it_though_a_task_was_running():
    async with virtual_caller() as caller:
        await caller.start()
        running = await caller.poll()
        await caller.signal()
        asked = ask(caller)
        await settle()
        stale = {"any": {"result_type": ANSWERED, "answer": value("stale")}}
        await caller.complete(running, query_results=stale)
        await settle()
        assert not asked.done()
        task = await caller.poll()
        signals = [e for e in task.history.events if e.event_type == 26]
        assert len(signals) == 1
        assert len(task.queries) == 1
        await caller.complete(task, query_results=results(task))
        assert (await asked).query_result == value("42")
        assert now_s() == 0


@on_virtual_time
async def test_the_next_task_that_comes_with_a_completion_carries_the_query():
    async with virtual_caller() as caller:
        await caller.start()
        running = await caller.poll()
        await caller.signal()
        asked = ask(caller)
        await settle()
        following = (await caller.complete(running, return_new_workflow_task=True)).workflow_task
        assert len(following.queries) == 1
        await caller.complete(following, query_results=results(following))
        assert (await asked).query_result == value("42")


@on_virtual_time
async def test_a_task_that_fails_takes_its_queries_to_the_next_attempt():
    async with virtual_caller() as caller:
        await caller.start()
        asked = ask(caller)
        await settle()
        first = await caller.poll()
        assert len(first.queries) == 1
        await caller.call("RespondWorkflowTaskFailed", task_token=first.task_token)
        await settle()
        again = await caller.poll()
        assert (again.attempt, len(again.queries)) == (2, 1)
        await caller.complete(again, query_results=results(again))
        assert (await asked).query_result == value("42")


@on_virtual_time
async def test_a_task_that_does_not_answer_its_query_leaves_it_to_be_asked_directly():
    async with virtual_caller() as caller:
        await caller.start()
        asked = ask(caller)
        await settle()
        await caller.complete(await caller.poll())
        direct = await caller.poll()
        assert direct.query.query_type == "stage"
        await answer(caller, direct)
        await asked
        assert now_s() == 0


@on_virtual_time
async def test_a_run_that_ends_behind_a_query_is_asked_directly_soon():
    async with virtual_caller() as caller:
        await caller.start()
        task = await caller.poll()
        await caller.complete(task)
        await caller.signal()
        asked = ask(caller)
        await settle()
        await caller.call("TerminateWorkflowExecution", workflow_execution={"workflow_id": "w"})
        direct = await caller.poll(timeout_ns=30 * SECOND_NS)
        assert direct.query.query_type == "stage"
        assert now_s() <= module.LOOK_AGAIN_NS / SECOND_NS
        await answer(caller, direct)
        assert (await asked).query_result == value("42")


@on_virtual_time
async def test_queries_behind_a_task_are_bounded_and_each_gets_its_own_answer():
    async with virtual_caller(Limits(buffered_queries_max=3)) as caller:
        await caller.start()
        asked = [ask(caller, query={"query_type": str(n)}) for n in range(3)]
        await settle()
        with pytest.raises(ResourceExhausted, match="3 queries wait"):
            await ask(caller)
        task = await caller.poll()
        answers = {
            key: {"result_type": ANSWERED, "answer": value(question.query_type)}
            for key, question in task.queries.items()
        }
        await caller.complete(task, query_results=answers)
        said = [(await each).query_result for each in asked]
        assert said == [value("0"), value("1"), value("2")]
        assert not caller.node.frontend.services.queries._attached


@pytest.mark.parametrize(
    ("end", "status", "not_open", "not_clean"),
    [
        ("", enums.WORKFLOW_EXECUTION_STATUS_RUNNING, False, False),
        ("complete", enums.WORKFLOW_EXECUTION_STATUS_COMPLETED, True, False),
        ("terminate", enums.WORKFLOW_EXECUTION_STATUS_TERMINATED, True, True),
    ],
)
@on_virtual_time
async def test_which_runs_a_caller_does_not_want_to_ask(
    end: str, status: int, *, not_open: bool, not_clean: bool
):
    async with virtual_caller() as caller:
        await caller.start()
        task = await caller.poll()
        await caller.complete(task, *([complete_workflow()] if end == "complete" else []))
        if end == "terminate":
            await caller.call("TerminateWorkflowExecution", workflow_execution={"workflow_id": "w"})
        for condition, is_rejected in (
            (enums.QUERY_REJECT_CONDITION_NONE, False),
            (enums.QUERY_REJECT_CONDITION_NOT_OPEN, not_open),
            (enums.QUERY_REJECT_CONDITION_NOT_COMPLETED_CLEANLY, not_clean),
        ):
            asked = ask(caller, query_reject_condition=condition)
            await settle()
            assert asked.done() is is_rejected
            if is_rejected:
                assert (await asked).query_rejected.status == status
            else:
                await answer(caller, await caller.poll())
                assert (await asked).query_result == value("42")


@on_virtual_time
async def test_an_old_run_is_asked_by_its_run_id():
    async with virtual_caller() as caller:
        run_id = await caller.start()
        await caller.complete(await caller.poll(), complete_workflow())
        await caller.start()
        await caller.complete(await caller.poll())
        for wanted, named in ((run_id, run_id), (None, "")):
            asked = ask(caller, execution={"workflow_id": "w", "run_id": named})
            task = await caller.poll()
            assert (task.workflow_execution.run_id == run_id) is (wanted == run_id)
            assert len(task.history.events) == (5 if wanted else 4)
            await answer(caller, task)
            await asked


@on_virtual_time
async def test_a_long_history_comes_to_a_query_in_pages():
    async with virtual_caller(Limits(history_page_events_max=3)) as caller:
        await caller.start()
        await caller.complete(await caller.poll())
        asked = ask(caller)
        task = await caller.poll()
        assert [e.event_id for e in task.history.events] == [1, 2, 3]
        rest = await caller.history(next_page_token=task.next_page_token)
        assert ([e.event_id for e in rest.history.events], rest.next_page_token) == ([4], b"")
        await answer(caller, task)
        await asked


@on_virtual_time
async def test_a_query_waits_as_long_as_its_caller_and_no_longer():
    async with virtual_caller() as caller:
        await caller.start()
        for waits_s in (7, 3):
            began_s = now_s()
            with pytest.raises(DeadlineExceeded):
                await ask(caller, timeout_s=waits_s)
            assert now_s() - began_s == pytest.approx(waits_s)
        assert not caller.node.frontend.services.queries._attached
        task = await caller.poll()
        assert not task.queries
        with pytest.raises(RpcError):
            await ask(caller, execution={"workflow_id": "nobody"})


@on_virtual_time
async def test_a_query_that_nobody_waits_for_any_more_is_passed_over():
    async with virtual_caller() as caller:
        run_id = await caller.start()
        await caller.complete(await caller.poll())
        services = caller.node.frontend.services
        namespace_id = services.namespace_id("default")
        queue = QueueKey(namespace_id, QUEUE, QueueKind.WORKFLOW)
        run = run_key(namespace_id, "w", run_id)
        gone, dead, alive = (
            PendingQuery(name, run, query.WorkflowQuery(query_type=name))
            for name in ("gone", "dead", "alive")
        )
        for pending in (dead, alive):
            services.queries.add_direct(pending)
        dead.settle(None)
        for pending in (gone, dead, alive):
            services.matching.offer_query(queue, pending.task)
        assert (await caller.poll()).query.query_type == "alive"
        for pending in (gone, dead, alive):
            await module.give_back(services, queue, pending.task)
        assert services.matching.backlog_hint(namespace_id, QUEUE, QueueKind.WORKFLOW) == 1
        assert (await caller.poll()).query.query_type == "alive"


@on_virtual_time
async def test_a_poll_that_passes_over_queries_ends_in_time():
    async with virtual_caller() as caller:
        run_id = await caller.start()
        await caller.complete(await caller.poll())
        services = caller.node.frontend.services
        namespace_id = services.namespace_id("default")
        queue = QueueKey(namespace_id, QUEUE, QueueKind.WORKFLOW)
        gone = PendingQuery(
            "gone", run_key(namespace_id, "w", run_id), query.WorkflowQuery(query_type="gone")
        )
        began_s = now_s()
        poll = caller.parked(timeout_ns=11 * SECOND_NS)
        await asyncio.sleep(6)
        services.matching.offer_query(queue, gone.task)
        assert not (await poll).task_token
        assert now_s() - began_s == 10


@pytest.mark.parametrize("way", ["direct", "attached"])
@on_virtual_time
async def test_a_result_that_is_too_large_fails_the_query(way: str):
    limit = 1_000
    async with virtual_caller(Limits(blob_size_bytes_max=limit)) as caller:
        await sticky_run(caller)
        for size, fits in ((limit - 50, True), (limit + 1, False)):
            if way == "attached":
                await caller.signal()
            asked = ask(caller)
            await settle()
            task = await caller.poll(task_queue=STICKY)
            text = "x" * size
            if way == "direct":
                await answer(caller, task, text)
            else:
                said = {"result_type": ANSWERED, "answer": value(text)}
                attributes = {"worker_task_queue": STICKY}
                await caller.complete(
                    task,
                    query_results=dict.fromkeys(task.queries, said),
                    sticky_attributes=attributes,
                )
            if fits:
                assert (await asked).query_result == value(text)
                continue
            with pytest.raises(InvalidArgument, match="Blob data size exceeds limit") as caught:
                await asked
            (detail,) = caught.value.details
            assert isinstance(detail, errordetails.QueryFailedFailure)
            assert "the limit is 1000" in detail.failure.message
