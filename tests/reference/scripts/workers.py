"""Workers as a whole: shutting down, pollers, Nexus polls, and lists of what has not been made."""

from __future__ import annotations

import json
from typing import Any

from tests.reference.commands import attributes, complete_workflow, continue_as_new, make
from tests.reference.play import Case, script

LISTS = (
    "ListBatchOperations",
    "ListSchedules",
    "CountSchedules",
    "ListWorkerDeployments",
    "ListNexusEndpoints",
    "ListWorkers",
    "CountWorkers",
    "ListActivityExecutions",
    "CountActivityExecutions",
)


@script
async def empty_lists(case: Case) -> None:
    for name in LISTS:
        await case.call(name)
        if name != "ListNexusEndpoints":
            await case.call(name, label="nowhere", namespace="nowhere")


@script
async def builds(case: Case) -> None:
    """Which builds completed tasks of a run, and what the next run knows of them."""
    upsert = "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES"
    await case.start(search_attributes=attributes(BuildIds='["mine"]'))
    for build_id, values in {
        "b1": "", "b2": "", "é\\": "", "b3": '["unversioned:b2","theirs"]', "b4": "null", "b5": "",
    }.items():  # fmt: skip
        given = [make(upsert, search_attributes=attributes(BuildIds=values))] if values else []
        await _step(case, build_id, *given)
        await case.describe()
    await _step(case, "b1")
    await case.describe()
    await case.old_enough()
    await _step(case, "b6", continue_as_new(case.queue))
    await case.describe()
    await _step(case, "b6", complete_workflow())
    await case.describe()


@script
async def many_builds(case: Case) -> None:
    others = ["unversioned", *(f"other {number:03}" + "x" * 90 for number in range(18))]
    await case.start(search_attributes=attributes(BuildIds=json.dumps(others)))
    for number in range(4):
        await _step(case, f"{number}" + "y" * 200)
        await case.describe()


async def _step(case: Case, build_id: str, *commands: Any) -> None:
    task = await case.poll()
    await case.ask(
        "RespondWorkflowTaskCompleted",
        task_token=task.task_token,
        commands=commands,
        worker_version_stamp={"build_id": build_id},
        force_create_new_workflow_task=True,
    )


@script
async def polls_of_nexus_tasks(case: Case) -> None:
    await case.call("PollNexusTaskQueue", task_queue=case.queue, seconds=3)
    await case.call("PollNexusTaskQueue", label="no queue", task_queue={})
    await case.call("PollNexusTaskQueue", label="too short", task_queue=case.queue, seconds=0.9)


@script
async def a_process_goes_on_after_one_of_its_workers(case: Case) -> None:
    key = case.id("process")
    other = case.queue_named("other")
    await case.call(
        "ShutdownWorker",
        worker_instance_key=key,
        task_queue=case.queue["name"],
        task_queue_types=["TASK_QUEUE_TYPE_WORKFLOW", "TASK_QUEUE_TYPE_ACTIVITY"],
        sticky_task_queue=case.id("sticky"),
    )
    await case.start("a", task_queue=other)
    task = await case.poll(other, worker_instance_key=key)
    await case.complete(task, complete_workflow())
    await case.start("b")
    task = await case.poll(worker_instance_key=key)
    await case.complete(task, complete_workflow())


@script
async def pollers_by_type(case: Case) -> None:
    polls = [
        case.begin(name, task_queue=case.queue, identity=name)
        for name in ("PollWorkflowTaskQueue", "PollActivityTaskQueue", "PollNexusTaskQueue")
    ]
    for kind in ("WORKFLOW", "ACTIVITY", "NEXUS"):
        await case.until(
            lambda answer: len(answer.pollers) == 1,
            "DescribeTaskQueue",
            task_queue=case.queue,
            task_queue_type=f"TASK_QUEUE_TYPE_{kind}",
        )
    for poll in polls:
        poll.answer.cancel()
