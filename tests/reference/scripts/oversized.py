"""Values that no row can hold, in commands and from activities: what is refused, and in which words."""

from __future__ import annotations

from typing import Any

from perdure.wire.api import failure
from tests.reference.commands import (
    Command,
    cancel_activity,
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


# What workers of activities send.


def _failure(**fields: Any) -> failure.Failure:
    given: dict[str, Any] = {"type": "T", **fields.pop("info", {})}
    info = failure.ApplicationFailureInfo(**given)
    return failure.Failure(message="m", application_failure_info=info, **fields)


def _nested(levels: int, **info: Any) -> failure.Failure:
    result = _failure(info={"type": "R", **info})
    for level in range(levels):
        cause, result = result, _failure(source=f"level {level}")
        result.cause.CopyFrom(cause)
    return result


REPORTS: dict[str, tuple[str, dict[str, Any]]] = {
    "heartbeat": ("RecordActivityTaskHeartbeat", {"details": payloads(LARGE)}),
    "result": ("RespondActivityTaskCompleted", {"result": payloads(LARGE)}),
    "cancellation": ("RespondActivityTaskCanceled", {"details": payloads(LARGE)}),
    "failure": (
        "RespondActivityTaskFailed",
        {"failure": _failure(source="s", stack_trace="t", info={"details": payloads(LARGE)})},
    ),
    "causes": ("RespondActivityTaskFailed", {"failure": _nested(30, details=payloads(LARGE))}),
    "last heartbeat": (
        "RespondActivityTaskFailed",
        {"failure": _failure(), "last_heartbeat_details": payloads(LARGE)},
    ),
    "both": (
        "RespondActivityTaskFailed",
        {
            "failure": _failure(info={"details": payloads("x" * 1_000_000), "type": "T" * 10}),
            "last_heartbeat_details": payloads(LARGE),
        },
    ),
}
KEPT: dict[str, failure.Failure] = {
    "details": _failure(info={"details": payloads("x" * 5000)}),
    "stack trace": _failure(source="s", stack_trace="t" * 5000),
    "type": _failure(info={"type": "T" * 5000}),
    "causes": _nested(30, details=payloads("x" * 5000)),
    "texts of causes": _nested(1, type="R" * 5000),
    "emoji": _failure(stack_trace="\N{GRINNING FACE}" * 1100),
}


async def _attempt(case: Case, name: str, **policy: Any) -> Any:
    """A run whose only activity has a worker."""
    queue = case.queue_named(name)
    await case.ask("StartWorkflowExecution", **case.start_fields(name, task_queue=queue))
    task = await case.ask("PollWorkflowTaskQueue", task_queue=queue)
    scheduled = schedule_activity(queue, retry_policy=policy, heartbeat_timeout={"seconds": 3600})
    await case.ask("RespondWorkflowTaskCompleted", task_token=task.task_token, commands=[scheduled])
    return await case.ask("PollActivityTaskQueue", task_queue=queue)


async def _cancel(case: Case, name: str) -> None:
    queue = case.queue_named(name)
    execution = case.execution(name)
    await case.ask("SignalWorkflowExecution", workflow_execution=execution, signal_name="s")
    task = await case.ask("PollWorkflowTaskQueue", task_queue=queue)
    await case.ask(
        "RespondWorkflowTaskCompleted", task_token=task.task_token, commands=[cancel_activity(5)]
    )


@script
async def activities(case: Case) -> None:
    """By token the activity has no other attempts, by id it has."""
    for label, (method, sent) in REPORTS.items():
        for by_id in (False, True):
            name = f"{label.replace(' ', '-')}{'-by-id' * by_id}"
            policy = {"maximum_attempts": 2 if by_id else 1, "initial_interval": {"seconds": 3600}}
            activity = await _attempt(case, name, **policy)
            if label == "cancellation":
                await _cancel(case, name)
            if by_id:
                given: dict[str, Any] = {"workflow_id": case.id(name), "activity_id": "a", **sent}
                await case.call(f"{method}ById", label=label, **given)
            else:
                await case.call(method, label=label, task_token=activity.task_token, **sent)
            history = await case.ask("GetWorkflowExecutionHistory", execution=case.execution(name))
            del history.history.events[:5]
            case.note(f"GetWorkflowExecutionHistory ({name})", history)
            await case.describe(name)


@script
async def failures_between_attempts(case: Case) -> None:
    for label, given in KEPT.items():
        name = label.replace(" ", "-")
        activity = await _attempt(case, name, initial_interval={"seconds": 3600})
        await case.fail_activity(activity, failure=given)
        await case.describe(name)
