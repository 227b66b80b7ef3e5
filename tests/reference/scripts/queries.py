"""Queries: answered, failed, rejected, attached to a task, of closed runs."""

from __future__ import annotations

from typing import Any

from perdure.wire.api import enums
from tests.reference.commands import (
    application_failure,
    complete_workflow,
    fail_workflow,
    fields,
    payloads,
    start_timer,
)
from tests.reference.play import Case, Pending, script


def ask(case: Case, condition: int = 0, **more: Any) -> Pending:
    query = {"query_type": "q", "query_args": payloads("argument"), "header": fields(trace="t")}
    more.setdefault("execution", case.execution())
    return case.begin("QueryWorkflow", query=query, query_reject_condition=condition, **more)


async def reply(case: Case, task: Any, **answer: Any) -> Any:
    return await case.call("RespondQueryTaskCompleted", task_token=task.task_token, **answer)


async def waiting(case: Case) -> None:
    """Start a run and complete its first workflow task."""
    await case.start()
    await case.step(start_timer())


@script
async def answered(case: Case) -> None:
    await waiting(case)
    pending = ask(case)
    task = await case.poll()
    await reply(
        case, task, completed_type=enums.QUERY_RESULT_TYPE_ANSWERED, query_result=payloads("r")
    )
    await pending.end()
    await reply(case, task, completed_type=enums.QUERY_RESULT_TYPE_ANSWERED)
    await case.history()


@script
async def failed(case: Case) -> None:
    await waiting(case)
    pending = ask(case)
    task = await case.poll()
    await reply(
        case,
        task,
        completed_type=enums.QUERY_RESULT_TYPE_FAILED,
        error_message="no such query",
        failure=application_failure("no such query"),
    )
    await pending.end()


@script
async def failed_with_a_text_alone(case: Case) -> None:
    await waiting(case)
    pending = ask(case)
    task = await case.poll()
    await reply(case, task, completed_type=enums.QUERY_RESULT_TYPE_FAILED, error_message="no")
    await pending.end()


@script
async def of_a_completed_run(case: Case) -> None:
    await case.start()
    await case.step(complete_workflow())
    await ask(case, enums.QUERY_REJECT_CONDITION_NOT_OPEN).end()
    pending = ask(case, enums.QUERY_REJECT_CONDITION_NOT_COMPLETED_CLEANLY)
    task = await case.poll()
    await reply(
        case, task, completed_type=enums.QUERY_RESULT_TYPE_ANSWERED, query_result=payloads("r")
    )
    await pending.end()


@script
async def of_a_failed_run(case: Case) -> None:
    await case.start()
    await case.step(fail_workflow())
    await ask(case, enums.QUERY_REJECT_CONDITION_NOT_OPEN).end()
    await ask(case, enums.QUERY_REJECT_CONDITION_NOT_COMPLETED_CLEANLY).end()
    pending = ask(case)
    task = await case.poll()
    await reply(
        case, task, completed_type=enums.QUERY_RESULT_TYPE_ANSWERED, query_result=payloads("r")
    )
    await pending.end()


@script
async def of_a_run_closed_before_its_first_task(case: Case) -> None:
    await case.start()
    await case.terminate()
    await ask(case).end()


@script
async def no_worker(case: Case) -> None:
    await waiting(case)
    await ask(case, seconds=2.5).end()


@script
async def before_the_first_task(case: Case) -> None:
    await case.start()
    await ask(case, seconds=2.5).end()


@script
async def attached_to_a_task(case: Case) -> None:
    await waiting(case)
    task = await signalled_and_asked(case)
    results = {
        key: {"result_type": enums.QUERY_RESULT_TYPE_ANSWERED, "answer": payloads("r")}
        for key in task.queries
    }
    await case.complete(task, query_results=results)


async def signalled_and_asked(case: Case) -> Any:
    """A workflow task that a signal caused carries a query, and its completion answers the query."""
    await case.signal()
    pending = ask(case)
    task = await case.ask("PollWorkflowTaskQueue", task_queue=case.queue)
    while not task.queries:  # the query arrived after the poll: another task will carry it
        await case.ask(
            "RespondWorkflowTaskCompleted",
            task_token=task.task_token,
            force_create_new_workflow_task=True,
        )
        task = await case.ask("PollWorkflowTaskQueue", task_queue=case.queue)
    case.later.append(pending)
    return task


@script
async def attached_and_failed(case: Case) -> None:
    await waiting(case)
    task = await signalled_and_asked(case)
    results = {
        key: {
            "result_type": enums.QUERY_RESULT_TYPE_FAILED,
            "error_message": "no",
            "failure": application_failure("no"),
        }
        for key in task.queries
    }
    await case.complete(task, query_results=results)


@script
async def of_a_run_by_its_id(case: Case) -> None:
    first = await case.start()
    await case.step(complete_workflow("first"))
    await case.start()
    await case.step(start_timer())
    pending = ask(case, execution=case.execution(run_id=first.run_id))
    task = await case.poll()
    await reply(
        case, task, completed_type=enums.QUERY_RESULT_TYPE_ANSWERED, query_result=payloads("r")
    )
    await pending.end()
