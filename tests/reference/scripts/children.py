"""Child workflows."""

from __future__ import annotations

from typing import Any

from perdure.wire.api import enums
from tests.reference.commands import (
    Command,
    attributes,
    cancel_workflow,
    complete_workflow,
    continue_as_new,
    fail_workflow,
    fields,
    make,
    payloads,
    seconds,
)
from tests.reference.play import TASK_SECONDS, Case, script

TERMINATE = enums.PARENT_CLOSE_POLICY_TERMINATE
REQUEST_CANCEL = enums.PARENT_CLOSE_POLICY_REQUEST_CANCEL
ABANDON = enums.PARENT_CLOSE_POLICY_ABANDON


def child_queue(case: Case) -> dict[str, Any]:
    return {"name": case.id("children")}


def start_child(case: Case, name: str = "child", **options: Any) -> Command:
    options.setdefault("workflow_type", {"name": "Child"})
    options.setdefault("task_queue", child_queue(case))
    options.setdefault("workflow_task_timeout", TASK_SECONDS)
    return make("START_CHILD_WORKFLOW_EXECUTION", workflow_id=case.id(name), **options)


async def started(case: Case, **options: Any) -> Any:
    """Start a parent with one child; return the first task of the child."""
    await case.start()
    await case.step(start_child(case, **options))
    task = await case.poll(child_queue(case))
    await case.happened("CHILD_WORKFLOW_EXECUTION_STARTED")
    return task


async def ended(case: Case) -> None:
    await case.closed("child")
    await case.happened("WORKFLOW_TASK_COMPLETED", "CHILD_WORKFLOW_EXECUTION_STARTED")


async def parent_ends(case: Case) -> None:
    """Complete the tasks of the parent until it has the end of the child."""
    task = await case.poll()
    await case.complete(task, complete_workflow("parent"))
    await case.closed()


@script
async def completed(case: Case) -> None:
    task = await started(
        case, input=payloads("in"), header=fields(trace="t"), memo=fields(note="n")
    )
    await case.describe()
    await case.describe("child")
    await case.step()
    await case.complete(task, complete_workflow("child"))
    await ended(case)
    await parent_ends(case)


@script
async def failed(case: Case) -> None:
    task = await started(case)
    await case.step()
    await case.complete(task, fail_workflow("no", details=payloads("why")))
    await ended(case)
    await parent_ends(case)


@script
async def canceled(case: Case) -> None:
    task = await started(case)
    await case.step(
        make(
            "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION",
            workflow_id=case.id("child"),
            child_workflow_only=True,
            reason="enough",
        )
    )
    await case.happened("EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED")
    await case.step()
    await case.complete(task)
    await case.complete(await case.poll(child_queue(case)), cancel_workflow())
    await ended(case)
    await parent_ends(case)


@script
async def terminated(case: Case) -> None:
    await started(case)
    await case.step()
    await case.terminate("child", reason="enough")
    await ended(case)
    await parent_ends(case)


@script
async def timed_out(case: Case) -> None:
    await started(case, workflow_run_timeout=seconds(1))
    await case.step()
    await ended(case)
    await parent_ends(case)


@script
async def every_option(case: Case) -> None:
    await case.start(priority={"priority_key": 2}, memo=fields(parent="p"))
    await case.step(
        start_child(
            case,
            input=payloads("in"),
            memo=fields(note="n"),
            header=fields(trace="t"),
            workflow_execution_timeout=seconds(7200),
            workflow_run_timeout=seconds(3600),
            workflow_task_timeout=seconds(20),
            parent_close_policy=ABANDON,
            control="control",
            workflow_id_reuse_policy=enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
            retry_policy={"maximum_attempts": 3},
            search_attributes=attributes(CustomInt="7"),
        )
    )
    await case.poll(child_queue(case))
    await case.happened("CHILD_WORKFLOW_EXECUTION_STARTED")
    await case.describe()
    await case.describe("child")


