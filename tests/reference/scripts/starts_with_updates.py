"""Update with start: ExecuteMultiOperation."""

from __future__ import annotations

from typing import Any

from perdure.wire.api import enums
from tests.reference.commands import accept, complete_workflow, reject, respond, start_timer, update
from tests.reference.play import Case, Pending, script
from tests.reference.scripts.updates import answer

USE_EXISTING = enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
FAIL = enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL


def operations(
    case: Case, update_id: str = "u", stage: int = 3, **start: Any
) -> list[dict[str, Any]]:
    start.setdefault("workflow_id_conflict_policy", USE_EXISTING)
    request = case.start_fields(namespace="default", identity="tester", **start)
    return [
        {"start_workflow": request},
        {
            "update_workflow": {
                "namespace": "default",
                "workflow_execution": case.execution(),
                "request": update(update_id),
                "wait_policy": {"lifecycle_stage": stage},
            }
        },
    ]


def both(case: Case, update_id: str = "u", stage: int = 3, **start: Any) -> Pending:
    return case.begin(
        "ExecuteMultiOperation", operations=operations(case, update_id, stage, **start)
    )


@script
async def a_new_run(case: Case) -> None:
    pending = both(case)
    task = await case.poll()
    await answer(case, task, accept(task.messages[0]), respond("u"))
    await pending.end()
    await case.history()


@script
async def a_running_run(case: Case) -> None:
    await case.start()
    await case.step(start_timer())
    pending = both(case, stage=2)
    task = await case.poll()
    await answer(case, task, accept(task.messages[0]))
    await pending.end()
    await case.history()


@script
async def a_running_run_is_an_error(case: Case) -> None:
    await case.start()
    await case.step(start_timer())
    await both(case, workflow_id_conflict_policy=FAIL).end()
    await case.history()


@script
async def a_closed_run(case: Case) -> None:
    await case.start()
    await case.step(complete_workflow())
    policy = enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
    await both(case, workflow_id_reuse_policy=policy).end()
    pending = both(case)
    task = await case.poll()
    await answer(case, task, accept(task.messages[0]), respond("u"))
    await pending.end()


@script
async def the_update_is_rejected(case: Case) -> None:
    pending = both(case)
    task = await case.poll()
    await answer(case, task, reject(task.messages[0]))
    await pending.end()
    await case.history()


@script
async def sent_again(case: Case) -> None:
    fields = operations(case)
    pending = case.begin("ExecuteMultiOperation", operations=fields)
    task = await case.poll()
    await answer(case, task, accept(task.messages[0]), respond("u"))
    await pending.end()
    await case.call("ExecuteMultiOperation", operations=fields)
    await case.call("ExecuteMultiOperation", operations=operations(case))
    await case.history()


@script
async def bad_requests(case: Case) -> None:
    start, change = operations(case)
    delayed = operations(case, workflow_start_delay={"seconds": 1})
    eager = operations(case, request_eager_execution=True)
    untyped = operations(case, workflow_type={})
    elsewhere = {
        "update_workflow": {**change["update_workflow"], "workflow_execution": case.execution("x")}
    }
    nameless = {
        "update_workflow": {**change["update_workflow"], "request": {"meta": {"update_id": "u"}}}
    }
    with_run = {
        "update_workflow": {
            **change["update_workflow"],
            "workflow_execution": case.execution(run_id="8b1f2f2e-0a2b-4c3d-9e4f-5a6b7c8d9e0f"),
        }
    }
    bad: dict[str, list[dict[str, Any]]] = {
        "none": [],
        "start only": [start],
        "update only": [change],
        "two starts": [start, start],
        "reversed": [change, start],
        "three": [start, change, change],
        "empty": [{}, {}],
        "another id": [start, elsewhere],
        "no input": [start, nameless],
        "run id": [start, with_run],
        "delay": delayed,
        "eager": eager,
        "no type": untyped,
    }
    for label, listed in bad.items():
        await case.call("ExecuteMultiOperation", label=label, operations=listed)
