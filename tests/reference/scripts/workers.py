"""Workers as a whole: shutting down, pollers, Nexus polls, and lists of what has not been made."""

from __future__ import annotations

from tests.reference.commands import complete_workflow
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