@script
async def defaults_come_from_the_parent(case: Case) -> None:
    await case.start(priority={"priority_key": 2}, workflow_run_timeout=seconds(3600))
    await case.step(start_child(case, task_queue={}, workflow_type={"name": "Child"}))
    await case.happened("CHILD_WORKFLOW_EXECUTION_STARTED")
    await case.describe("child")
    await case.history("child")


@script
async def the_id_is_taken(case: Case) -> None:
    await case.start("child", task_queue=child_queue(case))
    await case.start()
    await case.step(start_child(case))
    await case.happened("START_CHILD_WORKFLOW_EXECUTION_FAILED")


@script
async def the_id_was_used(case: Case) -> None:
    await case.start("child")
    await case.step(complete_workflow())
    await case.start()
    policy = enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
    await case.step(start_child(case, workflow_id_reuse_policy=policy))
    await case.happened("START_CHILD_WORKFLOW_EXECUTION_FAILED")
    await case.step(start_child(case))
    await case.happened("CHILD_WORKFLOW_EXECUTION_STARTED")


async def parent_closes(case: Case, policy: enums.ParentClosePolicy.ValueType) -> Any:
    task = await started(case, parent_close_policy=policy)
    await case.step(complete_workflow("parent"))
    await case.closed()
    return task


@script
async def terminated_with_the_parent(case: Case) -> None:
    task = await parent_closes(case, TERMINATE)
    await case.closed("child")
    await case.complete(task)


@script
async def canceled_with_the_parent(case: Case) -> None:
    task = await parent_closes(case, REQUEST_CANCEL)
    await case.until(
        lambda answer: answer.workflow_extended_info.cancel_requested,
        "DescribeWorkflowExecution",
        execution=case.execution("child"),
    )
    await case.complete(task)
    await case.happened("WORKFLOW_EXECUTION_CANCEL_REQUESTED", name="child")


@script
async def abandoned_by_the_parent(case: Case) -> None:
    task = await parent_closes(case, ABANDON)
    await case.complete(task, complete_workflow("child"))
    await case.closed("child")


@script
async def the_parent_closes_at_once(case: Case) -> None:
    await case.start()
    await case.step(start_child(case), complete_workflow("parent"))
    await case.closed()
    await case.describe("child")


@script
async def the_parent_closes_at_once_and_abandons(case: Case) -> None:
    await case.start()
    await case.step(start_child(case, parent_close_policy=ABANDON), complete_workflow("parent"))
    await case.closed()
    await case.describe("child")


@script
async def the_child_continues(case: Case) -> None:
    task = await started(case)
    await case.step()
    await case.old_enough()
    await case.complete(task, continue_as_new(child_queue(case), workflow_type={"name": "Child"}))
    await case.complete(await case.poll(child_queue(case)), complete_workflow("second"))
    await case.closed("child")
    await parent_ends(case)


@script
async def in_an_unknown_namespace(case: Case) -> None:
    await case.start()
    await case.step(start_child(case, namespace="no-such-namespace"))
    await case.history()


@script
async def the_id_belongs_to_another_when_the_parent_closes(case: Case) -> None:
    """The policy applies to the child, not to a later run with the same workflow id."""
    task = await started(case)
    await case.complete(task, complete_workflow("child"))
    await case.happened("CHILD_WORKFLOW_EXECUTION_COMPLETED")
    parent = await case.poll()
    await case.start("child", task_queue=child_queue(case))
    await case.complete(parent, complete_workflow("parent"))
    await case.closed()
    await case.complete(await case.poll(child_queue(case)), complete_workflow("another"))
    await case.closed("child")


@script
async def the_id_is_taken_over_while_the_child_runs(case: Case) -> None:
    await started(case, parent_close_policy=TERMINATE)
    await case.step()
    await case.terminate("child")
    other = await case.start("child", task_queue=case.queue_named("other"))
    await case.happened("CHILD_WORKFLOW_EXECUTION_TERMINATED")
    await case.step(complete_workflow("parent"))
    await case.closed()
    await case.complete(await case.poll(case.queue_named("other")), complete_workflow("another"))
    await case.closed("child", other.run_id)
