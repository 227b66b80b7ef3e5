"""Commands with values that no row can hold: what is refused, in which words, and that the run ends."""

from __future__ import annotations

from typing import Any

from tests.reference.commands import (
    Command,
    complete_workflow,
    continue_as_new,
    fail_workflow,
    fields,
    make,
    payloads,
    schedule_activity,
)
from tests.reference.play import Case, script

LARGE = "x" * (2 * 1024 * 1024)
"""Larger than the limit, smaller than a message may be."""


@script
async def commands(case: Case) -> None:
    queue = case.queue
    child: dict[str, Any] = {
        "workflow_id": case.id("child"),
        "workflow_type": {"name": "Child"},
        "task_queue": queue,
    }
    signal: dict[str, Any] = {"execution": {"workflow_id": case.id("target")}, "signal_name": "s"}
    large = payloads(LARGE)
    await _refused(
        case,
        {
            "activity input": schedule_activity(queue, input=large),
            "result": complete_workflow(LARGE),
            "failure details": fail_workflow(details=large),
            "marker details": make("RECORD_MARKER", marker_name="m", details={"d": large}),
            "signal input": make("SIGNAL_EXTERNAL_WORKFLOW_EXECUTION", input=large, **signal),
            "input of the next run": continue_as_new(queue, input=large),
            "memo of the next run": continue_as_new(queue, memo=fields(m=LARGE)),
            "child input": make("START_CHILD_WORKFLOW_EXECUTION", input=large, **child),
            "child memo": make("START_CHILD_WORKFLOW_EXECUTION", memo=fields(m=LARGE), **child),
            "memo": make("MODIFY_WORKFLOW_PROPERTIES", upserted_memo=fields(m=LARGE)),
        },
    )


async def _refused(case: Case, tries: dict[str, Command]) -> None:
    """Answer the first task of a run of its own with each command."""
    for label, command in tries.items():
        name = label.replace(" ", "-")
        queue = case.queue_named(name)
        await case.ask(
            "StartWorkflowExecution",
            workflow_id=case.id(name),
            workflow_type={"name": "Type"},
            task_queue=queue,
            request_id=case.request_id(),
        )
        task = await case.ask("PollWorkflowTaskQueue", task_queue=queue)
        await case.call(
            "RespondWorkflowTaskCompleted",
            label=label,
            task_token=task.task_token,
            commands=[command],
        )
        history = await case.ask("GetWorkflowExecutionHistory", execution=case.execution(name))
        del history.history.events[:3]
        case.note(f"GetWorkflowExecutionHistory ({label})", history)
