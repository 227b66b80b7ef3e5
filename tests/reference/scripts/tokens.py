"""Tokens in requests that name another namespace, and commands for another namespace."""

from __future__ import annotations

from typing import Any

from tests.reference.commands import schedule_activity
from tests.reference.play import Case, script
from tests.reference.scripts.children import start_child
from tests.reference.scripts.externals import send_cancel, send_signal

OTHERS = ("second", "no-such-namespace", "")


async def answers(case: Case, name: str, token: bytes, **fields: Any) -> None:
    """The last answer, without a namespace, is the one that counts."""
    for namespace in OTHERS:
        label = namespace or "none"
        await case.call(name, label=label, namespace=namespace, task_token=token, **fields)
    await case.call(name, label="no token", **fields)


@script
async def workflow_task(case: Case) -> None:
    await case.start()
    failed = await case.poll()
    await answers(case, "RespondWorkflowTaskFailed", failed.task_token)
    completed = await case.poll()
    await answers(case, "RespondWorkflowTaskCompleted", completed.task_token)
    await case.history()


@script
async def activity_tasks(case: Case) -> None:
    await case.start()
    await case.step(schedule_activity(case.queue, "a"))
    task = await case.poll_activity()
    await answers(case, "RecordActivityTaskHeartbeat", task.task_token)
    await answers(case, "RespondActivityTaskCompleted", task.task_token)
    await case.step(schedule_activity(case.queue, "b"))
    task = await case.poll_activity()
    await answers(case, "RespondActivityTaskFailed", task.task_token)


@script
async def query_task(case: Case) -> None:
    await case.start()
    await case.step()
    asked = case.begin("QueryWorkflow", execution=case.execution(), query={"query_type": "state"})
    task = await case.poll()
    await answers(case, "RespondQueryTaskCompleted", task.task_token, completed_type=1)
    await asked.end()


@script
async def run_of_a_page(case: Case) -> None:
    await case.start()
    first = await case.ask(
        "GetWorkflowExecutionHistory", execution=case.execution(), maximum_page_size=1
    )
    await case.history(
        run_id="8b1f2f2e-0a2b-4c3d-9e4f-5a6b7c8d9e0f",
        maximum_page_size=1,
        next_page_token=first.next_page_token,
    )


@script
async def commands_for_another_namespace(case: Case) -> None:
    await case.start()
    for command in (
        send_signal(case, namespace="second"),
        send_cancel(case, namespace="second"),
        start_child(case, namespace="second"),
    ):
        await case.step(command)
    await case.history()
