"""Signal-with-start is one atomic step, and both halves can be repeated (S-22 to S-24)."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.wire.api import enums
from perdure.wire.errors import AlreadyExists, InvalidArgument
from tests.harness.builders import complete_workflow
from tests.unit.frontend.conftest import QUEUE, Caller

REJECT = enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
TERMINATE = enums.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING


async def signal_with_start(caller: Caller, request_id: str = "r", **fields: Any) -> Any:
    return await caller.call(
        "SignalWithStartWorkflowExecution",
        workflow_id="w",
        workflow_type={"name": "Greeting"},
        task_queue={"name": QUEUE},
        signal_name="go",
        request_id=request_id,
        **fields,
    )


async def types(caller: Caller) -> list[str]:
    events = (await caller.history()).history.events
    return [
        enums.EventType.Name(event.event_type).removeprefix("EVENT_TYPE_WORKFLOW_")
        for event in events
    ]


async def test_without_a_run_it_starts_one_with_the_signal_in_its_first_task(caller: Caller):
    response = await signal_with_start(caller)
    assert response.started
    assert sorted(await types(caller)) == [
        "EXECUTION_SIGNALED",
        "EXECUTION_STARTED",
        "TASK_SCHEDULED",
    ]
    task = await caller.poll()
    assert task.workflow_execution.run_id == response.run_id
    assert len(task.history.events) == 4


async def test_a_running_workflow_is_signalled(caller: Caller):
    run_id = await caller.start()
    response = await signal_with_start(caller)
    assert (response.run_id, response.started) == (run_id, False)
    assert (await types(caller)).count("EXECUTION_SIGNALED") == 1


async def test_a_repeated_request_neither_starts_nor_signals_again(caller: Caller):
    first = await signal_with_start(caller)
    again = await signal_with_start(caller)
    assert (again.run_id, again.started) == (first.run_id, True)
    assert (await types(caller)).count("EXECUTION_SIGNALED") == 1
    await signal_with_start(caller, "another")
    assert (await types(caller)).count("EXECUTION_SIGNALED") == 2


async def test_a_closed_run_is_followed_by_a_new_one_unless_the_policy_says_no(caller: Caller):
    await caller.start()
    await caller.complete(await caller.poll(), complete_workflow())
    with pytest.raises(AlreadyExists):
        await signal_with_start(caller, workflow_id_reuse_policy=REJECT)
    assert (await signal_with_start(caller)).started


async def test_terminate_existing_replaces_the_run_and_a_bad_signal_leaves_it_alone(
    caller: Caller,
):
    run_id = await caller.start()
    too_large = {"payloads": [{"data": bytes(2 * 1024 * 1024 + 1)}]}
    with pytest.raises(InvalidArgument):
        await signal_with_start(
            caller, signal_input=too_large, workflow_id_conflict_policy=TERMINATE
        )
    described = await caller.call("DescribeWorkflowExecution", execution={"workflow_id": "w"})
    assert described.workflow_execution_info.execution.run_id == run_id
    response = await signal_with_start(caller, workflow_id_conflict_policy=TERMINATE)
    assert response.started
    assert response.run_id != run_id
